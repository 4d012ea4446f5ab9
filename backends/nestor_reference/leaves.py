"""Leaf statistics: all that a gaussian likelihood needs of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor_reference.gaussian import prior_mean_of_rows, weights_of_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.problem import Problem

    type FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LeafStatistics:
    """Sums over rows, with y less its prior mean, so that all coefficients have prior mean zero.

    Parameters
    ----------
    A : ndarray, (p, p, leaves)
        X'WX of each leaf.
    b : ndarray, (p, 1 + c, leaves)
        X'W[y, Z] of each leaf.
    cross : ndarray, (1 + c, 1 + c)
        [y, Z]'W[y, Z] of all rows: the residual sum of squares, b_z and A_zz.
    n_rows : int
        Number of rows.
    sum_log_weights : float
        Over all rows.
    """

    A: FloatArray
    b: FloatArray
    cross: FloatArray
    n_rows: int
    sum_log_weights: float


def leaf_statistics(problem: Problem) -> LeafStatistics:
    """Sum over the rows of each leaf, once for all evaluations."""
    weights = weights_of_rows(problem)
    residual = problem.y - prior_mean_of_rows(problem)
    outcomes = np.column_stack([residual, problem.Z])
    starts = np.searchsorted(problem.leaf, np.arange(problem.levels[-1].n))

    def by_leaf(left: FloatArray, right: FloatArray) -> FloatArray:
        products = weights[:, None, None] * left[:, :, None] * right[:, None, :]
        return np.moveaxis(np.add.reduceat(products, starts, axis=0), 0, -1)

    return LeafStatistics(
        A=np.ascontiguousarray(by_leaf(problem.X, problem.X)),
        b=np.ascontiguousarray(by_leaf(problem.X, outcomes)),
        cross=outcomes.T @ (weights[:, None] * outcomes),
        n_rows=problem.n_rows,
        sum_log_weights=float(np.sum(np.log(weights))),
    )
