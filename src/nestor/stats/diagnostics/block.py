"""The estimates of one block of scalars, sharing every sort and transform."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv

from nestor.stats.diagnostics.ess import effective_size
from nestor.stats.diagnostics.ranks import normal_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.stats.arrays import FloatArray


MIN_DRAWS = 4  # ArviZ's limit: two draws in each half of a chain
TAIL = (0.05, 0.95)
# the normal probabilities of -1 and +1, rounded as ArviZ rounds them
_ONE_SD = (0.1586553, 0.8413447)


def split_rhat(chains: FloatArray) -> FloatArray:
    """Potential scale reduction of split chains, shape (scalar, chain, draw)."""
    n = chains.shape[2]
    between = n * chains.mean(axis=2).var(axis=1, ddof=1)
    within = chains.var(axis=2, ddof=1).mean(axis=1)
    rhat: FloatArray = np.sqrt((between / within + n - 1) / n)
    return rhat


@dataclass(frozen=True, eq=False)
class Block:
    """Some scalars' draws; what several estimates need is computed once and kept.

    Parameters
    ----------
    chains
        Draws, shape (scalar, chain, draw), contiguous, at least `MIN_DRAWS` draws.
    """

    chains: FloatArray

    @cached_property
    def flat(self) -> FloatArray:
        """All draws of a scalar in one row, shape (scalar, chain * draw)."""
        return self.chains.reshape(self.chains.shape[0], -1)

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Scalars all of whose draws are finite, shape (scalar,)."""
        finite: NDArray[np.bool_] = np.isfinite(self.flat).all(axis=1)
        return finite

    @cached_property
    def constant(self) -> NDArray[np.bool_]:
        """Scalars all of whose draws are the same number, shape (scalar,)."""
        same: NDArray[np.bool_] = self.flat.max(axis=1) == self.flat.min(axis=1)
        return same

    def split(self, values: FloatArray) -> FloatArray:
        """Cut each chain in halves; the middle draw of an odd number is left out."""
        n_scalar, n_chain, n_draw = self.chains.shape
        half = n_draw // 2
        shaped = values.reshape(n_scalar, n_chain, n_draw)
        if n_draw % 2 == 0:
            return shaped.reshape(n_scalar, 2 * n_chain, half)
        return np.concatenate((shaped[:, :, :half], shaped[:, :, -half:]), axis=1)

    @cached_property
    def _split_sorted(self) -> tuple[FloatArray, NDArray[np.intp]]:
        rows = self.split(self.flat).reshape(self.chains.shape[0], -1)
        order = np.argsort(rows, axis=1)
        return np.take_along_axis(rows, order, axis=1), order

    @cached_property
    def ordered(self) -> FloatArray:
        """All draws of a scalar in ascending order, shape (scalar, chain * draw)."""
        if self.chains.shape[2] % 2 == 0:
            return self._split_sorted[0]
        return np.sort(self.flat, axis=1)

    @cached_property
    def mean(self) -> FloatArray:
        """Posterior means, shape (scalar,)."""
        mean: FloatArray = self._defined(self.flat.mean(axis=1))
        return mean

    @cached_property
    def sd(self) -> FloatArray:
        """Posterior standard deviations (divisor n - 1), shape (scalar,)."""
        sd: FloatArray = self.flat.std(axis=1, ddof=1)
        return self._defined(np.where(self.constant, 0.0, sd))

    @cached_property
    def _squares(self) -> FloatArray:
        squares: FloatArray = (self.flat - self.flat.mean(axis=1, keepdims=True)) ** 2
        squares[self.constant] = 0.0  # a rounded mean must not look like spread
        return squares

    def quantile(self, prob: float) -> FloatArray:
        """Quantiles by linear interpolation, bit for bit those of `numpy.quantile`."""
        position = (self.ordered.shape[1] - 1) * prob
        lower = int(np.floor(position))
        upper = min(lower + 1, self.ordered.shape[1] - 1)
        weight = position - lower
        low, high = self.ordered[:, lower], self.ordered[:, upper]
        step = high - low
        # numpy interpolates from the nearer end; another order of operations may differ in
        # the last bit, and with it on which side of the quantile a draw falls
        quantile = high - step * (1 - weight) if weight >= 0.5 else low + step * weight
        return self._defined(quantile)

    @cached_property
    def _scores(self) -> FloatArray:
        return normal_scores(*self._split_sorted).reshape(self.split(self.flat).shape)

    @cached_property
    def rhat(self) -> FloatArray:
        """Largest of the bulk and the folded rank-normalized split R-hat."""
        if self.chains.shape[1] < 2:
            return np.full(self.chains.shape[0], np.nan)
        ordered, _ = self._split_sorted
        n = ordered.shape[1]
        median = (ordered[:, n // 2 - 1] + ordered[:, n // 2]) / 2.0
        halves = self.split(self.flat)
        folded = np.abs(halves - median[:, None, None]).reshape(-1, n)
        order = np.argsort(folded, axis=1)
        tail_scores = normal_scores(np.take_along_axis(folded, order, axis=1), order)
        bulk = split_rhat(self._scores)
        tail = split_rhat(tail_scores.reshape(halves.shape))
        # an undefined tail (two equally frequent values fold onto one) leaves the bulk
        return self._defined(np.where(tail > bulk, tail, bulk))

    @cached_property
    def ess_bulk(self) -> FloatArray:
        """Effective sample size of the rank-normalized draws."""
        return self._defined(effective_size(self._scores))

    @cached_property
    def ess_mean(self) -> FloatArray:
        """Effective sample size for the mean."""
        return self._defined(effective_size(self.split(self.flat)))

    @cached_property
    def ess_sd(self) -> FloatArray:
        """Effective sample size for the standard deviation."""
        return self._defined(effective_size(self.split(self._squares)))

    @cached_property
    def _ess_by_prob(self) -> dict[float, FloatArray]:
        return {}

    def ess_quantile(self, prob: float) -> FloatArray:
        """Effective sample size for a quantile."""
        if prob not in self._ess_by_prob:
            below = (self.flat <= self.quantile(prob)[:, None]).astype(np.float64)
            self._ess_by_prob[prob] = self._defined(effective_size(self.split(below)))
        return self._ess_by_prob[prob]

    @property
    def ess_tail(self) -> FloatArray:
        """Smaller of the effective sample sizes of the 5% and the 95% quantile."""
        return np.minimum(self.ess_quantile(TAIL[0]), self.ess_quantile(TAIL[1]))

    @property
    def mcse_mean(self) -> FloatArray:
        """Monte Carlo standard error of the mean."""
        return self.sd / np.sqrt(self.ess_mean)

    @property
    def mcse_sd(self) -> FloatArray:
        """Monte Carlo standard error of the standard deviation (delta method)."""
        variance = self._squares.mean(axis=1)
        noise = ((self._squares**2).mean(axis=1) - variance**2) / self.ess_sd
        return self._defined(np.sqrt(noise / variance / 4))

    def mcse_quantile(self, prob: float) -> FloatArray:
        """Monte Carlo standard error of a quantile: half of a one-sd interval of its rank."""
        ess = self.ess_quantile(prob)
        n = self.ordered.shape[1]
        alpha, beta = ess * prob + 1, ess * (1 - prob) + 1
        low = np.floor(np.fmax(betaincinv(alpha, beta, _ONE_SD[0]) * n - 1, 0)).astype(np.intp)
        high = np.ceil(np.fmin(betaincinv(alpha, beta, _ONE_SD[1]) * n - 1, n - 1))
        row = np.arange(self.ordered.shape[0])
        width = self.ordered[row, high.astype(np.intp)] - self.ordered[row, low]
        return self._defined(width / 2)

    def _defined(self, values: FloatArray) -> FloatArray:
        return np.where(self.usable, values, np.nan)
