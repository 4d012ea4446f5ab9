"""Weighted moments of the rows of each leaf: additive, so that they stream, split and merge.

Cross-products are kept about each leaf's own mean, since differences of large raw sums lose digits: merged
are weights W, means m and centred cross-products S by

    W = W1 + W2,   m = m1 + (W2 / W) (m2 - m1),   S = S1 + S2 + (W1 W2 / W) (m2 - m1)(m2 - m1)'.

Source: Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance", The American
Statistician 37.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from nestor.data.statistics.least_squares import negligible, semidefinite_root, solve_root
from nestor.errors.text import short_repr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nestor.stats.arrays import FloatArray


@dataclass(frozen=True)
class Moments:
    """Moments of d columns by leaf, n leaves.

    Parameters
    ----------
    rows : ndarray of int64, (n,)
        Rows of each leaf; a leaf may have none.
    weight : ndarray, (n,)
        Sum of their weights.
    mean : ndarray, (d, n)
        Weighted means; zeros where moments are kept about zero.
    cross : ndarray, (d, d, n)
        Weighted cross-products about the means.
    log_weights : ndarray, (n,)
        Sum of the logarithms of their weights.
    centred : bool
        Whether they are kept about the leaves' means, or about zero.
    """

    rows: NDArray[np.int64]
    weight: FloatArray
    mean: FloatArray
    cross: FloatArray
    log_weights: FloatArray
    centred: bool

    __repr__ = short_repr

    @property
    def sum_log_weights(self) -> float:
        """Sum of the logarithms of all rows' weights."""
        return float(self.log_weights.sum())

    @classmethod
    def empty(cls, n: int, d: int, *, centred: bool) -> Self:
        """Moments of no rows."""
        zeros = np.zeros((d, n)), np.zeros((d, d, n))
        return cls(np.zeros(n, np.int64), np.zeros(n), *zeros, np.zeros(n), centred)

    @classmethod
    def of_sorted(
        cls,
        columns: FloatArray | Sequence[FloatArray],
        weights: FloatArray | None,
        starts: NDArray[np.intp],
        *,
        centred: bool,
        origin: FloatArray | None = None,
    ) -> Moments:
        """Moments of rows that are sorted by leaf.

        Parameters
        ----------
        columns : ndarray, (d, N), or sequence of d ndarrays, (N,)
            What moments are wanted of.
        weights : ndarray, (N,), or None
            Positive; ones where None.
        starts : ndarray of intp, (n + 1,)
            Leaf v has the rows ``starts[v]:starts[v + 1]``, at least one.
        centred : bool
            Whether to keep them about the leaves' means, or about zero.
        origin : ndarray, (d, n), optional
            Where each leaf's means are counted from, if they are not kept about zero.
        """
        pieces, owner = cut_leaves(starts)
        if origin is not None:
            origin = np.repeat(origin, np.diff(owner), axis=1)
        found = sorted_moments(columns, weights, pieces, centred=centred, origin=origin)
        return found.moments.grouped(owner)

    # Sums that overflow are infinite or NaN, and refused where all rows are known: `refuse_magnitude`.
    @np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")
    def merged(self, other: Moments) -> Moments:
        """Moments of the rows of both; leaves are the same ones in the same order."""
        weight = self.weight + other.weight
        share = np.where(weight > 0, other.weight / weight, 0.0)
        shift = other.mean - self.mean
        between = (self.weight * share) * shift[:, None] * shift[None, :]
        return Moments(
            rows=self.rows + other.rows,
            weight=weight,
            mean=self.mean + share * shift,
            cross=self.cross + other.cross + between,
            log_weights=self.log_weights + other.log_weights,
            centred=self.centred,
        )

    @np.errstate(over="ignore", under="ignore", invalid="ignore")
    def grouped(self, starts: NDArray[np.intp]) -> Moments:
        """Combine pieces into n leaves: leaf v has the pieces ``starts[v]:starts[v + 1]``, (n + 1,)."""
        at, pieces = starts[:-1], np.diff(starts)
        if (pieces == 1).all():
            return self
        weight = np.add.reduceat(self.weight, at)
        first = self.mean[:, at]
        apart = self.mean - np.repeat(first, pieces, axis=1)
        mean = first + np.add.reduceat(self.weight * apart, at, axis=1) / weight
        apart = self.mean - np.repeat(mean, pieces, axis=1)
        cross = self.cross + self.weight * apart[:, None] * apart[None, :]
        return Moments(
            rows=np.add.reduceat(self.rows, at),
            weight=weight,
            mean=mean,
            cross=np.add.reduceat(cross, at, axis=2),
            log_weights=np.add.reduceat(self.log_weights, at),
            centred=self.centred,
        )

    def take(self, leaves: NDArray[np.intp]) -> Moments:
        """Moments of some leaves, in that order."""
        parts = (
            self.rows[leaves],
            self.weight[leaves],
            self.mean[:, leaves],
            self.cross[..., leaves],
            self.log_weights[leaves],
        )
        return Moments(*parts, self.centred)


