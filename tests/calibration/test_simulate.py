"""The simulator against closed forms; bounds are 5 Monte Carlo standard errors, so that a right one fails
one comparison in 1.7 million."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nestor import ModelSpec, Problem
from nestor.calibration.simulate import (
    check_simulations,
    draw_outcome,
    draw_parameters,
    entries,
    linear_predictor,
)
from nestor.errors import SpecError
from nestor.model.priors import PRIOR_FAMILIES, Prior

N = 6_000
ARGS = {
    "Normal": (1.0, 2.0),
    "StudentT": (5.0, 1.0, 2.0),
    "Cauchy": (1.0, 2.0),
    "HalfNormal": (2.0,),
    "HalfStudentT": (4.0, 2.0),
    "HalfCauchy": (2.0,),
    "Exponential": (0.5,),
    "Gamma": (2.0, 0.1),
    "InverseGamma": (3.0, 2.0),
    "LogNormal": (0.5, 0.7),
    "Uniform": (-1.0, 3.0),
}


def _table(**columns):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"g": list("aaabbb"), "h": list("xxyxyy"), "x": rng.normal(size=6)})
    return table.assign(y=rng.normal(size=6), **columns)


def _draws(problem, n, seed=1):
    rng = np.random.default_rng(seed)
    thetas = [draw_parameters(problem, rng) for _ in range(n)]
    return {name: np.stack([theta[name] for theta in thetas]) for name in thetas[0]}


def _same(found, expected, error):
    assert np.all(np.abs(found - expected) < 5 * error), (found, expected, error)


@pytest.mark.parametrize("family", sorted(PRIOR_FAMILIES))
def test_every_prior_family_has_its_distribution(family):
    """Against SciPy's definition, by the fraction below each of nine quantiles."""
    prior = Prior(family, ARGS[family])
    address = "beta[Intercept]" if not prior.is_positive else "tau_g[Intercept]"
    spec = ModelSpec.from_formula(
        "y ~ 1 + (1 | g)".replace("|", "||"), priors={address: prior, "sigma": 1.0}
    )
    problem = Problem(spec, _table())
    name = "beta" if not prior.is_positive else "tau_g"
    drawn = _draws(problem, N)[name][:, 0]
    probs = np.linspace(0.1, 0.9, 9)
    below = (drawn[:, None] < prior.scipy().ppf(probs)).mean(axis=0)
    _same(below, probs, np.sqrt(probs * (1 - probs) / N))


