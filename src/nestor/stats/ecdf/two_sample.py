"""Two samples of equal size: do they come from one distribution?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

from nestor.errors import DataError
from nestor.stats.ecdf.null_distribution import (
    REACH,
    TIE,
    Band,
    NullTable,
    check_level,
    columns_inside,
    grid_over,
    log_two_sided,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nestor.stats.arrays import FloatArray, IntArray


_GRID_PART = 170  # columns of the table followed together
_BLOCK_VALUES = 400_000  # pooled values per block: a few arrays of these stay near the processor


@dataclass(frozen=True, eq=False)
class TwoSampleTest:
    """Tests of pairs of samples for one common distribution.

    Parameters
    ----------
    n
        Size of each sample.
    statistic
        Smallest pointwise p-value of each quantity, shape (quantity,).
    p_values
        Of each quantity, uncorrected, shape (quantity,).
    difference
        The largest difference of the two ECDFs, a minus b, with its sign, shape (quantity,).
    at
        Fraction of the pooled sample at which that is, shape (quantity,).
    """

    n: int
    statistic: FloatArray
    p_values: FloatArray
    difference: FloatArray
    at: FloatArray


@dataclass(frozen=True, eq=False)
class _NullDistribution:
    """Null distribution of the number of a's among the first m pooled values, m = 0 .. 2n.

    `log_pointwise` (m, window) holds counts `first` (m,) and following.
    """

    first: IntArray
    log_pointwise: FloatArray
    null: NullTable


def two_sample_test(a: ArrayLike, b: ArrayLike) -> TwoSampleTest:
    """Test whether two samples come from one distribution, separately for each quantity.

    Along the pooled order, the number of a's among the first m values is hypergeometric if there is
    no difference. The p-value is the probability that the smallest of the pointwise two-sided
    p-values over all m is at most the one found (Säilynoja, Bürkner and Vehtari 2022, section 3). It
    comes from counting lattice paths, not from simulation, and is as exact as that of
    `uniform_test`: never too small.

    Equal values: the ECDFs are compared only where a block of equal values ends, as the order inside
    means nothing. This can only raise the p-value; two constant samples have 1.

    Parameters
    ----------
    a, b
        Independent draws, shape (n, quantity) each, of two independent samples.

    Returns
    -------
    TwoSampleTest

    Raises
    ------
    DataError
        If the shapes differ or have not two axes, there is no draw, or a draw is not finite.
    """
    one, other = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    _check_samples(one, other)
    n, n_quantities = one.shape
    law = _law(n)
    smallest, difference, at = np.empty((3, n_quantities))
    step = max(1, _BLOCK_VALUES // (2 * n))
    for start in range(0, n_quantities, step):
        part = slice(start, start + step)
        counts, ends = _pooled_counts(one[:, part], other[:, part])
        smallest[part] = _smallest(law, counts, ends)
        difference[part], at[part] = _widest(counts, ends)
    return TwoSampleTest(n, np.exp(smallest), law.null.p_values(smallest), difference, at)


def two_sample_band(n: int, level: float) -> Band:
    """Simultaneous band for the difference of two ECDFs: left with a probability of at most the level.

    It leaves the band exactly if `two_sample_test` finds a p-value of at most the level.

    Parameters
    ----------
    n
        Size of each sample.
    level
        Such as 0.05; for a family of quantities, divided by their number.

    Returns
    -------
    Band
        Points m / 2n for m = 0 .. 2n, and the bounds of the difference of ECDFs, a minus b, there.

    Raises
    ------
    DataError
        If n is below 1 or the level no probability.
    """
    check_level(level)
    if n < 1:
        raise DataError("there are no draws to compare")
    law = _law(n)
    cutoff, attained = law.null.cutoff(level)
    low, high = columns_inside(law.log_pointwise, cutoff)
    first = np.arange(2 * n + 1)
    return Band(
        points=first / (2 * n),
        lower=(2 * (law.first + low) - first) / n,
        upper=(2 * (law.first + high) - first) / n,
        level=level,
        attained=attained,
    )


def ecdf_difference(a: ArrayLike, b: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Difference of two ECDFs, a minus b, of one quantity, where blocks of equal values end.

    Parameters
    ----------
    a, b
        Draws, shape (n,) each.

    Returns
    -------
    points, difference
        Fractions of the pooled sample, from 0 to 1, and the difference there, shape (point,) each.

    Raises
    ------
    DataError
        As `two_sample_test`.
    """
    one = np.asarray(a, dtype=np.float64).reshape(-1, 1)
    other = np.asarray(b, dtype=np.float64).reshape(-1, 1)
    _check_samples(one, other)
    counts, ends = _pooled_counts(one, other)
    n = one.shape[0]
    m = 1 + np.flatnonzero(ends[0])
    difference = (2 * counts[0, m - 1] - m) / n
    return np.concatenate([[0.0], m / (2 * n)]), np.concatenate([[0.0], difference])


