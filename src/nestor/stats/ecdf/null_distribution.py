"""The tabulated null distribution of a smallest pointwise p-value, and the band that it implies.

Both tests take as statistic the smallest two-sided pointwise p-value of an ECDF over all points where
it is evaluated (Säilynoja, Bürkner and Vehtari 2022, Statistics and Computing 32:32). The ECDF leaves
the band of level t exactly if the statistic is at most t, so that one table serves test and band.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.stats.arrays import FloatArray


#: Pointwise p-values (as logarithms) closer than this are the same number, computed in two ways.
TIE = 1e-8
#: Half the width of the window of counts, in the largest standard deviation of a count: by Hoeffding's and
#: Serfling's inequalities the probability beyond is under 3e-20 at each point.
REACH = 9.5
_FLOOR = np.log(1e-14)
_MAX_ATTAINABLE = 512


@dataclass(frozen=True, eq=False)
class NullTable:
    """Exact distribution of the statistic under the null hypothesis.

    Parameters
    ----------
    log_statistic
        Logarithms of values of the statistic, ascending, the last one 0, shape (grid,).
    p_value
        Probability of a statistic at most as large, shape (grid,).
    """

    log_statistic: FloatArray
    p_value: FloatArray

    def p_values(self, log_statistic: FloatArray) -> FloatArray:
        """P-values of statistics, of any shape, rounded up to the grid's next larger value.

        Never smaller than the exact ones, and equal to them where the grid holds every value that
        the statistic can take.
        """
        at = np.searchsorted(self.log_statistic, log_statistic - TIE, side="left")
        found: FloatArray = self.p_value[np.minimum(at, self.p_value.size - 1)]
        return found

    def cutoff(self, level: float) -> tuple[float, float]:
        """Largest statistic on the grid whose p-value is at most the level; and that p-value.

        Minus infinity and 0 if there is no such statistic: then no ECDF ever leaves the band.
        """
        n = int(np.searchsorted(self.p_value, level, side="right"))
        if n == 0:
            return -np.inf, 0.0
        return float(self.log_statistic[n - 1]), float(self.p_value[n - 1])


@dataclass(frozen=True, eq=False)
class Band:
    """Region that contains the whole ECDF, or difference of two, with the given probability.

    Parameters
    ----------
    points
        Where it is evaluated, as fractions, shape (point,).
    lower, upper
        The band, both ends inside it, shape (point,).
    level
        Probability asked for that an ECDF leaves the band somewhere.
    attained
        The same as it is: not more than the level.
    """

    points: FloatArray
    lower: FloatArray
    upper: FloatArray
    level: float
    attained: float


def grid_over(log_pointwise: FloatArray) -> FloatArray:
    """Choose the values of the statistic to tabulate.

    Parameters
    ----------
    log_pointwise
        Logarithms of all pointwise p-values that can occur, any shape.

    Returns
    -------
    array
        Ascending: all attainable values if these are few, else 40 per decade down to 1e-4 and 16 per
        decade further down, which raises a p-value by 6% and 15% at most.
    """
    values = np.unique(np.round(log_pointwise[log_pointwise > _FLOOR], 9))
    if values.size <= _MAX_ATTAINABLE:
        return np.unique(np.concatenate([[_FLOOR], values, [0.0]]))
    fine = np.log(10.0) * np.arange(-160, 1) / 40
    coarse = np.log(10.0) * np.arange(-14 * 16, -4 * 16) / 16
    return np.concatenate([coarse, fine])


def log_two_sided(pmf: FloatArray) -> FloatArray:
    """Logarithm of 2 min(P(X <= k), P(X >= k)), at most 0, from probabilities along the last axis."""
    below = np.cumsum(pmf, axis=-1)
    above = np.cumsum(pmf[..., ::-1], axis=-1)[..., ::-1]
    with np.errstate(divide="ignore"):
        found: FloatArray = np.minimum(np.log(2 * np.minimum(below, above)), 0.0)
    return found


def columns_inside(
    log_pointwise: FloatArray, cutoff: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last column of each row whose pointwise p-value is above the cutoff."""
    kept = log_pointwise > cutoff + TIE
    return kept.argmax(axis=1), kept.shape[1] - 1 - kept[:, ::-1].argmax(axis=1)


def check_level(level: float) -> None:
    """Refuse a level that is not a probability.

    Raises
    ------
    DataError
        If it does not lie strictly between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise DataError(f"a level must lie strictly between 0 and 1, found {level}")
