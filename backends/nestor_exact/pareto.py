"""Diagnostics of importance weights: effective share, and the Pareto shape of the largest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nestor.stats.arrays import FloatArray


def effective_share(log_weights: FloatArray) -> float:
    """Effective sample size of importance weights over their number: (sum w)^2 / (n sum w^2)."""
    w = np.exp(log_weights - log_weights.max())
    return float(np.sum(w) ** 2 / (len(w) * np.sum(w**2)))


def largest_weight(log_weights: FloatArray) -> float:
    """Return the largest importance weight over their mean: how many proposals a chain would stay there."""
    return float(np.exp(log_weights.max() - np.logaddexp.reduce(log_weights)) * len(log_weights))


def pareto_k(log_weights: FloatArray) -> float:
    """Shape k of the generalized Pareto distribution fitted to the largest importance weights.

    Weights have fewer than 1/k finite moments; above 0.7 estimates from them are not to be trusted. The
    largest min(n/5, 3 sqrt(n)) are fitted by the posterior mean of Zhang and Stephens (2009,
    Technometrics 51), with the prior of Vehtari, Simpson, Gelman, Yao and Gabry (2024, JMLR 25(72)), which
    draws k to 0.5 with the force of ten weights.

    Parameters
    ----------
    log_weights : ndarray, (n,)
        At least 25 of them; minus infinity is a weight of zero.

    Returns
    -------
    float
        Minus infinity where the largest weights are all the same: their tail is bounded.
    """
    n = len(log_weights)
    tail = int(min(0.2 * n, 3.0 * np.sqrt(n)))
    order = np.sort(log_weights) - np.max(log_weights)
    threshold = np.exp(order[-tail - 1])
    exceedances = np.exp(order[-tail:]) - threshold
    if exceedances[-1] <= 1e-14 or exceedances[0] == exceedances[-1]:
        return -np.inf
    k = _zhang_stephens(exceedances)
    return float((tail * k + 10 * 0.5) / (tail + 10))


def _zhang_stephens(x: FloatArray) -> float:
    """Posterior mean of k given sorted exceedances, from a grid of values of theta = -k / scale."""
    n = len(x)
    size = 30 + int(np.sqrt(n))
    quartile = x[int(n / 4 + 0.5) - 1]
    theta = 1 / x[-1] + (1 - np.sqrt(size / (np.arange(1, size + 1) - 0.5))) / (3 * quartile)
    k = np.mean(np.log1p(-theta[:, None] * x), axis=1)
    profile = n * (np.log(-theta / k) - k - 1)
    posterior = np.exp(profile - np.logaddexp.reduce(profile))
    mean = posterior @ theta
    return float(np.mean(np.log1p(-mean * x)))
