"""Totals of whole columns in one pass: what automatic priors and the search for constants need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from nestor.resolve import Summary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    type FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Totals:
    """Unweighted totals of d columns, merged by the formula of `nestor.statistics.moments`.

    Parameters
    ----------
    rows : int
        Number of rows.
    mean, squares, low, high : ndarray, (d,)
        Means, sums of squared deviations from them, least and largest values.
    """

    rows: int
    mean: FloatArray
    squares: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, columns: FloatArray) -> Self:
        """Totals of columns (d, N); what double precision cannot hold is infinite or zero."""
        d, n = columns.shape
        mean, squares = np.empty(d), np.empty(d)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for j, column in enumerate(columns):
                first = column.mean()
                apart = column - first
                rest = apart.mean()
                mean[j] = first + rest
                squares[j] = max(np.square(apart, out=apart).sum() - n * float(rest) ** 2, 0.0)
        return cls(n, mean, squares, columns.min(axis=1), columns.max(axis=1))

    def merged(self, other: Totals) -> Totals:
        """Totals of the rows of both."""
        rows = self.rows + other.rows
        share = other.rows / rows
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            shift = other.mean - self.mean
            return Totals(
                rows=rows,
                mean=self.mean + share * shift,
                squares=self.squares + other.squares + self.rows * share * shift**2,
                low=np.minimum(self.low, other.low),
                high=np.maximum(self.high, other.high),
            )

    def is_constant(self, j: int) -> bool:
        """Whether column `j` has one value in all rows."""
        return bool(self.low[j] == self.high[j])

    def summary(self, j: int) -> Summary:
        """What automatic priors need to know of column `j`."""
        # The mean of equal numbers is that number, which merging may miss by a rounding error.
        mean = self.low[j] if self.is_constant(j) else self.mean[j]
        sd = math.sqrt(self.squares[j] / self.rows)
        return Summary(float(mean), sd, float(self.low[j]), float(self.high[j]))
