"""Short runs of every engine, with their effective draws; too short for a verdict on any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contenders import described
from short_runs import effective, medians, run_rounds

from nestor.backend import SamplerConfig

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from nestor.engines.contender import Contender

SIZE = "small"
ROUNDS = 3
CONFIG = SamplerConfig(chains=2, warmup=200, draws=200, seed=1)


def test_short_sampling(benchmark: BenchmarkFixture, sampler: Contender) -> None:
    runs = run_rounds(benchmark, sampler, SIZE, CONFIG, ROUNDS)
    each = [effective(sampler, SIZE, draws, seconds) for draws, seconds in runs]
    benchmark.extra_info |= described(sampler, SIZE) | medians(each)
    benchmark.extra_info |= {
        "chains": CONFIG.chains,
        "warmup": CONFIG.warmup,
        "draws": CONFIG.draws,
    }
