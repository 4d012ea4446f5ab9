"""The NumPyro backend: densities against the reference, draws against an exact posterior."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from nestor.backend import Backend, CompiledModel, SamplerConfig
from nestor.data.problem import Problem
from nestor.engines.formulation import Formulation
from nestor.errors import EngineFailed, Unsupported
from nestor.model.spec import ModelSpec
from nestor_numpyro import NumPyroBackend
from nestor_reference import ReferenceBackend

jax = pytest.importorskip("jax")
pytest.importorskip("numpyro")

BACKEND = NumPyroBackend()


def _table(rows=60, seed=7):
    """Three levels whose every node occurs; unequal numbers of rows per leaf."""
    rng = np.random.default_rng(seed)
    leaves = np.concatenate([np.arange(12), rng.integers(0, 12, rows - 12)])
    table = pd.DataFrame(
        {
            "a": [f"a{v // 6}" for v in leaves],
            "b": [f"b{v // 3}" for v in leaves],
            "c": [f"c{v}" for v in leaves],
            "y": rng.normal(1.0, 2.0, rows),
            "w": rng.uniform(0.5, 3.0, rows),
            "e": rng.normal(size=rows),
        }
    )
    for name in ("x", *(f"z{i}" for i in range(11))):
        table[name] = rng.normal(0.3, 1.5, rows)
    return table


def _problem(formula, **arguments):
    return Problem(ModelSpec.from_formula(formula, **arguments), _table())


def _compile(problem, words=("noncentered",), sampler=None, device="cpu", dtype="float64"):
    formulation = Formulation.parse(words, problem.spec.level_names)
    return BACKEND.compile(problem, formulation, sampler=sampler, device=device, dtype=dtype)


def _points(problem, n=4, seed=3):
    """Points inside every support: scales and family parameters positive, all below 10."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        yield {
            v.name: np.exp(rng.normal(0.0, 0.5, v.shape))
            if v.role in ("scale", "family")
            else rng.normal(0.5, 1.0, v.shape)
            for v in problem.variables.values()
        }


PRIORS = (
    "Normal(0.3, 2)",
    "StudentT(3, -0.2, 1.5)",
    "Cauchy(0.1, 2.5)",
    "HalfNormal(1.7)",
    "HalfStudentT(4, 1.3)",
    "HalfCauchy(0.8)",
    "Exponential(1.9)",
    "Gamma(2.5, 0.7)",
    "InverseGamma(3, 1.4)",
    "LogNormal(0.2, 0.9)",
    "Uniform(-1, 10)",
)
MIXED = {
    "beta": "StudentT(3, 0, 5)",
    "beta[x]": "Normal(0, 4)",
    "tau_b": "HalfStudentT(4, 2)",
    "tau_b[x]": "Uniform(0, 10)",
    "tau_c": "Exponential(0.5)",
    "sigma": "InverseGamma(2, 3)",
}
GRID = {
    "one level": (("y ~ 1 + (1 || a)", {}), ["centered"]),
    "one level, noncentered": (("y ~ x + (x || c)", {}), ["noncentered"]),
    "scales per parent, weights, offset": (
        (
            "y ~ x + z0 + offset(e) + (x || a/b/c)",
            {
                "scale": {"a": "level", "b": "parent", "c": "parent"},
                "weights": "w",
                "priors": MIXED,
            },
        ),
        ["b=centered"],
    ),
    "inherited effects, student_t": (
        (
            "y ~ x + (x || a/b) + (1 || a/b/c)",
            {"family": "student_t", "weights": "w", "scale": "parent"},
        ),
        ["centered", "b=noncentered"],
    ),
    "zero mean, known nu and sigma": (
        ("y ~ 1 + (x || a/b)", {"family": "student_t", "priors": {"nu": 1, "sigma": 2.5}}),
        ["a=centered"],
    ),
}


