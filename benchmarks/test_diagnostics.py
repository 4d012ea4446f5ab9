"""Time of the diagnostics, beside ArviZ's on a subset of the same draws."""

from time import perf_counter

import numpy as np
import pytest
from arviz_stats.base import array_stats

from nestor.stats.diagnostics import summaries

N_CHAIN, N_DRAW = 4, 1000
N_ARVIZ = 20  # ArviZ takes milliseconds per scalar


def _draws(n_scalar: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N_CHAIN, N_DRAW, n_scalar))


def _arviz(draws: np.ndarray) -> None:
    rows = np.moveaxis(draws, -1, 0)
    array_stats.rhat(rows)
    array_stats.ess(rows, method="bulk")
    array_stats.ess(rows, method="tail", prob=(0.05, 0.95))
    for method in ("mean", "sd"):
        array_stats.mcse(rows, method=method)
    for prob in (0.05, 0.5, 0.95):
        array_stats.mcse(rows, method="quantile", prob=prob)


@pytest.mark.parametrize("n_scalar", [100, 5000])
def test_summaries(benchmark, n_scalar):
    draws = _draws(n_scalar)
    _arviz(draws[:, :, :1])
    start = perf_counter()
    _arviz(draws[:, :, :N_ARVIZ])
    arviz_ms = 1e3 * (perf_counter() - start) / N_ARVIZ
    benchmark.pedantic(summaries, args=(draws,), rounds=3, warmup_rounds=1)
    benchmark.extra_info |= {"chains": N_CHAIN, "draws": N_DRAW, "scalars": n_scalar, "seed": 0}
    if benchmark.stats is None:  # run with --benchmark-disable
        return
    ours_ms = 1e3 * benchmark.stats.stats.median / n_scalar
    benchmark.extra_info |= {
        "arviz_ms_per_scalar": arviz_ms,
        "ms_per_scalar": ours_ms,
        "ratio": arviz_ms / ours_ms,
    }
