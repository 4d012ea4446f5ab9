"""Posterior summaries with their Monte Carlo errors, from one pass over the draws."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from nestor.errors.text import short_repr
from nestor.stats.diagnostics.estimators import as_draws, over_scalars

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nestor.stats.arrays import FloatArray
    from nestor.stats.diagnostics.estimators import Block


PROBS = (0.05, 0.5, 0.95)
QUANTITIES = ("mean", "sd", "q05", "q50", "q95")


@dataclass(frozen=True, eq=False)
class Summaries:
    """Estimates with Monte Carlo errors, and the gates' inputs, for every scalar.

    Parameters
    ----------
    estimate
        The five `QUANTITIES` of each scalar, shape (5, scalar), in the scalar's units.
    mcse
        Monte Carlo standard error of each of them, shape (5, scalar).
    ess
        Effective sample size for each of them, shape (5, scalar), in draws.
    rhat
        Rank-normalized split R-hat, shape (scalar,).
    ess_bulk, ess_tail
        Shape (scalar,), in draws.
    finite
        Whether all draws of the scalar are finite, shape (scalar,).
    constant
        Whether all draws of the scalar are the same number, shape (scalar,).
    n_chain, n_draw
        Size of the sample: chains, and draws per chain.

    Notes
    -----
    Where draws are not finite, or fewer than four per chain, the numbers are nan.
    """

    estimate: FloatArray
    mcse: FloatArray
    ess: FloatArray
    rhat: FloatArray
    ess_bulk: FloatArray
    ess_tail: FloatArray
    finite: NDArray[np.bool_]
    constant: NDArray[np.bool_]
    n_chain: int
    n_draw: int

    __repr__ = short_repr

    @property
    def n_scalar(self) -> int:
        """Number of scalars."""
        return int(self.estimate.shape[1])

    def first(self, n: int) -> Summaries:
        """Return the summaries of the first `n` scalars."""
        columns = {
            f.name: getattr(self, f.name)[..., :n]
            for f in fields(self)
            if isinstance(getattr(self, f.name), np.ndarray)
        }
        return replace(self, **columns)

    def _estimate_of(self, row: int) -> FloatArray:
        values: FloatArray = self.estimate[row]
        return values

    @property
    def mean(self) -> FloatArray:
        """Posterior means, shape (scalar,)."""
        return self._estimate_of(0)

    @property
    def sd(self) -> FloatArray:
        """Posterior standard deviations (divisor n - 1), shape (scalar,)."""
        return self._estimate_of(1)

    @property
    def q05(self) -> FloatArray:
        """Posterior 5% quantiles, shape (scalar,)."""
        return self._estimate_of(2)

    @property
    def q50(self) -> FloatArray:
        """Posterior medians, shape (scalar,)."""
        return self._estimate_of(3)

    @property
    def q95(self) -> FloatArray:
        """Posterior 95% quantiles, shape (scalar,)."""
        return self._estimate_of(4)


def summaries(draws: ArrayLike) -> Summaries:
    """Summarize draws, sharing sorts and transforms between all estimates.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).

    Returns
    -------
    Summaries

    Raises
    ------
    DataError
        If `draws` has not three axes.
    """
    array = as_draws(draws)
    table = over_scalars(array, _rows, n_row=20)
    return Summaries(
        estimate=table[0:5],
        mcse=table[5:10],
        ess=table[10:15],
        rhat=table[15],
        ess_bulk=table[16],
        ess_tail=table[17],
        finite=table[18] == 1.0,
        constant=table[19] == 1.0,
        n_chain=array.shape[0],
        n_draw=array.shape[1],
    )


def _rows(block: Block) -> FloatArray:
    return np.stack(
        [
            block.mean,
            block.sd,
            *(block.quantile(prob) for prob in PROBS),
            block.mcse_mean,
            block.mcse_sd,
            *(block.mcse_quantile(prob) for prob in PROBS),
            block.ess_mean,
            block.ess_sd,
            *(block.ess_quantile(prob) for prob in PROBS),
            block.rhat,
            block.ess_bulk,
            block.ess_tail,
            block.usable,
            block.constant,
        ]
    )
