"""Totals of whole columns in one pass: what automatic priors and the search for constants need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from nestor.data.resolve import Summary

if TYPE_CHECKING:
    from nestor.stats.arrays import FloatArray


@dataclass(frozen=True)
class Totals:
    """Unweighted totals of d columns, merged by the formula of `nestor.data.statistics.moments`.

    Means are kept as distances from one value of each column: where the columns are far from zero, means
    themselves are rounded by more than what they differ by from batch to batch.

    Parameters
    ----------
    rows : int
        Number of rows.
    origin : ndarray, (d,)
        The value of each column from which its mean is counted.
    mean, squares, low, high : ndarray, (d,)
        Means less the origin, sums of squared deviations from them, least and largest values.
    """

    rows: int
    origin: FloatArray
    mean: FloatArray
    squares: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, columns: FloatArray, origin: FloatArray | None = None) -> Self:
        """Totals of columns (d, N); what double precision cannot hold is infinite, zero or NaN.

        Parameters
        ----------
        columns : ndarray, (d, N)
            At least one row.
        origin : ndarray, (d,), optional
            See `Totals`; the first row if there is none yet.
        """
        d, n = columns.shape
        origin = columns[:, 0].copy() if origin is None else origin
        mean, squares = np.empty(d), np.empty(d)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for j, column in enumerate(columns):
                apart = column - origin[j]
                first = apart.mean()
                apart -= first
                rest = apart.mean()
                mean[j] = first + rest
                squares[j] = max(np.square(apart, out=apart).sum() - n * (rest * rest), 0.0)
        return cls(n, origin, mean, squares, columns.min(axis=1), columns.max(axis=1))

    def merged(self, other: Totals) -> Totals:
        """Totals of the rows of both, which have one origin."""
        rows = self.rows + other.rows
        share = other.rows / rows
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            shift = other.mean - self.mean
            return Totals(
                rows=rows,
                origin=self.origin,
                mean=self.mean + share * shift,
                squares=self.squares + other.squares + self.rows * share * shift**2,
                low=np.minimum(self.low, other.low),
                high=np.maximum(self.high, other.high),
            )

    def is_constant(self, j: int) -> bool:
        """Whether column `j` has one value in all rows."""
        return bool(self.low[j] == self.high[j])

    def is_zero(self, j: int) -> bool:
        """Whether column `j` is zero in all rows."""
        return bool(self.low[j] == 0 == self.high[j])

    def summary(self, j: int) -> Summary:
        """What automatic priors need to know of column `j`."""
        # The mean of equal numbers is that number, which merging may miss by a rounding error.
        mean = self.low[j] if self.is_constant(j) else self.origin[j] + self.mean[j]
        sd = math.sqrt(self.squares[j] / self.rows)
        return Summary(float(mean), sd, float(self.low[j]), float(self.high[j]))
