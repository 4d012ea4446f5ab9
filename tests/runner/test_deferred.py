"""Draws that an engine makes block by block: through files, look after look, and what is wrong with them."""

import numpy as np
import pytest

from nestor.backend import Draws, SamplerConfig, Timings
from nestor.engines.contender import Contender
from nestor.engines.lazy import in_memory, load, with_cost
from nestor.errors import EngineFailed
from nestor.runner import arrays, engine

CONFIG = SamplerConfig(chains=2, warmup=60, draws=40, seed=3)


def in_a_file(array):
    """Whether an array's numbers are in a file that is mapped."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None


@pytest.mark.parametrize(
    "name", ["numba", *(pytest.param(n, marks=pytest.mark.slow) for n in ("pymc", "numpyro"))]
)
def test_earlier_looks_keep_their_draws(small_problem, tmp_path, name):
    pytest.importorskip(name)
    contender = Contender.parse(f"{name}@marginalized", small_problem.spec.level_names)
    looks = engine.sample_until(small_problem, contender, CONFIG, (40, 90), tmp_path / "log")
    _, first = next(looks)
    coefficients = first["posterior"]["beta_h"].to_numpy()
    assert in_a_file(coefficients)
    assert not in_a_file(first["posterior"]["sigma"].to_numpy())
    kept = coefficients.copy()
    _, second = next(looks)
    looks.close()
    assert second["posterior"].sizes["draw"] == 90
    assert in_a_file(second["posterior"]["beta_h"].to_numpy())
    assert np.array_equal(second["posterior"]["beta_h"].to_numpy()[:, :40], kept)
    assert np.array_equal(first["posterior"]["beta_h"].to_numpy(), kept)
    # No draw stands twice: the second look is no copy of the first.
    assert len(np.unique(second["posterior"]["beta_h"].to_numpy()[..., 0, 0])) == 180


class Made:
    """Two chains of three draws of two numbers, in given blocks."""

    @property
    def shapes(self):
        return {"beta": (2, 3, 2)}

    def __init__(self, *blocks):
        self._blocks = blocks

    def blocks(self):
        for chain, first, draws, width in self._blocks:
            yield chain, first, {"beta": np.full((draws, width), 10.0 * chain + first)}


def test_blocks_come_back_where_they_belong_in_any_order(tmp_path):
    made = Made((1, 2, 1, 2), (0, 0, 3, 2), (1, 0, 2, 2))
    arrays.write_deferred(made, tmp_path / "draws.npz")
    arrays.write(Draws({}, {}, Timings(), {}), tmp_path / "draws.npz")
    found = arrays.read(tmp_path / "draws.npz").values["beta"]
    assert found[..., 0].tolist() == [[0.0, 0.0, 0.0], [10.0, 10.0, 12.0]]


def test_stretches_stand_behind_each_other_in_a_file_without_a_name(tmp_path):
    parts = []
    for number, blocks in enumerate(
        ([(0, 0, 3, 2), (1, 0, 3, 2)], [(0, 0, 3, 2), (1, 2, 1, 2), (1, 0, 2, 2)])
    ):
        path = tmp_path / f"{number}.npz"
        arrays.write_deferred(Made(*blocks), path)
        arrays.write(drawn(None), path)
        parts.append(arrays.read(path))
    names = set(tmp_path.iterdir())
    found = arrays.joined(parts, tmp_path).values
    assert set(tmp_path.iterdir()) == names
    assert found["beta"][..., 1].tolist() == [[0.0] * 6, [10.0] * 5 + [12.0]]
    assert in_a_file(found["beta"])
    assert found["tau"].shape == (2, 6, 1)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([(0, 0, 3, 2)], "never"),
        ([(0, 0, 3, 2), (1, 0, 3, 2), (1, 2, 1, 2)], "more than once"),
        ([(0, 0, 4, 2)], "shape"),
        ([(0, 0, 3, 1)], "shape"),
    ],
)
def test_blocks_that_do_not_make_the_draws_are_refused(tmp_path, blocks, message):
    with pytest.raises(EngineFailed, match=message):
        arrays.write_deferred(Made(*blocks), tmp_path / "draws.npz")


class MadeThere(Made):
    """Values of a device that counts its memory."""

    device_peak_bytes = 7

    def load(self):
        return load(self)


def drawn(deferred, peak=5):
    stay = {"tau": np.zeros((2, 3, 1))}
    return Draws(stay, {}, Timings(postprocess=1.0), {}, device_peak_bytes=peak, deferred=deferred)


def test_all_in_memory_is_in_the_order_asked_for_and_counted():
    made = MadeThere((1, 2, 1, 2), (0, 0, 3, 2), (1, 0, 2, 2))
    found = in_memory(drawn(made), ["beta", "tau"])
    assert list(found.values) == ["beta", "tau"]
    assert found.values["beta"][..., 1].tolist() == [[0.0, 0.0, 0.0], [10.0, 10.0, 12.0]]
    assert found.deferred is None
    assert found.timings.postprocess > 1.0
    whole = drawn(None)
    assert in_memory(whole, ["tau"]) is whole


def test_what_making_took_is_added_and_the_devices_peak_read_again():
    assert with_cost(drawn(MadeThere()), 2.0).timings.postprocess == 3.0
    assert with_cost(drawn(MadeThere()), 2.0).device_peak_bytes == 7
    assert with_cost(drawn(Made()), 2.0).device_peak_bytes == 5
