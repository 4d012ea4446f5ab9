"""The whole agreement analysis of two engines: its time, its memory, and how both grow with the scalars."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from nestor.agreement import PairSide, judge
from nestor.agreement.shape import shape_test
from nestor.stats.diagnostics import gates, summaries

CHAINS, DRAWS = 4, 1_000
SIZES = (10, 100, 1_000, 5_000, 20_000, pytest.param(50_000, marks=pytest.mark.slow))


def analysed(one, other):
    """Gates, differences, equivalence, shapes and the verdict, from the draws of two runs."""
    n = one.shape[2]
    labels = tuple(f"beta_leaf[{i}]" for i in range(n))
    is_node = np.ones(n, bool)
    runs = []
    for name, draws in (("one", one), ("other", other)):
        found = summaries(draws)
        checked = gates(draws, labels, is_node, summary=found)
        runs.append(PairSide(name, labels, found, checked, density_ok=True, sampled_ok=True))
    shape = shape_test(one, other, runs[0].summaries, runs[1].summaries, labels)
    return judge(runs[0], runs[1], shape=shape)


def draws_of(n, seed):
    """Autocorrelated chains, as a sampler's are: AR(1) with coefficient 0.3."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((CHAINS, DRAWS, n))
    for t in range(1, DRAWS):
        noise[:, t] = 0.3 * noise[:, t - 1] + np.sqrt(1 - 0.09) * noise[:, t]
    return noise


@pytest.mark.parametrize("n", SIZES)
def test_analysis_of_two_engines(benchmark, n):
    one, other = draws_of(n, 1), draws_of(n, 2)
    result = benchmark.pedantic(analysed, args=(one, other), rounds=1 if n > 1_000 else 3)
    assert result.a == "one"
    benchmark.extra_info |= {"scalars": n, "chains": CHAINS, "draws": DRAWS, "peak_gb": peak_gb(n)}


def peak_gb(n):
    """Largest memory of a fresh process that makes the draws and analyses them."""
    code = (
        "import resource, sys; sys.path.insert(0, 'benchmarks');"
        "from test_agreement import analysed, draws_of;"
        f"analysed(draws_of({n}, 1), draws_of({n}, 2));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return int(done.stdout.split()[-1]) * unit / 1e9
