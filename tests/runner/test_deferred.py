"""Draws that an engine makes block by block: through files, look after look, and what is wrong with them."""

import numpy as np
import pytest

from nestor.backend import SamplerConfig
from nestor.contender import Contender
from nestor.errors import EngineFailed
from nestor.runner import arrays, engine

CONFIG = SamplerConfig(chains=2, warmup=60, draws=40, seed=3)


def contender(problem):
    return Contender.parse("numba@marginalized", problem.spec.level_names)


def test_earlier_looks_keep_their_draws(small_problem, tmp_path):
    log = tmp_path / "log"
    looks = engine.sample_in_looks(small_problem, contender(small_problem), CONFIG, (40, 90), log)
    _, first = next(looks)
    kept = first["posterior"]["beta_h"].to_numpy().copy()
    _, second = next(looks)
    looks.close()
    assert second["posterior"].sizes["draw"] == 90
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
    np.savez(tmp_path / "draws.npz")
    found = arrays.read(tmp_path / "draws.npz").values["beta"]
    assert found[..., 0].tolist() == [[0.0, 0.0, 0.0], [10.0, 10.0, 12.0]]


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
