"""The PyMC backend against the reference's densities and against an exact posterior."""

import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nestor import ModelSpec, Problem
from nestor.backend import Backend, SamplerConfig
from nestor.engines.formulation import Formulation
from nestor_reference import ReferenceBackend

pytest.importorskip("pymc")
pytest.importorskip("nutpie")

from nestor_nutpie.monitor import ChainReports
from nestor_pymc import PyMCBackend

STATS = {
    "diverging": np.bool_,
    "energy": np.float64,
    "n_steps": np.int64,
    "tree_depth": np.int64,
    "acceptance_rate": np.float64,
    "step_size": np.float64,
    "lp": np.float64,
    "log_jacobian": np.float64,
}


def _table(seed=4, n=70):
    rng = np.random.default_rng(seed)
    columns = {
        name: rng.choice(list(labels), n)
        for name, labels in zip("ghk", ("ab", "xyz", "pq"), strict=True)
    }
    columns |= {name: rng.normal(size=n) for name in "xzey"}
    return pd.DataFrame(columns | {"w": rng.uniform(0.5, 2.0, n)})


# Together: depths 1 to 3, scales per level and per parent, effects inherited from the root and from a
# level, an effect without a population mean, a covariate, offset, weights, fixed and random parameters,
# both outcome families and all eleven prior families, also two in one vector.
SPECS = {
    "one level": ModelSpec.from_formula(
        "y ~ x + z + (x || g)", priors={"beta[x]": "Cauchy(0.5, 2)", "gamma": "StudentT(3, 1, 2)"}
    ),
    "two levels": ModelSpec.from_formula(
        "y ~ 1 + (x || g/h)",
        scale="parent",
        family="student_t",
        weights="w",
        offset="e",
        priors={"tau_g": "Uniform(0, 20)", "tau_h[x]": "HalfCauchy(2)", "nu": "LogNormal(1, 0.5)"},
    ),
    "three levels": ModelSpec.from_formula(
        "y ~ x + z + (1 || g) + (1 + z || g:h) + (1 + x || g:h:k)",
        scale={"k": "parent"},
        priors={
            "sigma": 1.3,
            "tau_g": "Exponential(0.4)",
            "tau_h": "Gamma(2, 3)",
            "tau_k": "InverseGamma(3, 2)",
            "tau_k[x]": "HalfStudentT(3, 2)",
            "beta[z]": "Uniform(-30, 30)",
        },
    ),
    "student with fixed nu": ModelSpec.from_formula(
        "y ~ 1 + (1 || g) + (1 || g:h)", family="student_t", weights="w", priors={"nu": 1}
    ),
}


def _compile(problem, words=(), sampler=None, device="cpu", dtype="float64"):
    formulation = Formulation.parse(words, problem.spec.level_names)
    return PyMCBackend().compile(problem, formulation, sampler=sampler, device=device, dtype=dtype)


def _reference(problem):
    formulation = Formulation.parse((), problem.spec.level_names)
    return ReferenceBackend().compile(
        problem, formulation, sampler=None, device="cpu", dtype="float64"
    )


def _point(problem, rng):
    return {
        v.name: np.exp(rng.normal(size=v.shape))
        if v.role in ("scale", "family")
        else rng.normal(size=v.shape)
        for v in problem.variables.values()
    }


