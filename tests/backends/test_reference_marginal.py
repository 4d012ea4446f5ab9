"""Coefficients integrated out exactly: messages against dense linear algebra and the joint density."""

import numpy as np
import pandas as pd
import pytest
from gaussian_trees import at, gaussian_problems, random_scales, random_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from nestor import ModelSpec, Problem
from nestor.data import datasets
from nestor.data.demo import FORMULA
from nestor.errors import SpecError, Unsupported
from nestor_reference import (
    ReferenceModel,
    conditional_dense,
    conditional_draws,
    conditional_mean,
    log_marginal,
    log_marginal_dense,
)
from nestor_reference.gaussian import read_scales
from nestor_reference.messages import MessagePassing

SEEDS = st.integers(0, 2**32)
QUICK = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
CHANCE = 1e-5


def coefficients(problem):
    return [v for v in problem.variables.values() if v.role in ("population", "node")]


def flat(problem, values):
    """Coefficients of one batch, one after another: (batch, n)."""
    parts = [values[v.name] for v in coefficients(problem)]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


@QUICK
@given(problem=gaussian_problems(), seed=SEEDS)
def test_messages_equal_dense_linear_algebra(problem, seed):
    scales = random_scales(problem, np.random.default_rng(seed), 4)
    found = log_marginal(problem, scales)
    wanted = np.array([log_marginal_dense(problem, at(scales, i)) for i in range(4)])
    assert np.all(np.abs(found - wanted) <= 1e-9 * np.maximum(1, np.abs(wanted)))
    means = conditional_mean(problem, scales)
    for i in range(4):
        dense = conditional_dense(problem, at(scales, i))
        for variable in coefficients(problem):
            wanted_mean, sd = dense.mean[variable.name], dense.sd[variable.name]
            bound = 1e-8 * (np.abs(wanted_mean) + sd + 1e-3)
            assert np.all(np.abs(means[variable.name][i] - wanted_mean) <= bound)


@QUICK
@given(problem=gaussian_problems(decades=6), seed=SEEDS)
def test_weights_twelve_orders_of_magnitude_apart(problem, seed):
    """Dense factors of rows that share a leaf lose as many digits as their noise lies below the leaf's
    variance, here six.
    """
    scales = random_scales(problem, np.random.default_rng(seed), 2, spread=0.5)
    sigma = read_scales(problem, scales)[0]["sigma"]
    weights = np.ones(1) if problem.weights is None else problem.weights
    squares = np.sum(weights * (1 + problem.y**2)) / sigma**2
    found = log_marginal(problem, scales)
    wanted = np.array([log_marginal_dense(problem, at(scales, i)) for i in range(2)])
    assert np.all(np.abs(found - wanted) <= 1e-9 * np.maximum(1, np.abs(wanted)) + 1e-13 * squares)


@QUICK
@given(problem=gaussian_problems(), seed=SEEDS)
def test_joint_less_conditional_is_the_marginal_at_any_coefficients(problem, seed):
    """log p(y, beta | theta) - log p(beta | y, theta) at exact draws and at draws from elsewhere."""
    rng = np.random.default_rng(seed)
    scales = random_scales(problem, rng)
    passing, model = MessagePassing(problem), ReferenceModel(problem)
    batch = {n: a[None] for n, a in read_scales(problem, scales)[0].items()}
    up = passing.up(batch)
    prior = sum_of_scale_priors(problem, scales)
    for spread in (0.0, 1.0, 3.0):

        def noise(shape, spread=spread):
            return spread * rng.standard_normal(shape)

        down = passing.down(up, noise)
        joint = model.log_density(scales | at(down.values, 0))
        found = joint - prior - down.log_density[0]
        assert found == pytest.approx(up.log_marginal[0], rel=1e-9, abs=1e-8)


def sum_of_scale_priors(problem, scales):
    total = 0.0
    for level, priors in problem.priors.tau.items():
        for j, prior in enumerate(priors.values()):
            total += float(np.sum(prior.scipy().logpdf(scales[f"tau_{level}"][..., j])))
    sigma = problem.priors.family["sigma"]
    return total if sigma.is_fixed else total + float(sigma.scipy().logpdf(scales["sigma"]))


