"""Each leaf's rows, or each row, as a triangular factor of the leaf's coefficients and gamma, for sigma = 1.

With U, m_y and M_z of `nestor.data.statistics.leaf`, S the leaf's own share of the remainders there, and
coefficients (beta, gamma) = pivot + x,

    sum_i w_i (y_i - x_i' beta - z_i' gamma)^2 = |A (x, -1)|^2 + rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.data.statistics.leaf import pooled_fit, solve
from nestor.data.statistics.least_squares import semidefinite_root
from nestor.data.statistics.moments import Moments
from nestor.model.names import INTERCEPT
from nestor.posterior.message_passing.triangles import add_row

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.data.statistics import LeafStatistics
    from nestor.stats.arrays import FloatArray

_EPS = float(np.finfo(np.float64).eps)
#: Share of a covariate's squares within leaves above which these determine its coefficient.
_TELLS = 1e-6


@dataclass(frozen=True)
class UnitFactors:
    """Gaussian likelihood factors of n units (leaves or rows) for p effects and c covariates, d = p + c.

    Parameters
    ----------
    pivot : ndarray, (d,)
        Least-squares coefficients of all rows together, covariates last.
    A : ndarray, (d, d + 1, n)
        UnitFactors.
    rest : ndarray, (n,)
        Residual sum of squares that no coefficients can reduce.
    rows : ndarray of int64, (n,)
        Rows of each unit.
    log_weights : ndarray, (n,)
        Sum of the logarithms of its weights.
    """

    pivot: FloatArray
    A: FloatArray
    rest: FloatArray
    rows: NDArray[np.int64]
    log_weights: FloatArray


def leaf_factors(problem: Problem) -> UnitFactors:
    """Make one factor of each leaf, reading its rows once."""
    found = problem.statistics
    p, c, n = found.n_effects, found.n_covariates, found.n_leaves
    d, pivot = p + c, _pivot(found)
    own = leaf_fits(problem, pivot[:p], pivot[p:])
    U, my, Mz = np.moveaxis(own.root, 0, -1), own.fit[:, :, 0], own.fit[:, :, 1:]
    A, rest = np.zeros((d, d + 1, n)), np.zeros(n)
    for row in U:
        explained = np.einsum("pn,npc->cn", row, Mz), np.einsum("pn,np->n", row, my)[None]
        rest += add_row(np.concatenate([row, *explained]), A) ** 2
    S = _gamma_first(own.residual)
    for i, row in enumerate(semidefinite_root(S, _negligible(U, Mz))):
        padded = np.concatenate([np.zeros((p, n)), row])
        rest += add_row(padded, A, first=min(p + i, d)) ** 2
    return UnitFactors(pivot, A, rest, found.rows_per_leaf, found.log_weights)


def row_factors(problem: Problem) -> UnitFactors:
    """Make one factor of each row; the rows must be in memory."""
    rows, pivot = problem.rows, _pivot(problem.statistics)
    design = np.hstack([rows.X, rows.Z])
    y = rows.y if rows.offset is None else rows.y - rows.offset
    n, d = design.shape
    A = np.zeros((d, d + 1, n))
    A[0] = np.column_stack([design, y - design @ pivot]).T
    log_weights = np.zeros(n)
    if rows.weights is not None:
        A[0] *= np.sqrt(rows.weights)
        log_weights = np.log(rows.weights)
    return UnitFactors(pivot, A, np.zeros(n), np.ones(n, np.int64), log_weights)


def _pivot(found: LeafStatistics) -> FloatArray:
    """Coefficients near the posterior mean, (p + c,); gamma is estimated within leaves where possible.

    Elsewhere gamma is fitted to all rows together; so are the effects, always.
    """
    p, n = found.n_effects, found.n_leaves
    every = np.broadcast_to(np.eye(p), (n, p, p))
    design = found.root @ np.concatenate([every, found.fit[:, :, 1:]], axis=2)
    outcome = found.root @ found.fit[:, :, :1]
    gram = np.einsum("nri,nrj->ij", design, design)
    linear = np.einsum("nri,nrj->ij", design, outcome)
    gram[p:, p:] += found.residual[1:, 1:]
    linear[p:] += found.residual[1:, :1]
    gamma = pooled_fit(gram[None], linear[None])[p:, 0]
    size = np.sqrt(np.where(np.diag(gram) > 0, np.diag(gram), 1.0))[p:]
    Szz, Szy = found.residual[1:, 1:], found.residual[1:, 0]
    information, along = np.linalg.eigh(Szz / np.outer(size, size))
    # For a covariate that hardly varies within leaves the estimate would be rounding error.
    tells = information > _TELLS
    step = along[:, tells].T @ ((Szy - Szz @ gamma) / size) / information[tells]
    gamma = gamma + along[:, tells] @ step / size
    return np.concatenate([found.pooled[:, 0] - found.pooled[:, 1:] @ gamma, gamma])


def _gamma_first(S: FloatArray) -> FloatArray:
    """Reorder (n, 1 + c, 1 + c), outcome first, to (c + 1, c + 1, n), outcome last."""
    order = [*range(1, S.shape[1]), 0]
    return np.moveaxis(S[:, order][:, :, order], 0, -1)


def _negligible(U: FloatArray, Mz: FloatArray) -> FloatArray:
    """Bound below which a squared remainder is rounding error of the fitted part, (c + 1, n)."""
    c, n = Mz.shape[2], Mz.shape[0]
    fitted = np.square(np.einsum("rpn,npc->rcn", U, Mz)).sum(axis=0)
    return np.concatenate([(8 * _EPS) ** 2 * fitted, np.zeros((1, n))]).reshape(c + 1, n)


@dataclass(frozen=True)
class LeafFits:
    """Least squares in n leaves, of p effects, for the outcome minus its pivot and c covariates.

    Parameters
    ----------
    root : ndarray, (n, p, p)
        U of `nestor.data.statistics.leaf`.
    fit : ndarray, (n, p, 1 + c)
        Coefficients.
    residual : ndarray, (n, 1 + c, 1 + c)
        Cross-products of each leaf's residuals.
    """

    root: FloatArray
    fit: FloatArray
    residual: FloatArray


def leaf_fits(problem: Problem, beta: FloatArray, gamma: FloatArray) -> LeafFits:
    """Least squares of the outcome minus X beta and Z gamma, for coefficients near the posterior mean.

    The difference is then small, and so is its rounding error where sigma is small.
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
