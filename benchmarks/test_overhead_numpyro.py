"""What nestor's NumPyro backend costs against NumPyro used directly.

The same posterior is written by hand and sampled by `numpyro.infer.MCMC`, and both sides run in turns in
one process: same priors, formulation, precision, warmup, draws and device, everything compiled before. Since
two runs do not walk the same trajectories, what is compared is seconds of sampling per gradient.
``extra_info["ratio"]`` is ours over theirs; the goal is at most 1.05.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import pandas as pd
import pytest

from nestor.backend import SamplerConfig
from nestor.data.problem import Problem
from nestor.engines.formulation import Formulation
from nestor.model.spec import ModelSpec

jax = pytest.importorskip("jax")
numpyro = pytest.importorskip("numpyro")

ROUNDS = 5
CONFIG = SamplerConfig(chains=1, warmup=300, draws=200, seed=1, chain_method="sequential")
PRIORS = {"beta": "Normal(0, 10)", "tau": "HalfNormal(5)", "sigma": "HalfNormal(5)"}


def _problem() -> Problem:
    """6,000 rows in 300 groups of 20 areas, one slope; all scales about 1."""
    rng = np.random.default_rng(0)
    group = np.sort(np.concatenate([np.arange(300), rng.integers(0, 300, 5700)]))
    area = group // 15
    x = rng.normal(size=6000)
    deviations = rng.normal(size=(2, 20))[:, area] + rng.normal(size=(2, 300))[:, group]
    y = deviations[0] + (1.0 + deviations[1]) * x + rng.normal(size=6000)
    names = {"area": [f"{a:03d}" for a in area], "group": [f"{g:03d}" for g in group]}
    spec = ModelSpec.from_formula("y ~ x + (x || area/group)", priors=PRIORS)
    return Problem(spec, pd.DataFrame({"x": x, "y": y, **names}))


def _by_rows(X, y, area, group):
    """The model as one writes it first: a row of coefficients for each node."""
    import jax.numpy as jnp
    import numpyro.distributions as dist

    beta = numpyro.sample("beta", dist.Normal(jnp.zeros(2), 10.0))
    tau_area = numpyro.sample("tau_area", dist.HalfNormal(jnp.full(2, 5.0)))
    tau_group = numpyro.sample("tau_group", dist.HalfNormal(jnp.full(2, 5.0)))
    of_area = numpyro.sample("of_area", dist.Normal(jnp.zeros((20, 2)), 1.0))
    of_group = numpyro.sample("of_group", dist.Normal(jnp.zeros((300, 2)), 1.0))
    beta_area = beta + tau_area * of_area
    beta_group = beta_area[area] + tau_group * of_group
    sigma = numpyro.sample("sigma", dist.HalfNormal(5.0))
    numpyro.sample("y", dist.Normal((X * beta_group[group]).sum(-1), sigma), obs=y)


def _by_effects(X, y, area, group):
    """The same with our layout, a vector of nodes for each effect: leaves only the driver to compare."""
    import jax.numpy as jnp
    import numpyro.distributions as dist

    def take(values, owner):
        return values.at[owner].get(  # noqa: PD008 - a JAX array, no table
            mode="promise_in_bounds", indices_are_sorted=True
        )

    beta = numpyro.sample("beta", dist.Normal(jnp.zeros(2), 10.0))
    tau_area = numpyro.sample("tau_area", dist.HalfNormal(jnp.full(2, 5.0)))
    tau_group = numpyro.sample("tau_group", dist.HalfNormal(jnp.full(2, 5.0)))
    of_area = numpyro.sample("of_area", dist.Normal(jnp.zeros((2, 20)), 1.0))
    of_group = numpyro.sample("of_group", dist.Normal(jnp.zeros((2, 300)), 1.0))
    eta = 0.0
    for j in range(2):
        beta_area = beta[j] + tau_area[j] * of_area[j]
        beta_group = take(beta_area, area) + tau_group[j] * of_group[j]
        eta = eta + X[:, j] * take(beta_group, group)
    sigma = numpyro.sample("sigma", dist.HalfNormal(5.0))
    numpyro.sample("y", dist.Normal(eta, sigma), obs=y)


class _Direct:
    """NumPyro's own driver: warms up once, then each call goes on sampling where the last one ended.

    `MCMC.run` traces and compiles anew at each call (seen with NumPyro 0.22 and JAX 0.12), so it is called
    inside a function that is compiled once: what is timed is its sampling loop alone.
    """

    def __init__(self, model, problem: Problem) -> None:
        arrays = (
            problem.X,
            problem.y,
            problem.levels[1].parent.astype(np.int32),
            problem.leaf.astype(np.int32),
        )
        mcmc = numpyro.infer.MCMC(
            numpyro.infer.NUTS(model),
            num_warmup=CONFIG.warmup,
            num_samples=CONFIG.draws,
            num_chains=1,
            progress_bar=False,
        )

        def run(state, arrays):
            mcmc.post_warmup_state = state
            mcmc.run(state.rng_key, *arrays, extra_fields=("num_steps",))
            return mcmc.last_state, mcmc.get_samples(), mcmc.get_extra_fields()["num_steps"]

        with jax.enable_x64(True):
            self._arrays = jax.device_put(arrays, jax.devices("cpu")[0])
            mcmc.warmup(jax.random.key(CONFIG.seed), *self._arrays)
            self._state = mcmc.post_warmup_state
            self._run = jax.jit(run).lower(self._state, self._arrays).compile()

    def seconds_per_gradient(self) -> float:
        with jax.enable_x64(True):
            begin = time.perf_counter()
            self._state, _, steps = jax.block_until_ready(self._run(self._state, self._arrays))
            return (time.perf_counter() - begin) / int(steps.sum())


class _Ours:
    """The backend; each call warms up anew. Sampling and conversion count, as in NumPyro's loop."""

    def __init__(self, problem: Problem) -> None:
        from nestor_numpyro import NumPyroBackend

        formulation = Formulation.parse(["noncentered"], problem.spec.level_names)
        self._model = NumPyroBackend().compile(
            problem, formulation, sampler="nuts", device="cpu", dtype="float64"
        )
        self.seconds_per_gradient()

    def seconds_per_gradient(self) -> float:
        draws = self._model.sample(CONFIG)
        timings = draws.timings
        assert timings.sampling is not None
        assert timings.postprocess is not None
        return (timings.sampling + timings.postprocess) / int(draws.stats["n_steps"].sum())


@pytest.fixture(scope="module")
def problem() -> Problem:
    return _problem()


@pytest.fixture(scope="module")
def ours(problem: Problem) -> _Ours:
    return _Ours(problem)


@pytest.mark.parametrize("model", [_by_rows, _by_effects], ids=["by_rows", "by_effects"])
def test_sampling_against_numpyro_used_directly(benchmark, problem, ours, model) -> None:
    direct = _Direct(model, problem)
    pairs: list[tuple[float, float]] = []

    def one_round() -> None:
        pairs.append((ours.seconds_per_gradient(), direct.seconds_per_gradient()))

    benchmark.pedantic(one_round, rounds=ROUNDS, iterations=1, warmup_rounds=0)
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    benchmark.extra_info.update(
        ours_us_per_gradient=1e6 * mine,
        direct_us_per_gradient=1e6 * theirs,
        ratio=statistics.median(a / b for a, b in pairs),
        ratios=[a / b for a, b in pairs],
        rows=problem.n_rows,
        config=str(CONFIG),
    )
    print(f"\n{model.__name__}: ratio {benchmark.extra_info['ratio']:.3f}")
