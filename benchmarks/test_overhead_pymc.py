"""What nestor costs over PyMC and nutpie used directly: the same model, written by hand, in the same run.

Seconds per gradient evaluation after warmup, one chain, rounds interleaved; the target is a ratio of at most
1.05. Compile seconds are of this process and this order (the model by hand first, which warms numba's cache
for both), so only their size says something.
"""

import time

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, Problem
from nestor.backend import SamplerConfig
from nestor.engines.formulation import Formulation

pm = pytest.importorskip("pymc")
nutpie = pytest.importorskip("nutpie")

from nestor_pymc import PyMCBackend  # noqa: E402 - only where PyMC is installed

ROWS, LEAS, SCHOOLS = 20_000, 100, 1_600
WARMUP, DRAWS, SEED, ROUNDS = 200, 200, 3, 3


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    school = np.sort(rng.integers(0, SCHOOLS, ROWS))
    lea = school * LEAS // SCHOOLS
    x = rng.normal(size=ROWS)
    level = rng.normal(5, 1, LEAS)[lea] + rng.normal(0, 0.7, SCHOOLS)[school]
    slope = 2 + rng.normal(0, 0.3, LEAS)[lea] + rng.normal(0, 0.3, SCHOOLS)[school]
    y = level + slope * x + rng.normal(0, 2, ROWS)
    spec = ModelSpec.from_formula(
        "y ~ x + (x || lea/school)",
        priors={"beta": "Normal(0, 10)", "tau": "HalfNormal(5)", "sigma": "HalfNormal(5)"},
    )
    return Problem(spec, pd.DataFrame({"y": y, "x": x, "lea": lea, "school": school}))


def by_hand(problem):
    """The model as a PyMC user would write it: named dims, non-centred, coefficients stored."""
    lea, school = problem.levels
    coords = {"effect": list(problem.effects), "lea": range(lea.n), "school": range(school.n)}
    x = problem.X[:, 1]
    with pm.Model(coords=coords) as model:
        beta = pm.Normal("beta", 0, 10, dims="effect")
        tau_lea = pm.HalfNormal("tau_lea", 5, dims="effect")
        tau_school = pm.HalfNormal("tau_school", 5, dims="effect")
        z_lea = pm.Normal("z_lea", 0, 1, dims=("lea", "effect"))
        z_school = pm.Normal("z_school", 0, 1, dims=("school", "effect"))
        beta_lea = pm.Deterministic("beta_lea", beta + tau_lea * z_lea, dims=("lea", "effect"))
        beta_school = pm.Deterministic(
            "beta_school",
            beta_lea[school.parent] + tau_school * z_school,
            dims=("school", "effect"),
        )
        sigma = pm.HalfNormal("sigma", 5)
        eta = beta_school[:, 0][problem.leaf] + beta_school[:, 1][problem.leaf] * x
        pm.Normal("y", eta, sigma, observed=problem.y)
    return model


def seconds_per_gradient_by_hand(compiled):
    """Run nutpie and take its own clock and count, from the first report after warmup to the last."""
    reports = []

    def keep(states):
        state = states[0]
        if not state.tuning:
            reports.append((state.runtime_ms / 1000, state.total_num_steps))

    nutpie.sample(
        compiled,
        draws=DRAWS,
        tune=WARMUP,
        chains=1,
        cores=1,
        seed=SEED,
        progress_bar=False,
        progress_callback=keep,
        progress_rate=10,
    )
    (start, first), (end, last) = reports[0], reports[-1]
    return (end - start) / (last - first)


def log_densities(problem, model, ours):
    """Both models' log density where every tau and sigma is 1, so that no change of variables matters."""
    rng = np.random.default_rng(1)
    lea, school = problem.levels
    beta, z_lea, z_school = (
        rng.normal(size=2),
        rng.normal(size=(lea.n, 2)),
        rng.normal(size=(school.n, 2)),
    )
    theirs = {"beta": beta, "z_lea": z_lea, "z_school": z_school, "sigma_log__": np.zeros(())}
    theirs |= {"tau_lea_log__": np.zeros(2), "tau_school_log__": np.zeros(2)}
    point = {"beta": beta, "beta_lea": beta + z_lea, "sigma": np.ones(())}
    point |= {"tau_lea": np.ones(2), "tau_school": np.ones(2)}
    point["beta_school"] = point["beta_lea"][school.parent] + z_school
    return ours.log_density(point), float(model.compile_logp(jacobian=False)(theirs))


def test_sampling_overhead_over_nutpie_by_hand(problem, benchmark):
    start = time.perf_counter()
    model = by_hand(problem)
    plain = nutpie.compile_pymc_model(model)
    compiled_by_hand = time.perf_counter() - start
    formulation = Formulation.parse(("noncentered",), problem.spec.level_names)
    start = time.perf_counter()
    ours = PyMCBackend().compile(
        problem, formulation, sampler="nutpie", device="cpu", dtype="float64"
    )
    compiled_ours = time.perf_counter() - start
    mine, theirs = log_densities(problem, model, ours)
    assert mine == pytest.approx(theirs, rel=1e-8)

    hand, nestor = [], []

    def before():
        hand.append(seconds_per_gradient_by_hand(plain))

    def run():
        draws = ours.sample(SamplerConfig(chains=1, warmup=WARMUP, draws=DRAWS, seed=SEED, cores=1))
        nestor.append(draws.timings.sampling_per_chain[0] / draws.stats["n_steps"].sum())

    benchmark.pedantic(run, setup=before, rounds=ROUNDS)
    benchmark.extra_info |= {
        "rows": ROWS,
        "nodes": LEAS + SCHOOLS,
        "us_per_gradient_by_hand": 1e6 * float(np.median(hand)),
        "us_per_gradient_nestor": 1e6 * float(np.median(nestor)),
        "ratio": float(np.median(nestor) / np.median(hand)),
        "compile_s_by_hand": compiled_by_hand,
        "compile_s_nestor": compiled_ours,
    }
