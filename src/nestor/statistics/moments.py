"""Weighted moments of the rows of each leaf: additive, so that they stream, split and merge.

Cross-products are kept about each leaf's own mean, since differences of large raw sums lose digits: merged
are weights W, means m and centred cross-products S by

    W = W1 + W2,   m = m1 + (W2 / W) (m2 - m1),   S = S1 + S2 + (W1 W2 / W) (m2 - m1)(m2 - m1)'.

Source: Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance", The American
Statistician 37.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    type FloatArray = NDArray[np.float64]

#: Numbers of a block of rows, columns together: 512 KB, so that what is read once stays in the cache.
_BLOCK = 65_536


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
    sum_log_weights : float
        Of all rows.
    centred : bool
        Whether they are kept about the leaves' means, or about zero.
    """

    rows: NDArray[np.int64]
    weight: FloatArray
    mean: FloatArray
    cross: FloatArray
    sum_log_weights: float
    centred: bool

    @classmethod
    def empty(cls, n: int, d: int, *, centred: bool) -> Self:
        """Moments of no rows."""
        zeros = np.zeros((d, n)), np.zeros((d, d, n))
        return cls(np.zeros(n, np.int64), np.zeros(n), *zeros, 0.0, centred)

    @classmethod
    def of_sorted(
        cls,
        columns: FloatArray,
        weights: FloatArray | None,
        starts: NDArray[np.intp],
        *,
        centred: bool,
    ) -> Self:
        """Moments of rows that are sorted by leaf.

        Parameters
        ----------
        columns : ndarray, (d, N)
            What moments are wanted of.
        weights : ndarray, (N,), or None
            Positive; ones where None.
        starts : ndarray of intp, (n + 1,)
            Leaf v has the rows ``starts[v]:starts[v + 1]``, at least one.
        centred : bool
            Whether to keep them about the leaves' means, or about zero.
        """
        d, n = len(columns), len(starts) - 1
        rows = np.diff(starts).astype(np.int64)
        weight, mean, cross = np.empty(n), np.zeros((d, n)), np.empty((d, d, n))
        for first, last in blocks(starts, max(1, _BLOCK // (d + 1))):
            part, at = slice(starts[first], starts[last]), starts[first:last] - starts[first]
            here = slice(first, last)
            w = None if weights is None else weights[part]
            weight[here] = rows[here] if w is None else np.add.reduceat(w, at)
            centre = columns[:, part]
            if centred:
                means = _sums(centre, w, at) / weight[here]
                # Twice: the mean of deviations from a rounded mean is what rounding left.
                centre = centre - np.repeat(means, rows[here], axis=1)
                rest = _sums(centre, w, at) / weight[here]
                centre -= np.repeat(rest, rows[here], axis=1)
                mean[:, here] = means + rest
            for i in range(d):
                weighted = centre[i] if w is None else w * centre[i]
                for j in range(i + 1):
                    cross[i, j, here] = np.add.reduceat(weighted * centre[j], at)
                    cross[j, i, here] = cross[i, j, here]
        log_weights = 0.0 if weights is None else float(np.log(weights).sum())
        return cls(rows, weight, mean, cross, log_weights, centred)

    def merged(self, other: Moments) -> Moments:
        """Moments of the rows of both; leaves are the same ones in the same order."""
        weight = self.weight + other.weight
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(weight > 0, other.weight / weight, 0.0)
        shift = other.mean - self.mean
        between = (self.weight * share) * shift[:, None] * shift[None, :]
        return Moments(
            rows=self.rows + other.rows,
            weight=weight,
            mean=self.mean + share * shift,
            cross=self.cross + other.cross + between,
            sum_log_weights=self.sum_log_weights + other.sum_log_weights,
            centred=self.centred,
        )

    def take(self, leaves: NDArray[np.intp]) -> Moments:
        """Moments of some leaves, in that order; of their weights' logarithms the sum stays."""
        parts = (
            self.rows[leaves],
            self.weight[leaves],
            self.mean[:, leaves],
            self.cross[..., leaves],
        )
        return Moments(*parts, self.sum_log_weights, self.centred)


class RunningMoments:
    """Moments of leaves that come up one after another, of rows that come in batches.

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
        self._sum_log_weights = 0.0

    def add(self, part: Moments, leaves: NDArray[np.intp], n: int) -> None:
        """Add rows of some leaves.

        Parameters
        ----------
        part : Moments
            Of m leaves.
        leaves : ndarray of intp, (m,)
            Which ones they are, each once.
        n : int
            How many leaves there are by now.
        """
        self._reserve(n)
        held, merged = self._held, self._held.take(leaves).merged(part)
        held.rows[leaves] = merged.rows
        held.weight[leaves] = merged.weight
        held.mean[:, leaves] = merged.mean
        held.cross[..., leaves] = merged.cross
        self._sum_log_weights += part.sum_log_weights

    def moments(self) -> Moments:
        """Moments of all rows so far, (n,) leaves."""
        return replace(self._held.take(np.arange(self._n)), sum_log_weights=self._sum_log_weights)

    def _reserve(self, n: int) -> None:
        """Have room for n leaves; doubled each time, so that growing costs a constant each leaf."""
        self._n = max(self._n, n)
        old = self._held
        if len(old.rows) >= n:
            return
        size = max(n, 2 * len(old.rows))
        self._held = Moments.empty(size, self._d, centred=self.centred)
        here = slice(0, len(old.rows))
        self._held.rows[here], self._held.weight[here] = old.rows, old.weight
        self._held.mean[:, here], self._held.cross[..., here] = old.mean, old.cross


def blocks(starts: NDArray[np.intp], size: int) -> list[tuple[int, int]]:
    """Cut leaves into runs of about `size` rows, one leaf at least: pairs of first and last, exclusive."""
    found, first, n = [], 0, len(starts) - 1
    while first < n:
        last = int(np.searchsorted(starts, starts[first] + size, side="right")) - 1
        last = min(max(last, first + 1), n)
        found.append((first, last))
        first = last
    return found


def _sums(columns: FloatArray, weights: FloatArray | None, at: NDArray[np.intp]) -> FloatArray:
    return np.stack([np.add.reduceat(c if weights is None else weights * c, at) for c in columns])
