"""Whatever an engine hands over that is not what the contract says is named, and nothing else breaks."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nestor import ModelSpec, Problem, SamplerConfig
from nestor.backend import Draws, Progress, Timings
from nestor.errors import EngineFailed
from nestor.runner import arrays
from nestor.runner.contract import (
    Support,
    check_draws,
    check_environment,
    check_log_density,
    check_progress,
    check_versions,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures" / "engines"))
from fake_engines import RUBBISH, VERSIONS, Garbage, Model

sys.path.pop(0)  # or they would be installed engines to all other tests

CONFIG = SamplerConfig(chains=2, warmup=5, draws=20)


@pytest.fixture(scope="module")
def draws(small_problem):
    return Model(small_problem, None, 0.0).sample(CONFIG)


def test_what_the_contract_says_passes_as_it_is(small_problem, draws):
    found = check_draws(small_problem, draws, 2, 20)
    assert {n: v.dtype for n, v in found.values.items()} == dict.fromkeys(draws.values, np.float64)
    assert all(np.shares_memory(v, draws.values[n]) for n, v in found.values.items())
    assert all(np.array_equal(v, draws.stats[n]) for n, v in found.stats.items())
    assert (found.timings, found.settings) == (draws.timings, {"max_tree_depth": 10})


def test_what_is_nearly_it_is_made_plain(small_problem, draws):
    """Other precisions, NumPy's numbers, nested settings: nothing that a library would not return."""
    settings = {
        "step": np.float32(0.5),
        "sizes": np.arange(3),
        "inf": np.inf,
        "none": None,
        "half": "\ud800",
    }
    given = replace(
        draws,
        values={name: v.astype(np.float32) for name, v in draws.values.items()},
        stats={"energy": np.full((2, 20), 0.5, ">f8"), "lp": np.full((2, 20), 1.5, np.longdouble)},
        timings=Timings(sampling=np.float64(1.0), sampling_per_chain=[0.5, np.float32(0.5)]),
        settings={"max_tree_depth": np.int64(10), "adapt": settings},
        device_peak_bytes=np.int64(7),
    )
    found = check_draws(small_problem, given, 2, 20)
    assert found.values["beta"].dtype == np.float64
    assert {array.dtype.str for array in found.stats.values()} == {np.dtype("=f8").str}
    plain = {"step": 0.5, "sizes": [0, 1, 2], "inf": None, "none": None, "half": "\\ud800"}
    assert json.loads(json.dumps(found.settings)) == {"max_tree_depth": 10, "adapt": plain}
    assert (found.timings.sampling_per_chain, found.device_peak_bytes) == ((0.5, 0.5), 7)


def test_draws_that_are_not_finite_are_the_gates_business(small_problem, draws):
    spoilt = {name: np.full_like(v, np.nan) for name, v in draws.values.items()}
    spoilt["sigma"] = np.full_like(spoilt["sigma"], np.inf)
    found = check_draws(small_problem, replace(draws, values=spoilt), 2, 20)
    assert np.isnan(found.values["beta"]).all()


@pytest.mark.parametrize("fault", RUBBISH)
def test_rubbish_is_refused_with_what_it_is(small_problem, draws, fault):
    with pytest.raises(EngineFailed, match=r"^the backend") as caught:
        check_draws(small_problem, RUBBISH[fault](draws), 2, 20)
    message = str(caught.value)
    part, _, _ = fault.partition(":")
    assert len(message) < 500
    assert "\n" not in message
    if part in ("timings", "settings"):
        assert any(word in message for word in ("seconds", "setting", "_per_chain", "timings"))


@pytest.mark.parametrize("fault", VERSIONS)
def test_versions_that_are_no_versions_are_refused(monkeypatch, fault):
    monkeypatch.setenv("NESTOR_FAKE_RUBBISH", fault)
    with pytest.raises(EngineFailed, match=r"versions\(\) of the backend garbage"):
        check_versions(Garbage())


def test_other_answers_of_a_backend():
    for found in (1.5, -np.inf, np.float32(2.0), np.array([1.0])):
        assert check_log_density(found) == float(np.asarray(found).ravel()[0])
    for found in (None, "1.0", 1j, [1.0, 2.0], True):
        with pytest.raises(EngineFailed, match="log_density returned"):
            check_log_density(found)
    report = Progress(np.int64(1), "warmup", 2, 3, 0)
    assert json.dumps(check_progress(report)).startswith('{"chain": 1,')
    for wrong in ({"chain": "one"}, {"total": 1.5}, {"done": -1}, {"phase": None}):
        with pytest.raises(EngineFailed, match="progress"):
            check_progress(replace(report, **wrong))
    assert check_environment(lambda: {"A": "1"}, "it") == {"A": "1"}
    for asked in (None, {"A": 1}, {"": "1"}, {"A=B": "1"}, {"A": "\0"}):
        with pytest.raises(EngineFailed, match=r"^it "):
            check_environment(lambda asked=asked: asked, "it")


