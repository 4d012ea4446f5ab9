"""Models that take another outcome: the same programs, another posterior, and nothing shared but those."""

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, Problem
from nestor.backend import Reusable, SamplerConfig
from nestor.engines import registry
from nestor.engines.formulation import Formulation
from nestor.errors import DataError

ENGINES = {
    "pymc:nutpie": pytest.importorskip("nutpie"),
    "pymc:pymc": pytest.importorskip("pymc"),
    "numpyro:nuts": pytest.importorskip("numpyro"),
}
CONFIG = SamplerConfig(chains=2, warmup=60, draws=30, seed=7, cores=2)


def _compile(engine, problem, *, densities=False):
    name, _, sampler = engine.partition(":")
    return registry.get(name).backend.compile(
        problem,
        Formulation.parse((), problem.spec.level_names),
        sampler=None if densities else sampler,
        device="cpu",
        dtype="float64",
    )


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"g": rng.choice(list("abc"), 40), "x": rng.normal(size=40)})
    table = table.assign(y=table.x + rng.normal(size=40), w=rng.uniform(0.5, 2.0, 40))
    return Problem(ModelSpec.from_formula("y ~ x + (1 || g)", weights="w"), table)


@pytest.fixture(scope="module")
def y(problem):
    return 3.0 - 2.0 * problem.y + np.random.default_rng(2).normal(size=problem.n_rows)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def model(engine, problem):
    return _compile(engine, problem)


@pytest.fixture(scope="module")
def other(model, y):
    return model.with_outcome(y)


@pytest.fixture(scope="module")
def first(model, other):
    """The original's draws, after the other model was made and before it is sampled."""
    return model.sample(CONFIG)


def _equal(one, two):
    assert one.values.keys() == two.values.keys()
    for name, values in one.values.items():
        np.testing.assert_array_equal(values, two.values[name])
    np.testing.assert_array_equal(one.stats["lp"], two.stats["lp"])


def _point(problem):
    rng = np.random.default_rng(5)
    return {
        v.name: rng.uniform(0.5, 2.0, v.shape)
        if v.role in ("scale", "family")
        else rng.normal(size=v.shape)
        for v in problem.variables.values()
    }


def test_the_other_models_draws_are_those_of_one_compiled_for_it(
    first, model, other, engine, problem, y
):
    assert isinstance(model, Reusable)
    found = other.sample(CONFIG)
    _equal(found, _compile(engine, problem.with_outcome(y)).sample(CONFIG))
    assert not np.any(found.values["beta"] == first.values["beta"])


def test_the_original_is_as_it_was(first, model, other):
    other.sample(CONFIG)
    _equal(model.sample(CONFIG), first)


def test_densities_are_those_of_the_reference(model, other, problem, y):
    point = _point(problem)
    expected = [
        _compile("reference", p, densities=True).log_density(point)
        for p in (problem, problem.with_outcome(y))
    ]
    assert abs(expected[0] - expected[1]) > 1.0
    found = [m.log_density(point) for m in (model, other)]
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    assert model.log_density(point) == found[0]


def test_a_model_for_densities_only_takes_an_outcome_too(engine, problem, y):
    model = _compile(engine, problem, densities=True)
    point = _point(problem)
    found = model.with_outcome(y).log_density(point)
    expected = _compile("reference", problem.with_outcome(y), densities=True).log_density(point)
    assert found == pytest.approx(expected, rel=1e-8)


def _refuse_to_compile(engine, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("compiled again")

    if engine == "numpyro:nuts":
        from nestor_numpyro import compiled, density

        monkeypatch.setattr(compiled, "compile_programs", refuse)
        monkeypatch.setattr(density, "site_log_density", refuse)
    else:
        import nutpie
        from pymc.model.core import ValueGradFunction

        from nestor_pymc import density

        # PyMC rewrites its functions from the unconstrained space for every run; the log density with its
        # gradient it keeps.
        monkeypatch.setattr(nutpie, "compile_pymc_model", refuse)
        monkeypatch.setattr(ValueGradFunction, "__init__", refuse)
        monkeypatch.setattr(density, "build_model", refuse)


def test_nothing_is_compiled_again(first, model, other, engine, problem, monkeypatch):
    point = _point(problem)
    before = model.log_density(point)
    _refuse_to_compile(engine, monkeypatch)
    third = other.with_outcome(problem.y)
    # Back to the first outcome: the first draws and density, from the same programs.
    _equal(third.sample(CONFIG), first)
    assert third.log_density(point) == before
    # What is refused here is what compiling needs.
    with pytest.raises(AssertionError, match="compiled again"):
        _compile(engine, problem).sample(CONFIG)


def test_an_outcome_that_does_not_fit_is_refused(model, problem):
    with pytest.raises(DataError, match="40 finite numbers"):
        model.with_outcome(problem.y[:-1])
    with pytest.raises(DataError, match="1 not finite"):
        model.with_outcome(np.where(np.arange(40) == 3, np.nan, problem.y))


def test_the_outcome_is_copied(model, problem, y):
    mine = y.copy()
    third = model.with_outcome(mine)
    before = third.log_density(_point(problem))
    mine[:] = 0.0
    assert third.log_density(_point(problem)) == before