def test_nodes_vary_about_their_parents_by_their_own_scale():
    """Var(beta_h) = s0^2 + E tau_g^2 + E tau_h^2, and nodes of one parent share all but the last."""
    spec = ModelSpec.from_formula(
        "y ~ 1 + (1 || g/h)",
        priors={"beta": "Normal(3, 1)", "tau_g": "HalfNormal(2)", "tau_h": "Uniform(0, 3)"},
        scale={"h": "parent"},
    )
    drawn = _draws(Problem(spec, _table()), N)
    assert drawn["tau_h"].shape == (N, 2, 1)
    assert np.corrcoef(drawn["tau_h"][:, :, 0].T)[0, 1] == pytest.approx(0, abs=5 / np.sqrt(N))
    nodes = drawn["beta_h"][:, :, 0]
    covariance = np.cov(nodes.T)
    _same(nodes.mean(axis=0), 3.0, np.sqrt(8.0 / N))
    # E tau^2: 4 of a HalfNormal(2), 9 / 3 of a Uniform(0, 3). Fourth moments: kurtosis below 6.
    expected = np.full((4, 4), 1.0) + 4.0 * (np.arange(4)[:, None] // 2 == np.arange(4) // 2)
    expected += 3.0 * np.eye(4)
    _same(covariance, expected, 8.0 * np.sqrt(5.0 / N))


def test_effects_that_do_not_vary_are_inherited_and_zero_means_are_zero():
    spec = ModelSpec.from_formula("y ~ 1 + (x || g) + (1 || g:h)", priors={"tau": "HalfNormal(1)"})
    problem = Problem(spec, _table())
    theta = draw_parameters(problem, np.random.default_rng(1))
    slope = list(problem.effects).index("x")
    assert theta["beta"][slope] == 0
    assert np.ptp(theta["beta_g"][:, slope]) > 0
    parent = problem.levels[1].parent
    assert np.array_equal(theta["beta_h"][:, slope], theta["beta_g"][parent, slope])
    filled = problem.with_inherited(theta)
    assert all(np.array_equal(filled[name], theta[name]) for name in theta)


def test_a_gaussian_outcome_has_its_mean_and_its_weighted_variance():
    table = _table(w=[1.0, 4.0, 0.25, 1.0, 2.0, 1.0], o=np.arange(6.0))
    spec = ModelSpec.from_formula(
        "y ~ 1 + x + (1 || g)",
        offset="o",
        weights="w",
        priors={"sigma": 2.0, "gamma": "Normal(1, 1)"},
    )
    problem = Problem(spec, table)
    rng = np.random.default_rng(4)
    theta = draw_parameters(problem, rng)
    eta = [
        problem.offset[i]
        + theta["beta_g"][problem.leaf[i], 0]
        + theta["gamma"][0] * problem.Z[i, 0]
        for i in range(6)
    ]
    assert np.allclose(linear_predictor(problem, theta), eta)
    y = np.stack([draw_outcome(problem, theta, rng) for _ in range(N)])
    variance = 4.0 / problem.weights
    _same(y.mean(axis=0), eta, np.sqrt(variance / N))
    _same(y.var(axis=0), variance, variance * np.sqrt(2 / N))


def test_a_student_t_outcome_has_its_quantiles():
    spec = ModelSpec.from_formula(
        "y ~ 1 + (1 || g)", family="student_t", priors={"sigma": 2.0, "nu": 3.0}
    )
    problem = Problem(spec, _table())
    rng = np.random.default_rng(4)
    theta = draw_parameters(problem, rng)
    assert "nu" not in theta
    y = np.stack([draw_outcome(problem, theta, rng) for _ in range(N)])
    z = (y - linear_predictor(problem, theta)) / 2.0
    probs = np.array([0.05, 0.25, 0.5, 0.9])
    below = (z[..., None] < stats.t(3).ppf(probs)).mean(axis=0)
    _same(below, probs, np.sqrt(probs * (1 - probs) / N))


def test_every_prior_is_drawn_from():
    spec = ModelSpec.from_formula("y ~ x + (x || g/h)", family="student_t", scale="parent")
    problem = Problem(spec, _table())
    addresses = {entry.address for entry in entries(problem)}
    assert addresses == set(problem.priors.by_address())


@pytest.mark.parametrize(
    ("priors", "blamed"),
    [
        ({"tau": "InverseGamma(0.001, 0.001)"}, r"tau_g\[Intercept\] ~ InverseGamma"),
        ({"sigma": "LogNormal(0, 400)"}, "sigma ~ LogNormal"),
        ({"sigma": "Gamma(0.0001, 1)"}, "sigma ~ Gamma"),
        ({"beta": "StudentT(0.003, 0, 1)"}, r"beta\[Intercept\] ~ StudentT"),
        ({"nu": "Uniform(0, 0.002)"}, "nu ~ Uniform"),
    ],
)
def test_priors_that_cannot_be_computed_with_are_refused_by_name(priors, blamed):
    spec = ModelSpec.from_formula("y ~ 1 + (1 || g)", family="student_t", priors=priors)
    problem = Problem(spec, _table())
    with pytest.raises(SpecError, match=rf"in \d+ of 50 simulations.*Tighten {blamed}"):
        check_simulations(problem, 1, 50, "float64")


def test_wide_but_usable_priors_are_not_refused():
    spec = ModelSpec.from_formula("y ~ 1 + (1 || g)", priors={"tau": "HalfCauchy(100)"})
    check_simulations(Problem(spec, _table()), 1, 200, "float64")
    huge = ModelSpec.from_formula("y ~ 1 + (1 || g)", priors={"beta": "Normal(0, 1e20)"})
    check_simulations(Problem(huge, _table()), 1, 200, "float64")
    with pytest.raises(SpecError, match="beyond 1e"):
        check_simulations(Problem(huge, _table()), 1, 200, "float32")