@pytest.mark.parametrize("case", GRID)
def test_density_equals_the_reference(case):
    (formula, arguments), words = GRID[case]
    problem = _problem(formula, **arguments)
    ours = _compile(problem, words)
    reference = _reference(problem)
    for point in _points(problem):
        expected = reference.log_density(point)
        assert ours.log_density(point) == pytest.approx(
            expected, abs=1e-8 * max(1.0, abs(expected))
        )


def _reference(problem):
    formulation = Formulation.parse([], problem.spec.level_names)
    return ReferenceBackend().compile(
        problem, formulation, sampler=None, device="cpu", dtype="float64"
    )


@pytest.fixture(scope="module")
def every_prior():
    """A covariate for each family of priors, and the model's density in both precisions."""
    covariates = [f"z{i}" for i in range(len(PRIORS))]
    priors = {f"gamma[{name}]": prior for name, prior in zip(covariates, PRIORS, strict=True)}
    problem = _problem(f"y ~ 1 + {' + '.join(covariates)} + (1 || a)", priors=priors)
    return problem, _compile(problem)


def test_density_of_every_prior(every_prior):
    problem, model = every_prior
    reference = _reference(problem)
    for point in _points(problem):
        point["gamma"] = np.abs(point["gamma"]) + 0.05
        expected = reference.log_density(point)
        assert np.isfinite(expected)
        assert model.log_density(point) == pytest.approx(
            expected, abs=1e-8 * max(1.0, abs(expected))
        )


def test_density_outside_the_support_is_minus_infinity(every_prior):
    problem, model = every_prior
    inside = next(_points(problem))
    inside["gamma"] = np.abs(inside["gamma"]) + 0.05
    for name, index, value in [
        ("gamma", 3, -0.1),
        ("gamma", 10, -1.5),
        ("gamma", 10, 11.0),
        ("tau_a", 0, -1.0),
        ("tau_a", 0, 0.0),
        ("sigma", (), -1.0),
    ]:
        outside = {k: np.array(v) for k, v in inside.items()}
        outside[name][index] = value
        assert model.log_density(outside) == -math.inf, (name, index, value)
    assert np.isfinite(model.log_density(inside))


def test_single_precision_is_close(every_prior):
    problem, _ = every_prior
    model = _compile(problem, dtype="float32")
    reference = _reference(problem)
    point = next(_points(problem))
    point["gamma"] = np.abs(point["gamma"]) + 0.05
    expected, found = reference.log_density(point), model.log_density(point)
    assert found != expected
    # 60 rows and some 20 priors, each rounded at 2^-24 = 6e-8 of a sum of some 1e3.
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_processs_own_precision_is_left_alone(every_prior):
    _, model = every_prior
    assert isinstance(model, CompiledModel)
    import jax.numpy as jnp

    assert not jax.config.jax_enable_x64
    assert jnp.zeros(1).dtype == jnp.float32


# --- sampling -------------------------------------------------------------------------------------

KNOWN_SIGMA = 1.5
BASE = SamplerConfig(chains=2, warmup=300, draws=400, seed=5, chain_method="sequential")
M0, S0, TAU_SCALE = 0.5, 3.0, 2.0


def _with(**changes):
    from dataclasses import replace

    return replace(BASE, **changes)


@pytest.fixture(scope="module")
def conjugate():
    """Known sigma: given tau all is Gaussian, so the posterior is a one-dimensional integral."""
    rng = np.random.default_rng(11)
    group = np.repeat(np.arange(6), 5)
    y = 1.0 + rng.normal(0.0, 1.2, 6)[group] + rng.normal(0.0, KNOWN_SIGMA, 30)
    priors = {
        "sigma": KNOWN_SIGMA,
        "beta": f"Normal({M0}, {S0})",
        "tau": f"HalfNormal({TAU_SCALE})",
    }
    table = pd.DataFrame({"y": y, "g": [f"g{i}" for i in group]})
    return Problem(ModelSpec.from_formula("y ~ 1 + (1 || g)", priors=priors), table)


@pytest.fixture(scope="module")
def model(conjugate):
    return _compile(conjugate, sampler="nuts")


@pytest.fixture(scope="module")
def events():
    return []