@QUICK
@given(problem=gaussian_problems(), seed=SEEDS)
def test_the_conditional_covariance_is_the_dense_one(problem, seed):
    """The way down is linear in its noise: unit vectors of noise give the covariance's square root."""
    scales = random_scales(problem, np.random.default_rng(seed))
    sizes = []
    passing = MessagePassing(problem)
    one = {n: a[None] for n, a in read_scales(problem, scales)[0].items()}

    def count(shape):
        sizes.append(int(np.prod(shape)))
        return np.zeros(shape)

    mean = flat(problem, passing.down(passing.up(one), count).values)
    total = sum(sizes)
    many = {n: np.repeat(a, total, axis=0) for n, a in one.items()}
    begin = 0

    def unit(shape):
        nonlocal begin
        p, n, batch = shape
        vectors = np.eye(total)[:, begin : begin + p * n].reshape(batch, p, n)
        begin += p * n
        return np.moveaxis(vectors, 0, 2)

    root = flat(problem, passing.down(passing.up(many), unit).values) - mean
    wanted = conditional_dense(problem, scales).covariance
    sd = np.sqrt(np.diag(wanted)) + 1e-6
    assert np.all(np.abs(root.T @ root - wanted) <= 1e-8 * np.outer(sd, sd) + 1e-10)


def test_draws_have_the_exact_means_and_covariances():
    rng = np.random.default_rng(5)
    spec = ModelSpec.from_formula("y ~ x1 + z + (x1 || level0/level1)", weights="w")
    problem = Problem(spec, random_table(2, rng))
    scales = random_scales(problem, rng)
    n = 20_000
    many = {name: np.broadcast_to(a, (n, *a.shape)) for name, a in scales.items()}
    draws = flat(problem, conditional_draws(problem, many, rng))
    dense = conditional_dense(problem, scales)
    mean = np.concatenate([dense.mean[v.name].ravel() for v in coefficients(problem)])
    sd = np.sqrt(np.diag(dense.covariance))
    z_mean = (draws.mean(axis=0) - mean) / (sd / np.sqrt(n))
    products = ((draws - mean) / sd)[:, :, None] * ((draws - mean) / sd)[:, None, :]
    correlation = dense.covariance / np.outer(sd, sd)
    # The variance of a product of standard normal numbers of correlation r is 1 + r^2 (Isserlis).
    z_products = (products.mean(axis=0) - correlation) / np.sqrt((1 + correlation**2) / n)
    bound = stats.norm.isf(CHANCE / 2 / (mean.size + mean.size**2))
    assert np.abs(z_mean).max() < bound
    assert np.abs(z_products).max() < bound


def test_leading_axes_are_kept_and_broadcast(small_problem):
    rng = np.random.default_rng(1)
    scales = random_scales(small_problem, rng, 3, 2)
    whole = log_marginal(small_problem, scales)
    assert whole.shape == (3, 2)
    single = log_marginal(small_problem, {name: a[1, 0] for name, a in scales.items()})
    assert single.shape == ()
    assert float(single) == pytest.approx(whole[1, 0], rel=1e-13)
    mixed = scales | {"sigma": np.asarray(1.3)}
    assert conditional_mean(small_problem, mixed)["beta_h"].shape[:2] == (3, 2)
    assert log_marginal(small_problem, random_scales(small_problem, rng, 0)).shape == (0,)


def test_many_evaluations_equal_single_ones_across_parts(small_problem, monkeypatch):
    scales = random_scales(small_problem, np.random.default_rng(2), 11)
    whole = log_marginal(small_problem, scales)
    monkeypatch.setattr("nestor_reference.messages._LARGEST_ARRAY", 1)
    assert MessagePassing(small_problem).batch == 1
    assert log_marginal(small_problem, scales) == pytest.approx(whole, rel=1e-13)


