"""Compiling for sampling, in this process: what a second model of a session costs.

Each round builds fresh programs for the same problem. Libraries are loaded by then, and caches that outlive
a model (numba's in memory, XLA's on disk if one is set) are warm from the second round on, or from another
contender's: the first round is in `first_s`, and the others in `again_s`. What a new process with empty
caches waits for is measured by `nestor bench`.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from contenders import build, described, keep, prepare

from nestor.backend import SamplerConfig

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from nestor.engines.contender import Contender

SIZE = "small"
CONFIG = SamplerConfig(chains=2, warmup=200, draws=200, seed=1)


def test_compile_for_sampling(benchmark: BenchmarkFixture, sampler: Contender) -> None:
    config = sampler.config(CONFIG)
    seconds: list[float] = []
    prepared: list[bool] = []

    def compile_all() -> None:
        begin = perf_counter()
        model = build(sampler, SIZE)
        prepared.append(prepare(model, config))
        seconds.append(perf_counter() - begin)
        keep(sampler, SIZE, model)

    benchmark.pedantic(compile_all, rounds=2)
    # Without it only `Backend.compile` is timed, and the first run compiles the rest.
    benchmark.extra_info |= described(sampler, SIZE) | {
        "prepared": all(prepared),
        "first_s": seconds[0],
        "again_s": seconds[-1],
    }
