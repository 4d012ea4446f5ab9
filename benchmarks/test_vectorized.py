"""Chains side by side in one program: how far more of them cost more, which is what a GPU is good for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contenders import described
from short_runs import run_rounds, speed

from nestor.backend import SamplerConfig

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from nestor.engines.contender import Contender

SIZE = "small"
#: One chain is what `test_short_sampling` runs there, and more have nothing to gain.
CHAINS_ON_CPU = 16


@pytest.mark.parametrize("chains", [1, 16, 256, 1_024])
def test_vectorized_chains(benchmark: BenchmarkFixture, chains: int, vectorized: Contender) -> None:
    if vectorized.device == "cpu" and chains != CHAINS_ON_CPU:
        pytest.skip(f"on a CPU it is run with {CHAINS_ON_CPU} chains only")
    config = SamplerConfig(
        chains=chains, warmup=50, draws=50, seed=1, max_tree_depth=5, chain_method="vectorized"
    )
    # Too short for effective draws to mean anything, and with trees short enough for chains to keep step.
    ((draws, seconds),) = run_rounds(benchmark, vectorized, SIZE, config, rounds=1)
    benchmark.extra_info |= described(vectorized, SIZE) | speed(vectorized, SIZE, draws, seconds)
    benchmark.extra_info |= {"chains": chains, "warmup": config.warmup, "draws": config.draws}