@pytest.fixture(scope="module")
def draws(model, events):
    return model.sample(BASE, events.append)


@pytest.fixture(scope="module")
def exact(conjugate):
    """Posterior means by quadrature over tau, from the Gaussian marginal and conditional."""
    tau = np.linspace(1e-4, 12.0, 4000)
    y = conjugate.y
    Z = (conjugate.leaf[:, None] == np.arange(6)).astype(float)
    log_weight, means = [], []
    for t in tau:
        prior = np.full((7, 7), S0**2)
        prior[1:, 1:] += t**2 * np.eye(6)
        H = np.concatenate([np.zeros((len(y), 1)), Z], axis=1)
        marginal = H @ prior @ H.T + KNOWN_SIGMA**2 * np.eye(len(y))
        residual = np.linalg.solve(marginal, y - M0)
        _, logdet = np.linalg.slogdet(marginal)
        log_weight.append(-0.5 * (logdet + (y - M0) @ residual) - 0.5 * (t / TAU_SCALE) ** 2)
        means.append(M0 + prior @ H.T @ residual)
    weight = np.exp(np.array(log_weight) - max(log_weight))
    weight /= weight.sum()
    mean = weight @ np.array(means)
    return {"tau_g": weight @ tau, "beta": mean[0], "beta_g": mean[1:]}


def test_posterior_equals_the_exact_one(model, exact):
    from arviz_stats.base import array_stats

    # Four times the draws of the other tests, from other seeds, with the same programs.
    runs = [model.sample(_with(seed=s, chain_method="parallel")) for s in (101, 102, 103, 104)]
    for name, expected in exact.items():
        values = np.concatenate([run.values[name] for run in runs]).reshape(8, BASE.draws, -1)
        mcse = array_stats.mcse(values, chain_axis=0, draw_axis=1, method="mean")
        z = (values.mean(axis=(0, 1)) - np.ravel(expected)) / mcse
        # Eight quantities: 4.5 standard errors happen by chance once in 20,000 such tests; and the
        # standard errors must be small against the posterior's own width, or this would show nothing.
        assert np.all(np.abs(z) < 4.5), (name, z)
        assert np.all(mcse < 0.1 * values.std(axis=(0, 1))), name


def test_statistics_are_what_their_names_say(draws):
    stats = draws.stats
    depth, steps = stats["tree_depth"], stats["n_steps"]
    assert np.all((2 ** (depth - 1) <= steps) & (steps < 2**depth))
    assert np.all((stats["acceptance_rate"] >= 0) & (stats["acceptance_rate"] <= 1))
    # Energy is potential plus kinetic energy, and the kinetic energy is positive.
    assert np.all(stats["energy"] > -stats["lp"])
    assert np.all(stats["step_size"] == stats["step_size"][:, :1]), "fixed after warmup"
    assert len(np.unique(stats["step_size"])) == BASE.chains, "each chain adapts its own"


def test_lp_is_the_density_on_the_unconstrained_space(conjugate, model, draws):
    for chain, draw in [(0, 0), (1, 57)]:
        point = {name: values[chain, draw] for name, values in draws.values.items()}
        log_tau = float(np.log(point["tau_g"]).sum())
        # Sampled are log tau and six standardized deviations: d tau / d log tau = tau, and
        # d beta_g / d deviation = tau for each group.
        expected = model.log_density(point) + log_tau * (1 + 6)
        assert draws.stats["lp"][chain, draw] == pytest.approx(expected, abs=1e-8)


def test_timings_and_settings_are_recorded(draws):
    timings = draws.timings
    assert len(timings.warmup_per_chain) == len(timings.sampling_per_chain) == BASE.chains
    for phase in ("warmup", "sampling", "postprocess", "transfer"):
        assert getattr(timings, phase) > 0, phase
    assert draws.settings["target_accept"] == 0.8
    assert draws.settings["max_tree_depth"] == 10
    assert draws.settings["metric"] == "diagonal"
    assert draws.settings["metric_estimate"] == "draws"
    assert draws.settings["dtype"] == "float64"


