"""Short runs, and what they say about an engine's speed.

Names are those of the table of `nestor bench`, but for `run_s`: the whole call, from warmup to canonical
variables on the host, compiling excluded. Every engine has that, also one that is done before it could
tell warmup from sampling.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from contenders import built, prepare
from trees import make_problem

from nestor.backend import Differentiable
from nestor.stats.diagnostics import summaries

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from nestor.backend import Draws, SamplerConfig
    from nestor.engines.contender import Contender


def run_rounds(
    benchmark: BenchmarkFixture,
    contender: Contender,
    size: str,
    config: SamplerConfig,
    rounds: int,
) -> list[tuple[Draws, float]]:
    """Sample again and again, each round with a seed of its own; compiling is not timed.

    Returns
    -------
    list of (Draws, float)
        What each round drew, and the seconds that it took.
    """
    model = built(contender, size)
    configs = [contender.config(replace(config, seed=config.seed + i)) for i in range(rounds)]
    if not prepare(model, configs[0]):
        model.sample(configs[0])
    found: list[tuple[Draws, float]] = []
    left = iter(configs)

    def ready() -> tuple[tuple[SamplerConfig], dict[str, object]]:
        config = next(left)
        prepare(model, config)
        return (config,), {}

    def run(config: SamplerConfig) -> None:
        begin = perf_counter()
        draws = model.sample(config)
        found.append((draws, perf_counter() - begin))

    benchmark.pedantic(run, setup=ready, rounds=rounds)
    return found


def medians(each: list[dict[str, float]]) -> dict[str, float]:
    """Median of each figure over the runs that make up a benchmark, where all of them have it."""
    shared = [name for name in each[0] if all(name in one for one in each)]
    return {name: statistics.median(one[name] for one in each) for name in shared}


def speed(contender: Contender, size: str, draws: Draws, run_s: float) -> dict[str, float]:
    """Seconds of a run, and gradients of the kept draws where the engine evaluates any.

    What needs the seconds of the kept draws is missing where the engine could not tell them.
    """
    found = {"run_s": run_s}
    if draws.timings.sampling is not None:
        found["sampling_s"] = draws.timings.sampling
    if "diverging" in draws.stats:
        found["divergences"] = float(np.count_nonzero(draws.stats["diverging"]))
    if "n_steps" in draws.stats and isinstance(built(contender, size), Differentiable):
        found["gradients"] = float(np.asarray(draws.stats["n_steps"], dtype=np.float64).sum())
        if "sampling_s" in found:
            found["gradients_per_s"] = found["gradients"] / found["sampling_s"]
    return found


def effective(contender: Contender, size: str, draws: Draws, run_s: float) -> dict[str, float]:
    """Speed, and the effective draws of the worst scalar, bulk or tail, for what they took."""
    found = summaries(make_problem(size).scalars.flatten(draws.values))
    bulk, tail = float(found.ess_bulk.min()), float(found.ess_tail.min())
    ess = min(bulk, tail)
    figures = speed(contender, size, draws, run_s)
    figures |= {"ess_min": ess, "ess_bulk_min": bulk, "ess_tail_min": tail}
    figures |= {"rhat_max": float(found.rhat.max()), "ess_per_s_run": ess / run_s}
    if "sampling_s" in figures:
        figures["ess_per_s_sampling"] = ess / figures["sampling_s"]
    if "gradients" in figures:
        figures["ess_per_gradient"] = ess / figures["gradients"]
    return figures