def test_an_inherited_entry_is_its_parents_own_and_a_fixed_one_zero():
    rng = np.random.default_rng(3)
    formula = "y ~ 1 + z + (1 + x1 || level0) + (1 || level0/level1)"
    problem = Problem(ModelSpec.from_formula(formula), random_table(2, rng))
    draws = conditional_draws(problem, random_scales(problem, rng, 5), rng)
    slope = problem.effects.index("x1")
    parent = problem.levels[1].parent
    assert np.array_equal(
        draws["beta_level1"][..., slope], draws["beta_level0"][..., parent, slope]
    )
    assert np.array_equal(draws["beta"][:, slope], np.zeros(5))


def test_a_scale_of_zero_is_the_limit_of_small_ones(small_problem):
    scales = random_scales(small_problem, np.random.default_rng(4))
    zero = scales | {"tau_h": scales["tau_h"] * [0.0, 1.0]}
    small = scales | {"tau_h": scales["tau_h"] * [1e-9, 1.0]}
    assert float(log_marginal(small_problem, zero)) == pytest.approx(
        float(log_marginal(small_problem, small)), abs=1e-9
    )


def test_the_chain_of_scales_by_hand():
    """One group mean: y_g ~ Normal(m0, s0^2 + tau^2 + sigma^2), groups correlated through the population."""
    table = pd.DataFrame({"g": list("ab"), "y": [1.0, 4.0]})
    spec = ModelSpec.from_formula("y ~ 1 + (1 || g)", priors={"beta": "Normal(2, 3)"})
    covariance = 9.0 + np.diag([0.25 + 0.64] * 2)
    wanted = stats.multivariate_normal([2.0, 2.0], covariance).logpdf([1.0, 4.0])
    found = log_marginal(Problem(spec, table), {"tau_g": [0.5], "sigma": 0.8})
    assert float(found) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ({"tau_g": [1.0, 1.0], "tau_h": [1.0, 1.0]}, "lack sigma"),
        ({"tau_g": [1.0], "tau_h": [1.0, 1.0], "sigma": 1.0}, r"tau_g has shape \(1,\)"),
        ({"tau_g": 1.0, "tau_h": [1.0, 1.0], "sigma": 1.0}, r"tau_g has shape \(\)"),
        ({"tau_g": [1.0, -1.0], "tau_h": [1.0, 1.0], "sigma": 1.0}, "tau_g must be positive"),
        ({"tau_g": [1.0, np.nan], "tau_h": [1.0, 1.0], "sigma": 1.0}, "tau_g must be positive"),
        ({"tau_g": [1.0, 1.0], "tau_h": [1.0, 1.0], "sigma": 0.0}, "sigma must be positive"),
    ],
)
@pytest.mark.parametrize("function", [log_marginal, log_marginal_dense, conditional_mean])
def test_scales_that_do_not_fit_are_refused(small_problem, function, scales, message):
    with pytest.raises(SpecError, match=message):
        function(small_problem, scales)


@pytest.mark.parametrize("function", [log_marginal, log_marginal_dense, conditional_mean])
@pytest.mark.parametrize(
    ("family", "priors", "message"),
    [
        ("student_t", {}, "'y' is student_t"),
        ("gaussian", {"beta[x]": "StudentT(3, 0, 1)"}, r"beta\[x\] is StudentT\(3, 0, 1\)"),
        ("gaussian", {"gamma": "Cauchy(0, 1)"}, r"gamma\[z\] is Cauchy\(0, 1\)"),
    ],
)
def test_what_is_not_gaussian_is_refused_with_its_address(
    small_table, function, family, priors, message
):
    table = small_table.assign(z=np.arange(60.0))
    spec = ModelSpec.from_formula("y ~ x + z + (x || g/h)", family=family, priors=priors)
    with pytest.raises(Unsupported, match=message):
        function(Problem(spec, table), {})


def test_dense_refuses_large_problems_and_batches(small_problem):
    scales = random_scales(small_problem, np.random.default_rng(6), 2)
    with pytest.raises(SpecError, match="one set of scales at a time"):
        log_marginal_dense(small_problem, scales)
    table = pd.concat([datasets.income(seed=1)] * 2)
    with pytest.raises(Unsupported, match="3390 rows"):
        log_marginal_dense(Problem(ModelSpec.from_formula(FORMULA), table), {})
