"""The log-likelihood of draws against the reference's, row by row."""

import numpy as np
import pytest

from nestor import ModelSpec, Problem
from nestor.agreement.density import density_points
from nestor.engines.formulation import Formulation
from nestor.posterior import log_likelihood as module
from nestor.posterior.log_likelihood import total_log_likelihood
from nestor_reference import ReferenceBackend


def draws_of(problem, n_chain=2, n_draw=3):
    points = density_points(problem, n_chain * n_draw, seed=5)
    return {
        name: np.stack([p[name] for p in points]).reshape(n_chain, n_draw, *variable.shape)
        for name, variable in problem.variables.items()
    }


def expected(problem, values):
    model = ReferenceBackend().compile(
        problem,
        Formulation.parse([], problem.spec.level_names),
        sampler=None,
        device="cpu",
        dtype="float64",
    )
    lead = next(iter(values.values())).shape[:2]
    found = np.empty(lead)
    for at in np.ndindex(lead):
        point = {name: v[at] for name, v in values.items()}
        found[at] = model.log_likelihood(problem.with_inherited(point)).sum()
    return found


@pytest.fixture(params=["gaussian", "student_t"])
def problem(request, small_table):
    rng = np.random.default_rng(3)
    table = small_table.assign(
        w=np.exp(rng.normal(size=60)), o=rng.normal(size=60), u=rng.normal(size=60)
    )
    spec = ModelSpec.from_formula(
        "y ~ x + u + (x || g/h)", family=request.param, weights="w", offset="o"
    )
    return Problem(spec, table)


@pytest.mark.parametrize("chunk", [2_000_000, 50, 7])
def test_equals_the_reference_whatever_the_chunks(problem, chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    monkeypatch.setattr(module, "_DRAWS", 4)
    values = draws_of(problem)
    np.testing.assert_allclose(
        total_log_likelihood(problem, values), expected(problem, values), rtol=1e-11
    )


def test_known_family_parameters_take_part(small_table):
    spec = ModelSpec.from_formula(
        "y ~ x + (x || g/h)", family="student_t", priors={"nu": "4", "sigma": "0.7"}
    )
    problem = Problem(spec, small_table)
    values = draws_of(problem)
    np.testing.assert_allclose(
        total_log_likelihood(problem, values), expected(problem, values), rtol=1e-11
    )


def test_draws_outside_the_support_give_no_number_and_no_warning(small_problem):
    values = draws_of(small_problem)
    values["sigma"][0, 0] = 0.0
    values["sigma"][1, 1] = -1.0
    values["beta_h"][0, 1] = np.nan
    found = total_log_likelihood(small_problem, values)
    assert not np.isfinite(found[[0, 1, 0], [0, 1, 1]]).any()
    assert np.isfinite(found[[0, 1, 1], [2, 0, 2]]).all()


@pytest.mark.parametrize("chunk", [2_000_000, 5])
@pytest.mark.parametrize(
    "formula",
    ["y ~ x + u + offset(o) + (x || g/h)", "y ~ x + (x || g/h)", "y ~ 0 + x + u + (0 + x || g)"],
)
@pytest.mark.parametrize("weights", [None, "w"])
def test_leaf_statistics_give_that_of_the_rows(small_table, formula, weights, chunk, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    monkeypatch.setattr(module, "_DRAWS", 4)
    rng = np.random.default_rng(3)
    table = small_table.assign(
        w=np.exp(rng.normal(size=60)), o=rng.normal(size=60), u=rng.normal(size=60)
    )
    spec = ModelSpec.from_formula(formula, weights=weights)
    whole = Problem(spec, table)
    streamed = Problem.from_batches(spec, [table.iloc[:25], table.iloc[25:]])
    values = draws_of(whole)
    found = total_log_likelihood(streamed, values)
    np.testing.assert_allclose(found, total_log_likelihood(whole, values), rtol=1e-11)


def test_draws_outside_the_support_give_no_number_without_rows_either(small_table):
    spec = ModelSpec.from_formula("y ~ x + (x || g/h)")
    values = draws_of(Problem(spec, small_table))
    values["sigma"][0, 0] = 0.0
    values["sigma"][1, 1] = -1.0
    values["beta_h"][0, 1] = np.nan
    found = total_log_likelihood(Problem.from_batches(spec, [small_table]), values)
    assert not np.isfinite(found[[0, 1, 0], [0, 1, 1]]).any()
    assert np.isfinite(found[[0, 1, 1], [2, 0, 2]]).all()
