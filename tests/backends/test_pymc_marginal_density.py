"""The PyMC backend's densities by leaf statistics, and with coefficients integrated out."""

import numpy as np
import pandas as pd
import pytest
from gaussian_trees import at, gaussian_problems, random_scales, random_table
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nestor import ModelSpec, Problem
from nestor.errors import Unsupported
from nestor_reference import conditional_dense, log_marginal, log_marginal_dense

pytest.importorskip("pymc")

from pymc_problems import (
    QUICK,
    coefficients,
    compiled,
    log_prior,
    reference_model,
    two_levels,
    unflat,
    wide_problem,
)

SEEDS = st.integers(0, 2**32)


@QUICK
@given(problem=gaussian_problems(), seed=SEEDS)
def test_the_marginal_density_is_the_references(problem, seed):
    scales = random_scales(problem, np.random.default_rng(seed), 3)
    model = compiled(problem, ["marginalized"])
    for i in range(3):
        point = at(scales, i)
        expected = float(log_marginal(problem, point)) + log_prior(problem, point)
        assert model.log_density(point) == pytest.approx(expected, rel=1e-8, abs=1e-8)


@QUICK
@given(problem=gaussian_problems(), seed=SEEDS)
def test_it_is_joint_less_conditional_at_any_coefficients(problem, seed):
    """log p(y, theta) = log p(y, beta, theta) - log p(beta | y, theta), the latter by dense algebra."""
    rng = np.random.default_rng(seed)
    scales = random_scales(problem, rng, spread=0.5)
    dense = conditional_dense(problem, scales)
    flat = np.concatenate([dense.mean[v.name].ravel() for v in coefficients(problem)])
    random = np.concatenate([v.random.ravel() for v in coefficients(problem)])
    covariance = dense.covariance[np.ix_(random, random)]
    moved = flat.copy()
    moved[random] += np.linalg.cholesky(covariance) @ rng.normal(size=random.sum())
    point = scales | unflat(problem, moved)
    conditional = stats.multivariate_normal(flat[random], covariance, allow_singular=False).logpdf(
        moved[random]
    )
    joint = reference_model(problem).log_density(problem.with_inherited(point))
    found = compiled(problem, ["marginalized"]).log_density(point)
    assert found == pytest.approx(joint - conditional, rel=1e-6, abs=1e-6)


@QUICK
@given(
    problem=gaussian_problems(), seed=SEEDS, centering=st.sampled_from(["centered", "noncentered"])
)
def test_densities_by_statistics_are_those_of_the_rows(problem, seed, centering):
    rng = np.random.default_rng(seed)
    scales = random_scales(problem, rng)
    point = problem.with_inherited(
        scales | {v.name: rng.normal(size=v.shape) for v in coefficients(problem)}
    )
    found = compiled(problem, [centering, "statistics"]).log_density(point)
    expected = reference_model(problem).log_density(point)
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("scale", ["level", "parent"])
def test_four_effects(scale):
    """No closed form is short here: each effect's deviations meet the rows of those before it."""
    problem = wide_problem(scale)
    scales = random_scales(problem, np.random.default_rng(1))
    expected = log_marginal_dense(problem, scales) + log_prior(problem, scales)
    model = compiled(problem, ["marginalized"])
    assert model.log_density(scales) == pytest.approx(expected, rel=1e-8)


def test_a_marginalized_density_ignores_coefficients_and_ends_with_the_priors_support():
    problem = two_levels()
    model = compiled(problem, ["marginalized"])
    scales = random_scales(problem, np.random.default_rng(2))
    everything = scales | {v.name: np.full(v.shape, np.nan) for v in coefficients(problem)}
    assert model.log_density(everything) == model.log_density(scales)
    assert model.log_density(scales | {"sigma": np.array(-1.0)}) == -np.inf


def test_rows_that_were_streamed_are_enough():
    problem = wide_problem()
    table = random_table(3, np.random.default_rng(12)).assign(
        x3=np.random.default_rng(3).normal(size=problem.n_rows)
    )
    whole = Problem(problem.spec, table)
    streamed = Problem.from_batches(problem.resolved_spec, [table.iloc[:20], table.iloc[20:]])
    scales = random_scales(whole, np.random.default_rng(1))
    found = compiled(streamed, ["marginalized"]).log_density(scales)
    expected = log_marginal_dense(whole, scales) + log_prior(problem, scales)
    assert found == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"family": "student_t"}, "cannot run marginalized: coefficients .* student_t"),
        ({"priors": {"beta": "Cauchy(0, 1)"}}, r"beta\[.*\] is Cauchy"),
    ],
)
def test_what_cannot_be_integrated_out_is_refused_with_its_reason(arguments, reason):
    table = random_table(1, np.random.default_rng(4))
    spec = ModelSpec.from_formula("y ~ x1 + (1 || level0)", **arguments)
    with pytest.raises(Unsupported, match=reason):
        compiled(Problem(spec, table), ["marginalized"])


# ---------------------------------------------------------------------------------------------------
# Identical rows of another family


def _repeated(times=3):
    table = random_table(1, np.random.default_rng(4))
    spec = ModelSpec.from_formula("y ~ x1 + (1 || level0)", family="student_t", weights="w")
    return Problem(spec, pd.concat([table] * times).iloc[:-2])


def test_identical_rows_are_merged_with_their_counts():
    problem = _repeated()
    rng = np.random.default_rng(5)
    point = random_scales(problem, rng)
    point |= {v.name: rng.normal(size=v.shape) for v in coefficients(problem)}
    model = compiled(problem, ["statistics"])
    point = problem.with_inherited(point)
    expected = reference_model(problem).log_density(point)
    assert model.log_density(point) == pytest.approx(expected, rel=1e-8)
    other = np.round(problem.y)
    expected = reference_model(problem.with_outcome(other)).log_density(point)
    assert model.with_outcome(other).log_density(point) == pytest.approx(expected, rel=1e-8)


def test_rows_that_all_differ_are_not_merged():
    with pytest.raises(Unsupported, match="no two rows are the same"):
        compiled(_repeated(times=1), ["statistics"])
