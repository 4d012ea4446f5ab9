"""The numba backend with sampled coefficients: densities, gradients, starts, draws, what it refuses."""

import math

import gaussian_trees
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nestor import ModelSpec, Problem, SamplerConfig, Unsupported
from nestor.engines.formulation import Formulation
from nestor_numba import NumbaBackend
from nestor_reference import ReferenceBackend, conditional_dense

pytest.importorskip("numba")
pytest.importorskip("nutpie")

EPS = np.finfo(np.float64).eps

#: Every choice that decides which instructions are written is met in at least one case.
CASES = {
    "weights, offset, covariates, effects of some levels": {
        "formula": "y ~ x1 + z + (x1 + x2 || level0) + (1 || level0/level1/level2)",
        "weights": "w",
        "offset": "o",
    },
    "scales per parent, known sigma": {
        "formula": "y ~ x1 + (x1 || level0/level1/level2)",
        "scale": "parent",
        "priors": {"sigma": 0.7},
    },
    "three effects, the intercept last, no covariates": {
        "formula": "y ~ 0 + x1 + x2 + (0 + x1 + x2 || level0) + (1 || level0/level1/level2)",
        "weights": "w",
    },
    "no intercept, coefficients of any support": {
        "formula": "y ~ 0 + x1 + x2 + z + o + (0 + x1 + x2 || level0/level1/level2)",
        "priors": {
            "beta[x1]": "Gamma(2, 1)",
            "beta[x2]": "Uniform(-1, 2)",
            "gamma[z]": "StudentT(4, 0, 2)",
            "gamma[o]": "LogNormal(0, 1)",
            "tau": "Uniform(0, 5)",
        },
    },
}
WORDS = {
    "gaussian, not centred": ("gaussian", []),
    "gaussian, statistics, centred": ("gaussian", ["centered", "statistics"]),
    "gaussian, statistics, mixed": ("gaussian", ["level1=centered", "statistics"]),
    "student_t, mixed": ("student_t", ["level0=centered"]),
    "student_t, merged rows": ("student_t", ["centered", "level2=noncentered", "statistics"]),
}


def _problem(formula, family="gaussian", **arguments):
    # Every row three times, so that merging has something to merge.
    table = gaussian_trees.random_table(3, np.random.default_rng(5))
    table = pd.concat([table, table, table], ignore_index=True)
    return Problem(ModelSpec.from_formula(formula, family=family, **arguments), table)


def _compile(problem, words=(), sampler="nutpie", backend=None):
    formulation = Formulation.parse(words, problem.spec.level_names)
    return (backend or NumbaBackend()).compile(
        problem, formulation, sampler=sampler, device="cpu", dtype="float64"
    )


def _reference(problem):
    return _compile(problem, sampler=None, backend=ReferenceBackend())


def _point(problem, seed=1):
    rng = np.random.default_rng(seed)
    found = gaussian_trees.random_scales(problem, rng, spread=0.5)
    for v in problem.variables.values():
        if v.role in ("population", "node"):
            found[v.name] = rng.uniform(0.1, 1.9, v.shape)
    return problem.with_inherited(found)


@pytest.fixture(scope="module", params=WORDS)
def how(request):
    return WORDS[request.param]


@pytest.fixture(scope="module", params=CASES)
def case(request, how):
    family, words = how
    problem = _problem(family=family, **CASES[request.param])
    return problem, _compile(problem, words)


def test_densities_are_the_references(case):
    problem, model = case
    reference = _reference(problem)
    for seed in range(3):
        point = _point(problem, seed)
        expected = reference.log_density(point)
        assert math.isfinite(expected)
        assert model.log_density(point) == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_gradients_are_the_values(case):
    """Central differences with step h err by about eps |f| / h + h^2 |f'''|; see `test_target_density`."""
    _, model = case
    density = model.target_density()
    z = density.start
    value, gradient = density.value_and_gradient(z)
    h = EPS ** (1 / 3)
    tolerance = 30 * (EPS * abs(value) / h + h**2 * max(abs(value), np.abs(gradient).max()))
    assert tolerance < 1e-5 * np.abs(gradient).max(), "it would find a wrong term"
    for i, unit in enumerate(np.eye(len(z))):
        up, down = (density.value_and_gradient(z + s * h * unit)[0] for s in (1, -1))
        assert (up - down) / (2 * h) == pytest.approx(gradient[i], abs=tolerance)


def test_a_point_without_a_density_leaves_nothing_behind(case):
    """What a call leaves in its scratch beyond the last node must not reach the next one's sums."""
    _, model = case
    density = model.target_density()
    value, gradient = density.value_and_gradient(density.start)
    for wrong in (np.nan, np.inf, 1e200, 1e3, -1e3):
        for place in range(density.dimension):
            z = density.start.copy()
            z[place] = wrong
            for _ in range(len(density.evaluate.workspace.scratch)):
                density.value_and_gradient(z)
            again = density.value_and_gradient(density.start)
            assert again[0] == value
            np.testing.assert_array_equal(again[1], gradient)


def test_outside_the_supports_there_is_no_density(case):
    problem, model = case
    point = _point(problem)
    assert model.log_density(point | {"tau_level0": -point["tau_level0"]}) == -np.inf


