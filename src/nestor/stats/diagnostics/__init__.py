"""Convergence and precision of Markov chain draws, for thousands of scalars at once.

Every function takes draws of shape (chain, draw, scalar) and returns one number per scalar.
The definitions are ArviZ's (`arviz_stats`), which follow Vehtari, Gelman, Simpson,
Carpenter and Buerkner, "Rank-normalization, folding, and localization" (Bayesian Analysis,
2021). They are computed here because ArviZ visits the scalars one by one.

Where nothing can be estimated (too few chains or draws, non-finite draws) the answer is nan;
no function of this package raises or warns because of the values of the draws.
"""

from nestor.stats.diagnostics.estimators import (
    bfmi,
    ess_bulk,
    ess_mean,
    ess_quantile,
    ess_sd,
    ess_tail,
    mcse_mean,
    mcse_quantile,
    mcse_sd,
    rhat_rank,
)
from nestor.stats.diagnostics.gates import Gates, chain_failures, gates, gates_of
from nestor.stats.diagnostics.summaries import QUANTITIES, Summaries, summaries

__all__ = [
    "QUANTITIES",
    "Gates",
    "Summaries",
    "bfmi",
    "chain_failures",
    "ess_bulk",
    "ess_mean",
    "ess_quantile",
    "ess_sd",
    "ess_tail",
    "gates",
    "gates_of",
    "mcse_mean",
    "mcse_quantile",
    "mcse_sd",
    "rhat_rank",
    "summaries",
]
