"""Each leaf's least squares about a pivot, from its rows or, where there are none, from its statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.data.statistics.leaf import solve
from nestor.data.statistics.moments import Moments
from nestor.model.names import INTERCEPT

if TYPE_CHECKING:
    from nestor.data.problem import Problem
    from nestor.data.statistics import LeafStatistics
    from nestor.stats.arrays import FloatArray


@dataclass(frozen=True)
class LeafFits:
    """Least squares in n leaves, of p effects, for the outcome less its pivot and c covariates.

    Parameters
    ----------
    root : ndarray, (n, p, p)
        U of `nestor.data.statistics.leaf`.
    fit : ndarray, (n, p, 1 + c)
        Coefficients.
    residual : ndarray, (n, 1 + c, 1 + c)
        Cross-products of what is left in each leaf.
    """

    root: FloatArray
    fit: FloatArray
    residual: FloatArray


def leaf_fits(problem: Problem, beta: FloatArray, gamma: FloatArray) -> LeafFits:
    """Least squares of the outcome less X beta and Z gamma, which should be near the posterior's.

    What is left of the outcome then is small, and so is its rounding where sigma is small.
    """
    kept = problem.statistics
    if not problem.has_rows:
        return _of_statistics(kept, beta, gamma)
    rows, effects = problem.rows, problem.effects
    y = rows.y if rows.offset is None else rows.y - rows.offset
    y = y - rows.X @ beta - rows.Z @ gamma
    slopes = [j for j, effect in enumerate(effects) if effect != INTERCEPT]
    X, left = [rows.X[:, j] for j in slopes], [y, *rows.Z.T]
    starts, centred = problem.index.starts, INTERCEPT in effects
    moments = Moments.of_sorted([*X, *left], rows.weights, starts, centred=centred)
    root, fit = solve(moments, effects)
    # About the leaf's means, where an intercept takes them up: far from zero, products round more.
    if centred:
        X, left = [_centred(problem, x) for x in X], [_centred(problem, one) for one in left]
    for j, x in zip(slopes, X, strict=True):
        left = [one - x * fit[problem.leaf, j, k] for k, one in enumerate(left)]
    return LeafFits(root, fit, _cross(problem, left))


def _of_statistics(kept: LeafStatistics, beta: FloatArray, gamma: FloatArray) -> LeafFits:
    assert kept.residual_by_leaf is not None  # noqa: S101 - there are rows or these
    fit = kept.fit.copy()
    fit[:, :, 0] -= fit[:, :, 1:] @ gamma + beta
    change = np.eye(1 + len(gamma))
    change[1:, 0] = -gamma
    return LeafFits(kept.root, fit, change.T @ kept.residual_by_leaf @ change)


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
