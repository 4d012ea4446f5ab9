"""What least squares within a leaf leave of the outcome and of covariates, leaf by leaf."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor.names import INTERCEPT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.problem import Problem

    type FloatArray = NDArray[np.float64]


def remainders(problem: Problem, gamma: FloatArray) -> FloatArray:
    """Cross-products of what each leaf's fit leaves of the outcome less Z gamma, and of Z.

    Parameters
    ----------
    problem : Problem
        A gaussian outcome, with rows.
    gamma : ndarray, (c,)
        Coefficients near those of the posterior: what remains is small then, and so is its rounding.

    Returns
    -------
    ndarray, (n, 1 + c, 1 + c)
        The outcome first.
    """
    rows, fit = problem.rows, problem.statistics.fit
    y = rows.y - rows.Z @ gamma
    if rows.offset is not None:
        y = y - rows.offset
    of_leaf = np.concatenate(
        [fit[:, :, :1] - fit[:, :, 1:] @ gamma[:, None], fit[:, :, 1:]], axis=2
    )
    one = INTERCEPT in problem.effects
    slopes = [j for j, effect in enumerate(problem.effects) if effect != INTERCEPT]
    # About the leaf's means, where an intercept takes them up: far from zero, products round more.
    left = [_centred(problem, column) if one else column for column in (y, *rows.Z.T)]
    for j in slopes:
        x = _centred(problem, rows.X[:, j]) if one else rows.X[:, j]
        left = [column - x * of_leaf[problem.leaf, j, k] for k, column in enumerate(left)]
    return _cross(problem, left)


def log_weights(problem: Problem) -> FloatArray:
    """Sum of the logarithms of each leaf's weights, (n,)."""
    if problem.weights is None:
        return np.zeros(problem.index.n_leaves)
    return np.asarray(_sums(problem, np.log(problem.weights)))


def _sums(problem: Problem, values: FloatArray) -> FloatArray:
    return np.add.reduceat(values, problem.index.starts[:-1])


def _weighted(problem: Problem, values: FloatArray) -> FloatArray:
    return values if problem.weights is None else problem.weights * values


def _centred(problem: Problem, column: FloatArray) -> FloatArray:
    weight = _sums(problem, _weighted(problem, np.ones(problem.n_rows)))
    # Twice: the mean of deviations from a rounded mean is what rounding left.
    for _ in range(2):
        mean = _sums(problem, _weighted(problem, column)) / weight
        column = column - mean[problem.leaf]
    return column


def _cross(problem: Problem, columns: list[FloatArray]) -> FloatArray:
    d = len(columns)
    found = np.empty((problem.index.n_leaves, d, d))
    for k, one in enumerate(columns):
        weighted = _weighted(problem, one)
        for m in range(k + 1):
            found[:, k, m] = found[:, m, k] = _sums(problem, weighted * columns[m])
    return found