def test_is_a_backend_that_loads_no_library_until_it_is_used():
    assert isinstance(PyMCBackend(), Backend)
    code = (
        "import sys; from nestor_pymc import PyMCBackend as B; B().capabilities(); B().versions();"
        "print([m for m in ('pymc', 'pytensor', 'nutpie', 'numba', 'jax') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("words", [("centered",), ("noncentered",), ("noncentered", "g=centered")])
@pytest.mark.parametrize("name", SPECS)
def test_log_density_equals_the_reference(name, words):
    problem = Problem(SPECS[name], _table())
    model, reference = _compile(problem, words), _reference(problem)
    rng = np.random.default_rng(11)
    for _ in range(3):
        point = _point(problem, rng)
        expected = reference.log_density(point)
        assert np.isfinite(expected)
        assert model.log_density(point) == pytest.approx(expected, rel=1e-8, abs=1e-8)


# ---------------------------------------------------------------------------------------------------
# One small model whose posterior is known: sigma = 1 is given, and all but tau is Gaussian given tau.

EXACT = ModelSpec.from_formula(
    "y ~ 1 + (1 || g)", priors={"sigma": 1, "beta": "Normal(1, 2)", "tau": "LogNormal(0, 0.3)"}
)


@pytest.fixture(scope="module")
def exact_problem():
    rng = np.random.default_rng(8)
    group = np.repeat(list("abcde"), 12)
    means = dict(zip("abcde", rng.normal(1.0, 0.8, 5), strict=True))
    y = np.array([means[g] for g in group]) + rng.normal(size=group.size)
    return Problem(EXACT, pd.DataFrame({"g": group, "y": y}))


def _exact_moments(problem):
    """Posterior mean and variance of (beta, beta_g..., tau): Gaussian given tau, tau by quadrature."""
    n_groups, y = problem.levels[0].n, problem.y
    Z = np.eye(n_groups)[problem.leaf]
    tau = np.linspace(0.1, 6.0, 2001)
    log_weight, means, seconds = [], [], []
    for t in tau:
        # (beta, beta_g) has prior covariance A diag(2^2, t^2, ...) A', A adding beta to each beta_g
        A = np.eye(1 + n_groups)
        A[1:, 0] = 1.0
        prior = A @ np.diag([4.0] + [t * t] * n_groups) @ A.T
        design = np.column_stack([np.zeros(len(y)), Z])
        marginal = design @ prior @ design.T + np.eye(len(y))
        gain = np.linalg.solve(marginal, design @ prior).T
        mean = 1.0 + gain @ (y - 1.0)
        covariance = prior - gain @ design @ prior
        residual = y - 1.0
        log_weight.append(
            stats.lognorm.logpdf(t, 0.3)
            - 0.5 * np.linalg.slogdet(marginal)[1]
            - 0.5 * residual @ np.linalg.solve(marginal, residual)
        )
        means.append(np.append(mean, t))
        seconds.append(np.append(np.diag(covariance) + mean**2, t * t))
    weight = np.exp(log_weight - np.max(log_weight))
    weight /= weight.sum()
    first, second = weight @ np.array(means), weight @ np.array(seconds)
    return first, second - first**2


@pytest.fixture(scope="module", params=["nutpie", "pymc"])
def sampler(request):
    return request.param


@pytest.fixture(scope="module")
def exact_model(exact_problem, sampler):
    return _compile(exact_problem, sampler=sampler)


CONFIG = SamplerConfig(chains=2, warmup=300, draws=500, seed=5)


@pytest.fixture(scope="module")
def exact_run(exact_model):
    reports = []
    return exact_model.sample(CONFIG, reports.append), reports


def test_posterior_equals_the_exact_one(exact_model, exact_problem, sampler):
    from arviz_stats.base import array_stats

    draws = 4000 if sampler == "nutpie" else 1000
    run = exact_model.sample(
        SamplerConfig(chains=2, warmup=500, draws=draws, seed=9, target_accept=0.9)
    )
    values = run.values
    found = np.concatenate([values["beta"], values["beta_g"][..., 0], values["tau_g"]], axis=-1)
    mean, variance = _exact_moments(exact_problem)
    for j in range(found.shape[-1]):
        x = found[..., j]
        # 7 quantities, 2 moments, 2 samplers: 4 standard errors are passed by chance in 1 of 500 runs
        assert abs(x.mean() - mean[j]) < 4 * array_stats.mcse(x)
        squares = (x - mean[j]) ** 2
        assert abs(squares.mean() - variance[j]) < 4 * array_stats.mcse(squares)


def test_draws_have_every_variable_and_statistic(exact_run, exact_problem):
    run, _ = exact_run
    assert {n: v.shape[2:] for n, v in run.values.items()} == {
        n: v.shape for n, v in exact_problem.variables.items()
    }
    for array in run.values.values():
        assert array.shape[:2] == (2, 500)
        assert array.dtype == np.float64
        assert array.flags.c_contiguous
    assert {n: a.dtype.type for n, a in run.stats.items()} == STATS
    assert all(a.shape == (2, 500) for a in run.stats.values())
    assert (run.stats["n_steps"] >= 1).all()
    assert (run.stats["n_steps"] < 2.0 ** (run.stats["tree_depth"] + 1)).all()


def test_lp_is_the_density_of_the_draw_and_its_change_of_variables(exact_run, exact_model):
    run, _ = exact_run
    for draw in (0, 250, 499):
        point = {name: array[1, draw] for name, array in run.values.items()}
        tau = point["tau_g"].item()
        # d tau / d log tau = tau, and d beta_g / d z = tau for each of the five groups
        jacobian = np.log(tau) + 5 * np.log(tau)
        expected = exact_model.log_density(point) + jacobian
        assert run.stats["lp"][1, draw] == pytest.approx(expected, rel=1e-8)


def test_timings_and_settings_are_recorded(exact_run, sampler):
    run, _ = exact_run
    timings, settings = run.timings, run.settings
    assert timings.compile is not None
    assert timings.postprocess > 0
    # nutpie reports every 10 ms: after a run that is too short for that it does not guess
    if timings.warmup is not None:
        assert timings.warmup > 0
        assert timings.sampling > 0
        assert len(timings.warmup_per_chain) == len(timings.sampling_per_chain) == 2
    else:
        assert sampler == "nutpie"
        assert timings.warmup_per_chain == timings.sampling_per_chain == ()
    assert settings["sampler"] == sampler
    assert settings["target_accept"] == 0.8
    assert settings["max_tree_depth"] == 10
    assert settings["metric"] == "diag"
    assert settings["cores"] <= 2


def test_options_reach_the_sampler(exact_model):
    run = exact_model.sample(
        SamplerConfig(chains=1, warmup=300, draws=50, seed=1, target_accept=0.99, max_tree_depth=2)
    )
    assert run.settings["target_accept"] == 0.99
    assert run.settings["max_tree_depth"] == 2
    assert run.stats["tree_depth"].max() == 2
    assert run.values["beta"].shape == (1, 50, 1)


def test_a_metric_from_draws_alone(sampler, exact_model):
    """It is PyMC's own way, and not nutpie's."""
    usual = exact_model.sample(SamplerConfig(chains=1, warmup=200, draws=20, seed=1))
    found = exact_model.sample(
        SamplerConfig(chains=1, warmup=200, draws=20, seed=1, metric="diagonal_draws")
    )
    assert found.settings["metric_estimate"] == "draws"
    default = {"nutpie": "draws and gradients", "pymc": "draws"}[sampler]
    assert usual.settings["metric_estimate"] == default
    same = np.array_equal(usual.values["beta"], found.values["beta"])
    assert same == (sampler == "pymc")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_the_callback_raises_stops_the_run(exact_model, error):
    def stop(_):
        raise error

    config = SamplerConfig(chains=2, warmup=20_000, draws=20_000, seed=1)
    with pytest.raises(error):
        exact_model.sample(config, stop)


def test_says_nothing(exact_model, capfd, caplog):
    caplog.set_level(logging.WARNING)
    exact_model.sample(SamplerConfig(chains=2, warmup=50, draws=50, seed=3))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_the_largest_seed_is_taken(exact_model):
    config = SamplerConfig(chains=1, warmup=10, draws=10, seed=2**63 - 1)
    assert exact_model.sample(config).values["beta"].shape == (1, 10, 1)


class _State:
    def __init__(self, draws, ms):
        self.finished_draws, self.runtime_ms, self.divergences = draws, ms, 0


def test_end_of_warmup_is_interpolated_between_reports():
    chain = ChainReports()
    for draws, ms in ((90, 900), (110, 1000), (300, 1900)):
        chain.report(_State(draws, ms), warmup=100)
    # halfway between 90 and 110 draws, so halfway between 0.9 and 1.0 s
    assert chain.split(100) == pytest.approx((0.95, 0.95))


def test_warmup_is_not_told_apart_by_reports_that_are_far_apart():
    chain = ChainReports()
    for draws, ms in ((10, 5), (300, 15)):
        chain.report(_State(draws, ms), warmup=100)
    assert chain.split(100) is None
