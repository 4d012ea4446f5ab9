"""Diagnostics of draws of shape (chain, draw, scalar), one number per scalar.

Scalars go through in blocks; the estimates of a block share every sort, rank and transform.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv, ndtri

from nestor.errors import DataError
from nestor.stats.diagnostics.ess import effective_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from nestor.stats.arrays import FloatArray, IntArray


@lru_cache(maxsize=8)
def _score_table(n: int) -> FloatArray:
    """Normal scores by doubled rank: average ranks are multiples of one half."""
    ranks = np.arange(2 * n + 1) / 2.0
    ranks[0] = 1.0  # never looked up; keeps the table finite
    table: FloatArray = ndtri((ranks - 3 / 8) / (n - 2 * 3 / 8 + 1))
    table.flags.writeable = False
    return table


def tied_ranks(ordered: FloatArray) -> tuple[IntArray, IntArray]:
    """Twice the average ranks of values that occur more than once, in rows that are sorted.

    Parameters
    ----------
    ordered
        Shape (row, n), each row ascending.

    Returns
    -------
    positions : array
        Indices into the flat array of values that have an equal in their row, ascending.
    ranks : array
        Their doubled ranks, integers from 3 to 2n - 1; equal values share one.
    """
    n = ordered.shape[1]
    same = np.zeros((len(ordered), n + 1), dtype=bool)
    np.equal(ordered[:, 1:], ordered[:, :-1], out=same[:, 1:n])
    first = np.flatnonzero(same[:, 1:] & ~same[:, :-1])
    last = np.flatnonzero(same[:, :-1] & ~same[:, 1:])
    lengths = last - first + 1
    begins = np.cumsum(lengths) - lengths
    positions = np.arange(lengths.sum()) + np.repeat(first - begins, lengths)
    return positions, np.repeat(first % n + last % n + 2, lengths)


def normal_scores(ordered: FloatArray, order: IntArray) -> FloatArray:
    """Replace values by the normal quantiles of their average ranks, row by row.

    The offset is Blom's (1958), (rank - 3/8) / (n + 1/4), as in Vehtari et al. (2021), eq. 14.

    Parameters
    ----------
    ordered
        Sorted values, shape (row, n).
    order
        The permutation that sorted them (`argsort`), shape (row, n).

    Returns
    -------
    array
        Shape (row, n), in the order of the unsorted values.
    """
    n = ordered.shape[1]
    table = _score_table(n)
    scores = np.empty_like(ordered)
    np.put_along_axis(scores, order, table[None, 2::2], axis=1)
    positions, ranks = tied_ranks(ordered)
    row = positions // n
    scores[row, order.reshape(-1)[positions]] = table[ranks]
    return scores


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
    """Draws of some scalars; intermediate results that several estimates share are cached.

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


# Small enough that the dozen work arrays of a block stay near the processor's cache.
_BLOCK_BYTES = 1_000_000
_MAX_WORKERS = 4


def as_draws(draws: ArrayLike) -> FloatArray:
    """Check the shape of draws.

    Raises
    ------
    DataError
        If there are not exactly the three axes (chain, draw, scalar).
    """
    array = np.asarray(draws)
    if array.ndim != 3:
        raise DataError(
            f"draws have shape {array.shape}; expected three axes (chain, draw, scalar)"
        )
    return array