def _pooled_counts(a: FloatArray, b: FloatArray) -> tuple[IntArray, NDArray[np.bool_]]:
    """Count a's among the first 1 .. 2n pooled values, and mark where a block of equal values ends."""
    n = a.shape[0]
    pooled = np.ascontiguousarray(np.concatenate([a, b]).T)
    order = np.argsort(pooled, axis=1)
    ordered = np.take_along_axis(pooled, order, axis=1)
    ends = np.ones(ordered.shape, dtype=bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=ends[:, :-1])
    counts: IntArray = np.cumsum(order < n, axis=1)
    return counts, ends


def _smallest(law: _NullDistribution, counts: IntArray, ends: NDArray[np.bool_]) -> FloatArray:
    width = law.log_pointwise.shape[1]
    column = np.clip(counts - law.first[1:], 0, width - 1)
    column += width * np.arange(1, law.first.size)
    found = law.log_pointwise.ravel()[column]
    smallest: FloatArray = np.where(ends, found, 0.0).min(axis=1)
    return smallest


def _widest(counts: IntArray, ends: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    m = np.arange(1, counts.shape[1] + 1)
    apart = np.where(ends, 2 * counts - m, 0)
    at = np.abs(apart).argmax(axis=1)
    widest = np.take_along_axis(apart, at[:, None], axis=1)[:, 0]
    return 2 * widest / m[-1], (at + 1) / m[-1]


@lru_cache(maxsize=32)
def _law(n: int) -> _NullDistribution:
    half = min(n, int(np.ceil(REACH * np.sqrt(n / 8))) + 1)
    m = np.arange(2 * n + 1)
    first = m // 2 - half
    log_pointwise = log_two_sided(_hypergeometric(n, m[:, None], first[:, None], 2 * half + 1))
    grid = grid_over(log_pointwise)
    return _NullDistribution(
        first, log_pointwise, NullTable(grid, _p_leaving(n, first, log_pointwise, grid))
    )


def _hypergeometric(n: int, m: IntArray, first: IntArray, width: int) -> FloatArray:
    """Probability of k of n among m of 2n, for k = first, first + 1 and so on."""
    log_factorial = gammaln(np.arange(2 * n + 1) + 1.0)
    k = first + np.arange(width)
    valid = (k >= 0) & (k <= n) & (m - k >= 0) & (m - k <= n)
    k = np.where(valid, k, 0)
    rest = np.where(valid, m - k, 0)

    def log_ways(of: int, chosen: IntArray) -> FloatArray:
        ways: FloatArray = log_factorial[of] - log_factorial[chosen] - log_factorial[of - chosen]
        return ways

    log_pmf = log_ways(n, k) + log_ways(n, rest) - log_ways(2 * n, m)
    return np.where(valid, np.exp(log_pmf), 0.0)


def _p_leaving(n: int, first: IntArray, log_pointwise: FloatArray, grid: FloatArray) -> FloatArray:
    """Probability that some pointwise p-value is at most each value of the grid.

    Part by part, as paths that stay inside a narrow band need only a narrow window: a step changes
    a count by one, so that one column beyond the widest band holds what leaves it.
    """
    left = []
    for part in np.array_split(grid, -(-grid.size // _GRID_PART)):
        kept = np.flatnonzero((log_pointwise > part[0] + TIE).any(axis=0))
        low, high = max(0, int(kept.min()) - 1), int(kept.max()) + 2
        left.append(_leaving(n, first + low, log_pointwise[:, low:high], part))
    p_value: FloatArray = np.minimum(np.maximum.accumulate(np.concatenate(left)), 1.0)
    return p_value


def _leaving(n: int, first: IntArray, log_pointwise: FloatArray, grid: FloatArray) -> FloatArray:
    """Probability of leaving the band, from the probabilities of the paths still inside.

    What leaves is summed, so that small probabilities are not differences of large ones.
    """
    width = log_pointwise.shape[1]
    alive = np.zeros((width + 1, grid.size))  # a row more: what the window moves over is zero
    alive[-int(first[0])] = 1.0
    moving = np.empty_like(alive[:-1])
    left = np.zeros(grid.size)
    for m in range(1, 2 * n + 1):
        from_a = (n - (first[m - 1] + np.arange(width))) / (2 * n - m + 1)
        np.multiply(alive[:-1], np.clip(from_a, 0.0, 1.0)[:, None], out=moving)
        alive[:-1] -= moving
        if first[m] == first[m - 1]:
            alive[1:-1] += moving[:-1]
        else:
            alive[:-1] = alive[1:] + moving
        out = log_pointwise[m][:, None] <= grid + TIE
        np.multiply(alive[:-1], out, out=moving)
        left += moving.sum(axis=0)
        alive[:-1] -= moving
    return left


def _check_samples(a: FloatArray, b: FloatArray) -> None:
    if a.ndim != 2 or a.shape != b.shape:
        raise DataError(
            f"samples have shapes {a.shape} and {b.shape}; expected two axes (draw, quantity), the "
            "same for both"
        )
    if a.shape[0] < 1:
        raise DataError("there are no draws to compare")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError("samples with draws that are not finite cannot be compared")
