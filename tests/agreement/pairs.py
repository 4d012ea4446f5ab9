"""Draws and summaries of pairs of runs whose difference is known."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.signal import lfilter
from scipy.stats import binom

from nestor.stats.diagnostics import Summaries, summaries

CHANCE = 1e-5  # probability with which a correct procedure may miss a bound in these tests


def draws(seed: int, n_draw: int, n_scalar: int, phi: float = 0.0) -> np.ndarray:
    """Stationary AR(1) chains with standard normal marginals, shape (4, n_draw, n_scalar)."""
    noise = np.random.default_rng(seed).normal(size=(4, n_draw + 100, n_scalar))
    return np.sqrt(1 - phi**2) * lfilter([1.0], [1.0, -phi], noise, axis=1)[:, 100:]


def columns(summary: Summaries, which: slice) -> Summaries:
    """Summaries of some of the scalars."""
    per_scalar = ("estimate", "mcse", "ess", "rhat", "ess_bulk", "ess_tail", "finite", "constant")
    return replace(summary, **{name: getattr(summary, name)[..., which] for name in per_scalar})


def many_pairs(
    a: np.ndarray, b: np.ndarray, n_scalar: int
) -> Iterator[tuple[Summaries, Summaries]]:
    """Cut draws of many scalars into pairs of runs of n_scalar scalars each."""
    whole_a, whole_b = summaries(a), summaries(b)
    for start in range(0, a.shape[2], n_scalar):
        part = slice(start, start + n_scalar)
        yield columns(whole_a, part), columns(whole_b, part)


def at_most(n: int, rate: float) -> int:
    """Count that is exceeded with probability `CHANCE`, if the rate is as given."""
    return int(binom.ppf(1 - CHANCE, n, rate))


def at_least(n: int, rate: float) -> int:
    """Count that is missed with probability `CHANCE`, if the rate is as given."""
    return int(binom.ppf(CHANCE, n, rate))