def test_one_draw_outside_the_support_is_named_with_its_value(small_problem, draws):
    with pytest.raises(EngineFailed) as caught:
        check_draws(small_problem, RUBBISH["tau below zero"](draws), 2, 20)
    assert "tau_h[Intercept] = -0.3 at draw 17 of chain 1: outside the support" in str(caught.value)


@pytest.mark.parametrize(
    ("address", "prior", "inside", "outside"),
    [
        ("sigma", "HalfNormal(2)", (0.0, 1e-320, 3.0), (-1e-300,)),
        ("nu", "Gamma(2, 0.1)", (0.0, 4.0), (-1.0,)),
        ("tau_g[x]", "Uniform(0, 1000)", (0.0, 1000.0), (1000.01, -1e-12)),
        ("beta[x]", "Uniform(-1, 2)", (-1.0, 2.0), (-1.001, 2.001)),
        ("gamma[z]", "HalfNormal(1)", (0.0,), (-1e-6,)),
        ("beta[Intercept]", "Normal(0, 1)", (-1e30, 1e30), ()),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_each_prior_has_its_support(small_table, address, prior, inside, outside, dtype):
    """The ends belong to it, where rounding puts what is next to them, in the engine's precision."""
    spec = ModelSpec.from_formula(
        "y ~ x + z + (x || g/h)", family="student_t", priors={address: prior}
    )
    problem = Problem(spec, small_table.assign(z=np.arange(60.0)))
    variable, _, effect = address.rstrip("]").partition("[")
    support = Support(problem, dtype)
    names = {"beta": ["Intercept", "x"], "tau_g": ["Intercept", "x"], "gamma": ["z"]}
    draws = np.ones((5, *problem.variables[variable].shape))
    at = (3, names[variable].index(effect)) if effect else (3,)
    for value in (*inside, *np.asarray(inside, dtype=dtype).astype(float)):
        draws[at] = value
        support.check(variable, draws, 0, 0)
    for value in outside:
        draws[at] = value
        with pytest.raises(EngineFailed, match="at draw 13 of chain 2") as caught:
            support.check(variable, draws, 2, 10)
        assert f"returned {address} = " in str(caught.value)


def test_a_scale_of_each_parent_is_named_with_its_node(small_table):
    spec = ModelSpec.from_formula("y ~ x + (1 || g/h)", scale={"h": "parent"})
    problem = Problem(spec, small_table)
    draws = np.ones((4, *problem.variables["tau_h"].shape))
    draws[2, 1, 0] = -2.0
    with pytest.raises(EngineFailed, match=r"tau_h\[b, Intercept\] = -2 at draw 2 of chain 0"):
        Support(problem).check("tau_h", draws, 0, 0)


class Late:
    """Defers one variable; `make` makes its blocks."""

    def __init__(self, name, shape, make):
        self.shapes = {name: shape}
        self._make = make

    def blocks(self):
        for chain in range(2):
            yield chain, 0, self._make(chain)

    def load(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda chain: {"sigma": np.ones(3) * 1j}, "sigma as complex128"),
        (lambda chain: {"sigma": ["a", "b", "c"]}, "sigma as <U1"),
        (lambda chain: {"tau": np.ones(3)}, "a block of tau, and had deferred sigma"),
        (lambda chain: {"sigma": np.array([1.0, 1.0, 0.5 - chain])}, "sigma = -0.5 at draw 2"),
    ],
)
def test_blocks_of_deferred_values_are_held_to_it_too(small_problem, tmp_path, make, message):
    late = Late("sigma", (2, 3), make)
    with pytest.raises(EngineFailed, match=message):
        arrays.write_deferred(late, tmp_path / "draws.npz", Support(small_problem).check)


@pytest.mark.parametrize(
    "level", ["x" * 245, "階" * 97, "a/b", "..", "CON", "a\N{COMBINING ACUTE ACCENT}*?"]
)
def test_names_of_levels_are_no_names_of_files(tmp_path, level):
    """File systems allow 255 bytes; a level may have a longer name, and any characters."""
    name, path = f"beta_{level}", tmp_path / "draws.npz"
    late = Late(name, (2, 3), lambda chain: {name: np.full(3, 1.0 + chain)})
    arrays.write_deferred(late, path)
    kept = Draws({f"tau_{level}": np.ones((2, 3, 1))}, {"lp": np.zeros((2, 3))}, Timings(), {})
    arrays.write(kept, path)
    found = arrays.read(path)
    assert list(found.values) == [f"tau_{level}", name]
    assert found.values[name].tolist() == [[1.0] * 3, [2.0] * 3]
    assert list(found.stats) == ["lp"]
    files = {file.name for file in tmp_path.rglob("*")}
    assert files == {"draws.npz", "draws.deferred", "0.npy", "names.json"}
