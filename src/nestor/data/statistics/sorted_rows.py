"""Moments of rows that are sorted by leaf, block by block: each block is read once and stays in the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nestor.data.statistics.least_squares import negligible, semidefinite_root, solve_root
from nestor.data.statistics.moments import Moments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nestor.stats.arrays import FloatArray


#: Rows of a block. With fewer, NumPy's calls take a share of the time; with more, what one call leaves is out
#: of the cache at the next. Threads for blocks gained nothing, or a sixth in leaves of ten rows, and lost
#: a half with smaller blocks: they wait for Python's lock, which sums by leaf hold. See docs/exact-path.md.
BLOCK = 2**18


class SortedMoments(NamedTuple):
    """Moments, and what least squares within leaves leave of the last m columns, (m, m)."""

    moments: Moments
    residual: FloatArray


def cut(starts: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Cut leaves that are larger than a block into pieces, so that blocks are never larger.

    Returns
    -------
    pieces, owner
        Where pieces start, as rows, and where leaves start, as pieces: shapes (pieces + 1,) and (n + 1,).
    """
    rows = np.diff(starts)
    count = np.maximum(1, -(-rows // BLOCK))
    owner = np.concatenate([[0], np.cumsum(count)]).astype(np.intp)
    if owner[-1] == len(rows):
        return starts, owner
    number = np.arange(owner[-1]) - np.repeat(owner[:-1], count)
    pieces = np.repeat(starts[:-1], count) + number * BLOCK
    return np.append(pieces, starts[-1]).astype(np.intp), owner


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def sorted_moments(
    columns: FloatArray | Sequence[FloatArray],
    weights: FloatArray | None,
    starts: NDArray[np.intp],
    *,
    centred: bool,
    outcomes: int = 0,
    origin: FloatArray | None = None,
) -> SortedMoments:
    """Compute moments, and remainders of the last `outcomes` columns.

    Parameters
    ----------
    columns, weights, starts, centred
        As in `Moments.of_sorted`.
    outcomes : int
        How many of the columns, the last ones, are explained by the others within each leaf.
    origin : ndarray, (d, n), optional
        Where each leaf's means are counted from, if they are not kept about zero.
    """
    d, n = len(columns), len(starts) - 1
    rows = np.diff(starts).astype(np.int64)
    found = Moments(rows, np.empty(n), np.zeros((d, n)), np.empty((d, d, n)), np.zeros(n), centred)

    residual = np.zeros((outcomes, outcomes))
    for first, last in _blocks(starts):
        part, here = slice(starts[first], starts[last]), slice(first, last)
        w = None if weights is None else weights[part]
        block = _Block(w, starts[first:last] - starts[first], rows[here])
        found.weight[here] = block.weight
        values = [np.ascontiguousarray(column[part]) for column in columns]
        if centred:
            values, found.mean[:, here] = block.centred(
                values, 0.0 if origin is None else origin[:, here]
            )
        block.cross(values, found.cross[..., here])
        if w is not None:
            found.log_weights[here] = block.sums(np.log(w))
        if outcomes:
            nothing = negligible(block.weight, found.mean[: d - outcomes, here])
            residual += block.remainders(values, found.cross[..., here], nothing, outcomes)
    return SortedMoments(found, residual)


class _Block:
    """Some leaves' rows: weights (N,) or None, first row `at` and number of rows of each leaf, (n,)."""

    def __init__(self, w: FloatArray | None, at: NDArray[np.intp], rows: NDArray[np.int64]) -> None:
        self.w, self.at, self.rows = w, at, rows
        self.weight = rows.astype(np.float64) if w is None else self.sums(w)

    def sums(self, values: FloatArray) -> FloatArray:
        """Add up each leaf's rows: (N,) to (n,)."""
        return np.add.reduceat(values, self.at)

    def weighted(self, values: FloatArray) -> FloatArray:
        return values if self.w is None else self.w * values

    def centred(
        self, values: list[FloatArray], origin: FloatArray | float
    ) -> tuple[list[FloatArray], FloatArray]:
        """Subtract each leaf's means; return them less the origin, too, (d, n)."""
        means, rests, apart = [], [], []
        for column in values:
            mean = self.sums(self.weighted(column)) / self.weight
            left = column - np.repeat(mean, self.rows)
            # Twice: the mean of deviations from a rounded mean is what rounding left.
            rest = self.sums(self.weighted(left)) / self.weight
            left -= np.repeat(rest, self.rows)
            means.append(mean)
            rests.append(rest)
            apart.append(left)
        # The rest last: it would be lost beside a mean that is far from zero.
        return apart, (np.stack(means) - origin) + np.stack(rests)

    def cross(self, values: list[FloatArray], out: FloatArray) -> None:
        """Write each leaf's cross-products of the columns to `out`, (d, d, n)."""
        for i, column in enumerate(values):
            weighted = self.weighted(column)
            for j in range(i + 1):
                out[i, j] = self.sums(weighted * values[j])
                out[j, i] = out[i, j]

    def remainders(
        self, values: list[FloatArray], cross: FloatArray, nothing: FloatArray, outcomes: int
    ) -> FloatArray:
        """Cross-products of what each leaf's fit leaves of the last columns, all leaves together."""
        q = len(values) - outcomes
        beta = solve_root(semidefinite_root(cross[:q, :q], nothing), cross[:q, q:])
        total, lefts = np.empty((outcomes, outcomes)), []
        for k in range(outcomes):
            left = values[q + k]
            for j in range(q):
                left = left - np.repeat(beta[j, k], self.rows) * values[j]
            lefts.append(left)
            weighted = self.weighted(left)
            for i, other in enumerate(lefts):
                # Not by BLAS, whose threads wait for each other over so few numbers.
                total[k, i] = total[i, k] = np.sum(weighted * other)
        return total


def _blocks(starts: NDArray[np.intp]) -> list[tuple[int, int]]:
    """Put leaves together into runs of about a block of rows: pairs of first and last, exclusive."""
    found, first, n = [], 0, len(starts) - 1
    while first < n:
        last = int(np.searchsorted(starts, starts[first] + BLOCK, side="right")) - 1
        last = min(max(last, first + 1), n)
        found.append((first, last))
        first = last
    return found