def test_another_outcome_is_not_compiled_again(case):
    problem, model = case
    y = np.random.default_rng(4).normal(size=problem.n_rows)
    if model.formulation.likelihood == "statistics" and problem.spec.family == "student_t":
        y = np.round(y)  # otherwise no two rows are the same
    other = model.with_outcome(y)
    assert other.posterior.density.function is model.posterior.density.function
    point = _point(problem)
    expected = _reference(problem.with_outcome(y)).log_density(point)
    assert other.log_density(point) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("words", [["noncentered"], ["statistics"]])
@pytest.mark.parametrize("nu", [1e-3, 0.4, 1.0, 7.5, 100.0, 1e5, 1e9])
def test_student_t_is_exact_for_any_degrees_of_freedom(nu, words):
    """Against the logarithm of the gamma function in 40 digits; with very many it is the normal density."""
    mpmath = pytest.importorskip("mpmath")
    problem = _problem("y ~ x1 + (1 || level0)", "student_t", priors={"nu": nu})
    point = _point(problem)
    eta = np.sum(problem.X * point["beta_level0"][problem.leaf], axis=1)
    if problem.spec.covariates:
        eta += problem.Z @ point["gamma"]
    r = (problem.y - eta) / float(point["sigma"])
    with mpmath.workdps(40):
        half = mpmath.mpf(nu) / 2
        constant = (
            mpmath.loggamma(half + 0.5) - mpmath.loggamma(half) - mpmath.log(nu * mpmath.pi) / 2
        )
        rows = [constant - (half + 0.5) * mpmath.log1p(mpmath.mpf(x) ** 2 / nu) for x in r]
        expected = float(mpmath.fsum(rows)) - len(r) * math.log(point["sigma"])
    likelihood = expected
    gaussian = _problem(
        "y ~ x1 + (1 || level0)", priors={"sigma": "HalfNormal(1)", "tau": "HalfNormal(1)"}
    )
    # The priors alone: the same model, less another likelihood.
    priors = {"sigma": "HalfNormal(1)", "tau": "HalfNormal(1)", "nu": nu}
    student = _problem("y ~ x1 + (1 || level0)", "student_t", priors=priors)
    normal = float(stats.norm.logpdf(problem.y, eta, point["sigma"]).sum())
    of_priors = _reference(gaussian).log_density(point) - normal
    found = _compile(student, words, sampler=None).log_density(point) - of_priors
    assert found == pytest.approx(likelihood, rel=1e-11)
    if nu == 1e9:
        assert found == pytest.approx(normal, rel=1e-6)


def test_merging_refuses_rows_that_all_differ():
    table = gaussian_trees.random_table(2, np.random.default_rng(5))
    spec = ModelSpec.from_formula("y ~ x1 + (x1 || level0)", family="student_t")
    with pytest.raises(Unsupported, match="use rows"):
        _compile(Problem(spec, table), ["statistics"], sampler=None)


def test_a_point_that_overflows_is_a_divergence_and_no_number(case):
    _, model = case
    density = model.target_density()
    value, gradient = density.value_and_gradient(np.full(density.dimension, 800.0))
    assert not (math.isfinite(value) and np.isfinite(gradient).all())


@pytest.fixture(scope="module", params=["noncentered", "centered", "level1=centered"])
def known(request):
    """Draws where coefficients are nearly a Gaussian that is known, all scales being nearly known."""
    narrow = "Uniform(0.49999, 0.50001)"
    problem = _problem("y ~ x1 + z + (x1 || level0/level1)", priors={"tau": narrow, "sigma": 0.8})
    model = _compile(problem, [request.param, "statistics"])
    config = SamplerConfig(chains=4, warmup=400, draws=1000, seed=8)
    return problem, model, model.sample(config)


def test_draws_have_the_densities_that_they_say(known):
    """The value that the sampler saw, less the log Jacobian, is the density at the canonical point."""
    problem, model, draws = known
    assert list(draws.values) == list(problem.variables)
    for c, i in ((0, 0), (3, 999)):
        point = {name: values[c, i] for name, values in draws.values.items()}
        said = draws.stats["lp"][c, i] - draws.stats["log_jacobian"][c, i]
        assert said == pytest.approx(model.log_density(point), rel=1e-9)
        assert said == pytest.approx(_reference(problem).log_density(point), rel=1e-9)


def test_draws_are_the_posteriors(known):
    """Means and variances against dense algebra.

    With at least 1,000 effective of the 4,000 draws a mean errs by 1/32 of a standard deviation, a standard
    deviation by 1/45 of itself: bounds are five times these, of 30 coefficients.
    """
    problem, _, draws = known
    scales = {f"tau_{level.name}": np.full(2, 0.5) for level in problem.levels}
    dense = conditional_dense(problem, scales)
    names = [v.name for v in problem.variables.values() if v.role in ("population", "node")]
    found = np.concatenate([draws.values[n].reshape(4000, -1) for n in names], axis=1)
    mean = np.concatenate([dense.mean[n].ravel() for n in names])
    sd = np.sqrt(np.diag(dense.covariance))
    assert np.abs((found.mean(axis=0) - mean) / sd).max() < 5 / 32
    assert np.abs(found.std(axis=0) / sd - 1).max() < 5 / 45
    assert not draws.stats["diverging"].any()
