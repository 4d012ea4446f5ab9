"""Problems whose rows are not in memory: every backend has the density of the whole table."""

from dataclasses import replace

import numpy as np
import pytest
from gaussian_trees import random_scales, random_table

from nestor import DataError, ModelSpec, Problem, SamplerConfig
from nestor.agreement.density import compare_densities, density_points
from nestor.agreement.recovery import check_recovery
from nestor.engines import registry
from nestor.engines.formulation import Formulation
from nestor_reference import conditional_mean, log_marginal, log_marginal_dense

FORMULATIONS = [["marginalized"], ["centered", "level1=noncentered", "statistics"]]
FORMULAS = [
    "y ~ 1 + (1 || level0/level1)",
    "y ~ x1 + z + (x1 || level0/level1)",
    "y ~ 1 + z + x2 + (x1 || level0/level1)",
    "y ~ 0 + x1 + x2 + (0 + x1 + x2 || level0/level1)",
    "y ~ 0 + x1 + (1 + x1 || level0/level1)",
    "y ~ 1 + x1 + z + constant_in_leaf + (1 + x1 + x2 || level0) + (1 || level0/level1)",
]
OPTIONS = [{}, {"weights": "w", "offset": "o"}, {"weights": "w", "priors": {"sigma": 0.8}}]


def make_table():
    """Leaves of one to four rows, so that many say nothing of a slope."""
    table = random_table(2, np.random.default_rng(3))
    return table.assign(constant_in_leaf=table.groupby("level1")["o"].transform("mean"))


TABLE = make_table()


def both(formula, **options):
    """The problem with rows, and that of the same rows read in three batches."""
    spec = ModelSpec.from_formula(formula, **options)
    return Problem(spec, TABLE), Problem.from_batches(spec, [TABLE.iloc[i::3] for i in range(3)])


def model(name, problem, words, sampler=None):
    formulation = Formulation.parse(words, problem.spec.level_names)
    how = {"sampler": sampler, "device": "cpu", "dtype": "float64"}
    return registry.get(name).backend.compile(problem, formulation, **how)


def largest_difference(one, other, points):
    values = [[m.log_density(point) for point in points] for m in (one, other)]
    assert np.isfinite(values).all()
    return compare_densities("x", "float64", *values).largest


@pytest.mark.parametrize("words", FORMULATIONS, ids=["marginal", "joint"])
@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "weights, offset", "known sigma"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_the_reference_has_the_density_of_the_whole_table(formula, options, words):
    whole, summed = both(formula, **options)
    points = density_points(whole, 6) + density_points(summed, 6)
    # Sums of some hundred terms in two orders.
    assert (
        largest_difference(
            model("reference", whole, words), model("reference", summed, words), points
        )
        < 1e-11
    )


@pytest.mark.parametrize("backend", ["numba", "numpyro", "pymc"])
@pytest.mark.parametrize("words", FORMULATIONS, ids=["marginal", "joint"])
def test_every_backend_has_the_density_of_the_whole_table(backend, words):
    whole, summed = both(FORMULAS[1], weights="w", offset="o")
    found = model(backend, summed, words)
    assert (
        largest_difference(model("reference", whole, words), found, density_points(summed)) < 1e-8
    )


def test_square_roots_that_are_no_triangles_will_do():
    """As they are where an intercept comes behind a slope."""
    whole, summed = both(FORMULAS[1])
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(len(summed.statistics.root), 2, 2)))
    turned = replace(summed.statistics, root=turn.Q @ summed.statistics.root)
    summed._streamed = replace(summed._streamed, statistics=turned)
    del summed.statistics
    points = density_points(whole, 6)
    for words in FORMULATIONS:
        one, other = (model("reference", problem, words) for problem in (whole, summed))
        assert largest_difference(one, other, points) < 1e-11


def test_coefficients_given_the_scales_are_those_of_the_whole_table():
    whole, summed = both(FORMULAS[1], weights="w", offset="o")
    scales = random_scales(whole, np.random.default_rng(4), 3)
    np.testing.assert_allclose(log_marginal(summed, scales), log_marginal(whole, scales), 1e-11)
    wanted = conditional_mean(whole, scales)
    for name, mean in conditional_mean(summed, scales).items():
        np.testing.assert_allclose(mean, wanted[name], rtol=1e-9, atol=1e-11)


def test_exact_draws_pass_the_check_of_recovery_and_others_do_not():
    _, summed = both(FORMULAS[1], weights="w", offset="o")
    exact = model("reference", summed, ["marginalized"], sampler="exact")
    config = SamplerConfig(chains=2, warmup=100, draws=300, seed=1, chain_method="sequential")
    values = dict(exact.sample(config).values)
    assert check_recovery(summed, "x", values, exact.whitened).exact
    values["beta_level1"] = values["beta_level1"] + 0.5 * values["tau_level1"][:, :, None]
    assert not check_recovery(summed, "x", values, exact.whitened).exact


@pytest.mark.parametrize("sampler", [None, "exact"])
def test_what_needs_rows_says_so(sampler):
    _, summed = both(FORMULAS[1])
    point = density_points(summed, 1)[0]
    with pytest.raises(DataError, match="not in memory"):
        model("reference", summed, ["centered"], sampler)
    with pytest.raises(DataError, match="not in memory"):
        model("reference", summed, ["statistics"], sampler).log_likelihood(point)
    with pytest.raises(DataError, match="not in memory"):
        log_marginal_dense(summed, point)