def over_scalars(
    draws: ArrayLike, estimate: Callable[[Block], FloatArray], n_row: int = 1
) -> FloatArray:
    """Apply an estimate block by block, so that memory does not grow with the scalars.

    Sorting and transforms release the interpreter's lock, so blocks run in threads.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).
    estimate
        Takes a block of scalars, returns shape (n_row, scalar), or (scalar,) if n_row is 1.
    n_row
        How many numbers `estimate` returns per scalar.

    Returns
    -------
    array
        Shape (n_row, scalar); nan for fewer than four draws per chain or no chain.

    Raises
    ------
    DataError
        If `draws` has not three axes.
    """
    array = as_draws(draws)
    n_chain, n_draw, n_scalar = array.shape
    result = np.full((n_row, n_scalar), np.nan)
    if n_draw < MIN_DRAWS or n_chain < 1 or n_scalar == 0:
        return result
    step = max(1, _BLOCK_BYTES // (8 * n_chain * n_draw))

    def fill(start: int) -> None:
        part = array[:, :, start : start + step].transpose(2, 0, 1)
        block = Block(np.array(part, dtype=np.float64, order="C"))
        with np.errstate(all="ignore"):  # the state is each thread's own
            result[:, start : start + step] = estimate(block)

    workers = min(_MAX_WORKERS, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(fill, range(0, n_scalar, step)))
    return result


def _one_per_scalar(draws: ArrayLike, estimate: Callable[[Block], FloatArray]) -> FloatArray:
    values: FloatArray = over_scalars(draws, estimate)[0]
    return values


def rhat_rank(draws: ArrayLike) -> FloatArray:
    """Rank-normalized split R-hat: the larger of the bulk and the folded one.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).

    Returns
    -------
    array
        Shape (scalar,); nan for one chain, fewer than four draws, constant or non-finite draws.
    """
    return _one_per_scalar(draws, lambda block: block.rhat)


def ess_bulk(draws: ArrayLike) -> FloatArray:
    """Bulk effective sample size: for the mean of the rank-normalized draws.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).

    Returns
    -------
    array
        Shape (scalar,), in draws; the number of draws for a constant, nan for non-finite draws.
    """
    return _one_per_scalar(draws, lambda block: block.ess_bulk)


def ess_tail(draws: ArrayLike) -> FloatArray:
    """Tail effective sample size: the smaller one of the 5% and the 95% quantile.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).

    Returns
    -------
    array
        Shape (scalar,), in draws.
    """
    return _one_per_scalar(draws, lambda block: block.ess_tail)


def ess_mean(draws: ArrayLike) -> FloatArray:
    """Effective sample size for the mean, from split chains; shape (scalar,), in draws."""
    return _one_per_scalar(draws, lambda block: block.ess_mean)


def ess_sd(draws: ArrayLike) -> FloatArray:
    """Effective sample size for the standard deviation; shape (scalar,), in draws."""
    return _one_per_scalar(draws, lambda block: block.ess_sd)


def ess_quantile(draws: ArrayLike, prob: float) -> FloatArray:
    """Effective sample size for the quantile at `prob`; shape (scalar,), in draws."""
    _check_prob(prob)
    return _one_per_scalar(draws, lambda block: block.ess_quantile(prob))


def mcse_mean(draws: ArrayLike) -> FloatArray:
    """Monte Carlo standard error of the mean; shape (scalar,), in the scalar's units."""
    return _one_per_scalar(draws, lambda block: block.mcse_mean)


def mcse_sd(draws: ArrayLike) -> FloatArray:
    """Monte Carlo standard error of the standard deviation.

    The delta method from the variance of the squared deviations, with the effective sample
    size of these (as ArviZ does); in the scalar's units, nan for constant draws.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).

    Returns
    -------
    array
        Shape (scalar,).
    """
    return _one_per_scalar(draws, lambda block: block.mcse_sd)


def mcse_quantile(draws: ArrayLike, prob: float) -> FloatArray:
    """Monte Carlo standard error of the quantile at `prob`.

    Half the distance of the draws at the 16% and 84% points of the Beta distribution of the
    quantile's rank (Vehtari et al. 2021, section 4.4); in the scalar's units.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).
    prob
        Between 0 and 1.

    Returns
    -------
    array
        Shape (scalar,).
    """
    _check_prob(prob)
    return _one_per_scalar(draws, lambda block: block.mcse_quantile(prob))


def bfmi(energy: ArrayLike) -> FloatArray:
    """Estimated Bayesian fraction of missing information of each chain (Betancourt 2016).

    Parameters
    ----------
    energy
        The sampler's energy at each draw, shape (chain, draw).

    Returns
    -------
    array
        Shape (chain,); nan for fewer than two draws, constant or non-finite energies.

    Raises
    ------
    DataError
        If `energy` has not two axes.
    """
    array = np.asarray(energy, dtype=np.float64)
    if array.ndim != 2:
        raise DataError(f"energy has shape {array.shape}; expected two axes (chain, draw)")
    if array.shape[1] < 2:
        return np.full(array.shape[0], np.nan)
    with np.errstate(all="ignore"):
        ratio: FloatArray = np.square(np.diff(array, axis=1)).mean(axis=1) / array.var(
            axis=1, ddof=1
        )
    ratio[~np.isfinite(array).all(axis=1)] = np.nan
    return ratio


def _check_prob(prob: float) -> None:
    if not 0.0 <= prob <= 1.0:
        raise DataError(f"a quantile's probability must lie in [0, 1], found {prob}")