class RunningMoments:
    """Moments by leaf of rows that come in batches, where each batch may bring new leaves.

    Until all rows are there, means are kept relative to each leaf's first row: where columns are far from
    zero, a mean's rounding error may exceed its change from batch to batch.

    Parameters
    ----------
    d : int
        Number of columns.
    centred : bool
        As in `Moments`.
    """

    def __init__(self, d: int, *, centred: bool) -> None:
        self.centred = centred
        self._d = d
        self._n = 0
        self._held = Moments.empty(0, d, centred=centred)
        self._origin = np.zeros((d, 0))

    def add(
        self,
        columns: FloatArray,
        weights: FloatArray | None,
        starts: NDArray[np.intp],
        leaves: NDArray[np.intp],
        n: int,
    ) -> None:
        """Add rows of some leaves.

        Parameters
        ----------
        columns, weights, starts
            As in `Moments.of_sorted`: (d, N), (N,) and (m + 1,).
        leaves : ndarray of intp, (m,)
            Which leaves they are of, each once.
        n : int
            How many leaves there are by now.
        """
        self._reserve(n)
        origin = self._origin_of(columns, starts, leaves) if self.centred else None
        part = Moments.of_sorted(columns, weights, starts, centred=self.centred, origin=origin)
        held, merged = self._held, self._held.take(leaves).merged(part)
        held.rows[leaves] = merged.rows
        held.weight[leaves] = merged.weight
        held.mean[:, leaves] = merged.mean
        held.cross[..., leaves] = merged.cross
        held.log_weights[leaves] = merged.log_weights

    def moments(self) -> Moments:
        """Moments of all rows so far, (n,) leaves."""
        found = self._held.take(np.arange(self._n))
        return replace(found, mean=self._origin[:, : self._n] + found.mean)

    def _origin_of(
        self, columns: FloatArray, starts: NDArray[np.intp], leaves: NDArray[np.intp]
    ) -> FloatArray:
        """The first row seen of each of m leaves, (d, m)."""
        new = self._held.rows[leaves] == 0
        self._origin[:, leaves[new]] = columns[:, starts[:-1][new]]
        return self._origin[:, leaves]

    def _reserve(self, n: int) -> None:
        """Make room for n leaves; doubling keeps the cost per leaf constant."""
        self._n = max(self._n, n)
        old = self._held
        if len(old.rows) >= n:
            return
        size = max(n, 2 * len(old.rows))
        self._held = Moments.empty(size, self._d, centred=self.centred)
        here = slice(0, len(old.rows))
        self._held.rows[here], self._held.weight[here] = old.rows, old.weight
        self._held.mean[:, here], self._held.cross[..., here] = old.mean, old.cross
        self._held.log_weights[here] = old.log_weights
        origin = self._origin
        self._origin = np.zeros((self._d, size))
        self._origin[:, here] = origin


#: Rows of a block. With fewer, NumPy's calls take a share of the time; with more, what one call leaves is out
#: of the cache at the next. Threads for blocks gained nothing, or a sixth in leaves of ten rows, and lost
#: a half with smaller blocks: they wait for Python's lock, which sums by leaf hold. See docs/exact-path.md.
BLOCK = 2**18


class SortedMoments(NamedTuple):
    """Moments, and cross-products (m, m) of the last m columns' residuals from fits within leaves."""

    moments: Moments
    residual: FloatArray


def cut_leaves(starts: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
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
        Number of last columns that are regressed on the other columns within each leaf.
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
        """Subtract each leaf's means; also return the means minus the origin, (d, n)."""
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
        """Residual cross-products of the last columns after each leaf's fit, summed over leaves."""
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