def test_same_seed_same_draws_sequential_or_parallel(model, draws):
    again = model.sample(_with(chain_method="parallel", cores=2))
    assert again.timings.compile == 0.0, "the programs are shared"
    for name, values in draws.values.items():
        np.testing.assert_array_equal(again.values[name], values)
    np.testing.assert_array_equal(again.stats["n_steps"], draws.stats["n_steps"])


def test_a_failing_callback_stops_the_chains(model):
    def fail(_):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        model.sample(_with(chain_method="parallel"), fail)


def test_vectorized_chains(model, draws):
    seen = []
    config = _with(chain_method="vectorized", target_accept=0.9, max_tree_depth=6)
    lanes = model.sample(config, seen.append)
    for name, values in draws.values.items():
        assert lanes.values[name].shape == values.shape
    assert {event.chain for event in seen} == {0, 1}
    assert [event.phase for event in seen[:3]] == ["compile", "compile", "warmup"]
    assert lanes.timings.compile > 0, "a program of its own"
    assert lanes.stats["tree_depth"].max() <= 6
    assert lanes.settings["target_accept"] == 0.9
    assert lanes.timings.warmup_per_chain == ()
    again = model.sample(config)
    assert again.timings.compile == 0.0
    np.testing.assert_array_equal(again.values["beta_g"], lanes.values["beta_g"])
    assert not np.any(lanes.values["beta"][0] == lanes.values["beta"][1])


def test_single_precision_samples(conjugate, exact):
    single = _compile(conjugate, ["centered"], sampler="nuts", dtype="float32")
    draws = single.sample(_with(seed=8))
    values = draws.values["beta_g"]
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, values.astype(np.float32))
    assert draws.settings["dtype"] == "float32"
    # The groups' posterior sd is about 0.6; 800 draws of them err by well under half of it.
    np.testing.assert_allclose(values.mean(axis=(0, 1))[:, 0], exact["beta_g"], atol=0.3)


def test_an_allocation_that_fails_on_the_device_is_a_memory_error():
    from nestor_numpyro.execution import failing_allocations

    with pytest.raises(MemoryError, match="allocate 9 bytes"), failing_allocations():
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory: allocate 9 bytes")
    with pytest.raises(jax.errors.JaxRuntimeError), failing_allocations():
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")


# --- refusals -------------------------------------------------------------------------------------


def test_it_is_a_backend():
    assert isinstance(BACKEND, Backend)
    assert set(BACKEND.versions()) == {"numpyro", "jax", "jaxlib"}


def _gpu():
    try:
        return bool(jax.devices("gpu"))
    except RuntimeError:
        return False


@pytest.mark.skipif(_gpu(), reason="this machine has a GPU")
def test_absent_gpu_is_refused(conjugate):
    with pytest.raises(Unsupported, match="no GPU is visible to JAX"):
        _compile(conjugate, device="gpu")


@pytest.mark.skipif(not _gpu(), reason="needs a GPU")
def test_parallel_chains_on_a_gpu_are_refused(conjugate):
    on_gpu = _compile(conjugate, sampler="nuts", device="gpu")
    with pytest.raises(Unsupported, match="vectorized"):
        on_gpu.sample(_with(chain_method="parallel"))


@pytest.mark.skipif(not _gpu(), reason="needs a GPU")
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_it_runs_where_it_was_told_to(conjugate, device):
    from nestor_numpyro.data import put_data, rows_arrays
    from nestor_numpyro.execution import find_execution

    place = find_execution(device, "float64")
    assert put_data(rows_arrays(conjugate), place)[0].y.device.platform == device


def test_no_finite_start_is_an_error(model, monkeypatch):
    from nestor_numpyro import chains as starts

    def nowhere(state, chains):
        return np.zeros(chains, dtype=bool)

    monkeypatch.setattr(starts, "_finite", nowhere)
    monkeypatch.setattr(starts, "TRIES", 3)
    with pytest.raises(EngineFailed, match=r"3 tries \(chain 0\)"):
        model.sample(BASE)
