"""Sums over the rows of each leaf, the same from leaf statistics and from rows up to rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from nestor.errors.text import short_repr
from nestor.model.names import INTERCEPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nestor.data.statistics import LeafStatistics
    from nestor.stats.arrays import FloatArray


#: Relative differences up to it are rounding.
TOLERANCE = 1e-9
#: Rounding of a number that was made of numbers of size 1.
ROUNDING = 64 * float(np.finfo(np.float64).eps)


def slopes(effects: Sequence[str]) -> list[int]:
    """Positions of the effects that are columns."""
    return [j for j, effect in enumerate(effects) if effect != INTERCEPT]


@dataclass(frozen=True, eq=False)
class LeafSums:
    """Sums of q slopes, then m others (the outcome less its offset, covariates) in n leaves.

    Root and fit of leaf statistics are badly determined where a leaf says little of a direction; these
    sums never are, so that they can be compared. Without an intercept among the effects nothing is
    centred: means are zero.

    Parameters
    ----------
    log_weights : ndarray, (n,)
        Sums of logarithms of weights.
    weight : ndarray, (n,)
        Sums of weights; of rows where there is no intercept.
    mean : ndarray, (n, q + m)
        Weighted means.
    size : ndarray, (n, q + m)
        Of the numbers that a mean was computed from.
    cross : ndarray, (n, q, q + m)
        Weighted cross-products of slopes with all columns, about the means.
    total, total_size : ndarray, (m, m)
        Those of the others, of all leaves together, and the size of what they were computed from.
    """

    log_weights: FloatArray
    weight: FloatArray
    mean: FloatArray
    size: FloatArray
    cross: FloatArray
    total: FloatArray
    total_size: FloatArray

    __repr__ = short_repr

    @classmethod
    def of_statistics(cls, found: LeafStatistics, effects: Sequence[str]) -> Self:
        """From root and fit: X'X is root' root, and X'y is that times the fit.

        Where slopes are nearly collinear, a residual that was computed as a difference is one of numbers
        far larger than the outcome's squares.
        """
        one = len(effects) - len(slopes(effects))  # the intercept comes first
        root, fit = found.root[:, one:, one:], found.fit[:, one:]
        half, gram = root @ fit, np.swapaxes(root, 1, 2) @ root
        cross = np.concatenate([gram, np.swapaxes(root, 1, 2) @ half], axis=2)
        total = found.residual + np.einsum("nqi,nqj->ij", half, half)
        total_size = np.einsum("nqi,nqj->ij", np.abs(fit), np.abs(gram) @ np.abs(fit))
        if not one:
            rows, none = found.rows_per_leaf.astype(np.float64), np.zeros(cross.shape[::2])
            return cls(found.log_weights, rows, none, none, cross, total, total_size)
        first, at_zero = found.root[:, 0], found.fit[:, 0]
        x = first[:, 1:] / first[:, :1]
        moved = np.einsum("nq,nqm->nm", x, fit)
        mean = np.concatenate([x, at_zero + moved], axis=1)
        sizes = np.einsum("nq,nqm->nm", np.abs(x), np.abs(fit))
        size = np.concatenate([np.abs(x), np.abs(at_zero) + sizes], axis=1)
        weight = first[:, 0] ** 2
        return cls(found.log_weights, weight, mean, size, cross, total, total_size)

    @classmethod
    def of_rows(
        cls,
        leaf: NDArray[np.intp],
        n: int,
        columns: Sequence[FloatArray],
        weights: FloatArray,
        effects: Sequence[str],
    ) -> Self:
        """From rows, by two passes.

        Parameters
        ----------
        leaf : ndarray, (N,)
            Leaf of each row.
        n : int
            Leaves.
        columns : sequence of ndarray, (N,)
            The slopes, then the others.
        weights : ndarray, (N,)
            Weights.
        effects : sequence of str
            Names of the effects.
        """

        def sums(values: FloatArray) -> FloatArray:
            return np.bincount(leaf, weights * values, minlength=n)

        q, k = len(slopes(effects)), len(columns)
        weight = np.bincount(leaf, minlength=n).astype(np.float64)
        mean = np.zeros((n, k))
        if q < len(effects):
            weight = np.bincount(leaf, weights, minlength=n)
            mean = np.stack([sums(column) for column in columns], axis=1) / weight[:, None]
        left = [column - mean[leaf, j] for j, column in enumerate(columns)]
        cross = np.empty((n, q, k))
        for i in range(q):
            for j in range(k):
                cross[:, i, j] = sums(left[i] * left[j])
        total = np.array([[np.sum(weights * a * b) for b in left[q:]] for a in left[q:]])
        logs = np.bincount(leaf, np.log(weights), minlength=n)
        return cls(logs, weight, mean, np.abs(mean), cross, total, np.abs(total))

    def same_weights(self, other: Self) -> bool:
        """Whether the weights' sums, and those of their logarithms, are the same up to rounding."""
        logs = np.abs(self.log_weights - other.log_weights)
        return bool(
            np.all(np.abs(self.weight - other.weight) <= TOLERANCE * self.weight)
            and np.all(logs <= TOLERANCE * (np.abs(self.log_weights) + 1.0))
        )

    def differ(self, other: Self) -> NDArray[np.bool_]:
        """Tell the columns whose sums differ by more than rounding, (q + m,).

        By their own means and squares; if none does, by products with another column. What counts is
        the difference beside the standard deviation within leaves.
        """
        q, k = self.cross.shape[1:]
        squares = np.concatenate([np.einsum("njj->j", self.cross[:, :, :q]), np.diag(self.total)])
        within = np.sqrt(np.maximum(squares, 0.0) / self.weight.sum())
        error = ROUNDING * np.abs(self.mean).max(axis=0)
        means = np.abs(self.mean - other.mean) > (
            TOLERANCE * within + ROUNDING * (self.size.max(axis=0) + self.size + other.size)
        )
        # (s + e)(s' + e') - s s', with what is allowed of s s' in the place of the rest.
        allowed = np.outer(within, within) * TOLERANCE + np.outer(error, error + within)
        allowed += np.outer(within, error)
        crossed = np.abs(self.cross - other.cross) > (
            TOLERANCE * np.abs(self.cross) + self.weight[:, None, None] * allowed[:q]
        )
        products = np.zeros((k, k), dtype=bool)
        products[:q] = crossed.any(axis=0)
        products[q:, q:] = np.abs(self.total - other.total) > (
            self.weight.sum() * allowed[q:, q:] + ROUNDING * (self.total_size + other.total_size)
        )
        single = means.any(axis=0) | np.diag(products)
        return single if single.any() else products.any(axis=0) | products.any(axis=1)
