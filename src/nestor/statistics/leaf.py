"""Leaf statistics: all that a gaussian likelihood needs to know of the rows of each leaf.

With X, y and Z the effects, the outcome less its offset and the covariates of one leaf, W its weights, let
m_y and M_z be weighted least-squares coefficients of y and of Z on X in that leaf, and U a square root,
U'U = X'WX. What remains of y and Z is orthogonal to X, so that for any coefficients

    sum_i w_i (y_i - x_i' beta - z_i' gamma)^2
        = (1, -gamma)' S (1, -gamma) + sum over leaves |U (m_y - M_z gamma - beta)|^2,

S being the cross-products of the remainders, summed over all leaves. This is the textbook decomposition of
a residual sum of squares; unlike the equivalent A = X'WX, b = X'Wy, c = y'Wy it has no differences of large
numbers, and stays exact where sigma is small beside the outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import Unsupported
from nestor.names import INTERCEPT
from nestor.statistics.moments import Moments, blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.problem import Problem

    type FloatArray = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
_BLOCK = 65_536


@dataclass(frozen=True)
class LeafStatistics:
    """What a gaussian likelihood needs to know of N rows in n leaves; p effects, c covariates.

    Parameters
    ----------
    root : ndarray, (n, p, p)
        U of the module's formulas: ``root[v].T @ root[v]`` is X'WX. A row of zeros for each direction in
        which a leaf says nothing (fewer rows than effects, a constant predictor). It is triangular if the
        intercept comes first or there is none.
    fit : ndarray, (n, p, 1 + c)
        Least-squares coefficients of the outcome less its offset, m_y, then of each covariate, M_z. In a
        direction in which a leaf says nothing, those of all rows together.
    residual : ndarray, (1 + c, 1 + c)
        S: cross-products of what remains, the outcome first.
    rows_per_leaf : ndarray of int64, (n,)
        Numbers of rows.
    sum_log_weights : float
        Zero where there are no weights.
    """

    root: FloatArray
    fit: FloatArray
    residual: FloatArray
    rows_per_leaf: NDArray[np.int64]
    sum_log_weights: float

    @property
    def n_rows(self) -> int:
        """N."""
        return int(self.rows_per_leaf.sum())

    @property
    def n_leaves(self) -> int:
        """Number of leaves, n."""
        return len(self.root)

    @property
    def n_effects(self) -> int:
        """Number of effects, p."""
        return int(self.root.shape[1])

    @property
    def n_covariates(self) -> int:
        """Number of covariates, c."""
        return int(self.fit.shape[2]) - 1

    @cached_property
    def gram(self) -> FloatArray:
        """A = X'WX of each leaf, (n, p, p)."""
        return np.swapaxes(self.root, 1, 2) @ self.root

    @cached_property
    def pooled(self) -> FloatArray:
        """Least-squares coefficients of all rows together, (p, 1 + c)."""
        return pooled_fit(self.gram, self.gram @ self.fit)


def pooled_fit(gram: FloatArray, linear: FloatArray) -> FloatArray:
    """Least-squares coefficients from the sums over leaves of (n, p, p) and (n, p, m): (p, m)."""
    A, b = gram.sum(axis=0), linear.sum(axis=0)
    scale = np.sqrt(np.where(np.diag(A) > 0, np.diag(A), 1.0))
    found, *_ = np.linalg.lstsq(A / np.outer(scale, scale), b / scale[:, None], rcond=None)
    return np.asarray(found / scale[:, None])


def leaf_statistics(problem: Problem) -> LeafStatistics:
    """Compute the leaf statistics of a problem's rows, in one pass over memory.

    Raises
    ------
    Unsupported
        If the outcome is not gaussian.
    """
    if problem.spec.family != "gaussian":
        raise Unsupported(
            f"leaf statistics hold all that there is to know of gaussian outcomes only, and the outcome "
            f"{problem.spec.outcome!r} is {problem.spec.family}. Use rows."
        )
    y = problem.y if problem.offset is None else problem.y - problem.offset
    slopes = _slopes(problem.effects)
    columns = np.ascontiguousarray(np.vstack([problem.X[:, slopes].T, y, problem.Z.T]))
    centred = len(slopes) < len(problem.effects)
    starts = problem.index.starts
    moments = Moments.of_sorted(columns, problem.weights, starts, centred=centred)
    root, fit = solve(moments, problem.effects)
    residual = _residual(problem, y, fit, starts)
    return LeafStatistics(root, fit, residual, moments.rows, moments.sum_log_weights)


def from_moments(moments: Moments, effects: tuple[str, ...]) -> LeafStatistics:
    """Leaf statistics from moments of the columns (slopes, outcome less offset, covariates)."""
    root, fit = solve(moments, effects)
    q = len(_slopes(effects))
    beta = fit[:, _slopes(effects), :]
    left = moments.cross[q:, q:].sum(axis=-1)
    # S_vv - B' S_xv, where B solves S_xx B = S_xv up to directions without information.
    Sxx = np.moveaxis(moments.cross[:q, :q], -1, 0)
    Sxv = np.moveaxis(moments.cross[:q, q:], -1, 0)
    explained = np.einsum("nqi,nqj->ij", beta, 2 * Sxv - Sxx @ beta)
    residual = left - 0.5 * (explained + explained.T)
    np.fill_diagonal(residual, np.maximum(np.diag(residual), 0.0))
    return LeafStatistics(root, fit, residual, moments.rows, moments.sum_log_weights)


def _slopes(effects: tuple[str, ...]) -> list[int]:
    return [j for j, effect in enumerate(effects) if effect != INTERCEPT]


def solve(moments: Moments, effects: tuple[str, ...]) -> tuple[FloatArray, FloatArray]:
    """Square roots and least-squares coefficients of all leaves, (n, p, p) and (n, p, 1 + c)."""
    slopes, p = _slopes(effects), len(effects)
    q, n = len(slopes), moments.cross.shape[-1]
    U = _semidefinite_root(moments.cross[:q, :q], _negligible(moments, q))
    root = np.zeros((n, p, p))
    for row, j in enumerate(slopes):
        for column, k in enumerate(slopes):
            root[:, j, k] = U[row, column]
    if q < p:
        one = effects.index(INTERCEPT)
        root[:, one, one] = np.sqrt(moments.weight)
        for row, j in enumerate(slopes):
            root[:, one, j] = root[:, one, one] * moments.mean[row]
    pooled = _pooled_slopes(moments, q)
    fit = np.empty((n, p, moments.cross.shape[0] - q))
    beta = pooled[..., None] + _solve(U, moments.cross[:q, :q], moments.cross[:q, q:], pooled)
    for row, j in enumerate(slopes):
        fit[:, j] = beta[row].T
    if q < p:
        fit[:, one] = (moments.mean[q:] - np.einsum("qn,qmn->mn", moments.mean[:q], beta)).T
    return root, fit


def _negligible(moments: Moments, q: int) -> FloatArray:
    """Sums of squares, (q, n), that are only what rounding of a constant predictor's mean left."""
    return np.asarray(moments.weight * (4 * _EPS * moments.mean[:q]) ** 2)


def _semidefinite_root(S: FloatArray, negligible: FloatArray) -> FloatArray:
    """Upper U of U'U = S, (q, q, n); a row of zeros where nothing is left of a direction."""
    q = len(S)
    U = np.zeros_like(S)
    for j in range(q):
        left = S[j, j] - np.sum(U[:j, j] ** 2, axis=0)
        known = left > np.maximum(negligible[j], 4 * q * _EPS * S[j, j] * (j > 0))
        pivot = np.sqrt(np.where(known, left, 1.0))
        U[j, j] = np.where(known, pivot, 0.0)
        for k in range(j + 1, q):
            above = S[j, k] - np.sum(U[:j, j] * U[:j, k], axis=0)
            U[j, k] = np.where(known, above / pivot, 0.0)
    return U


def _solve(U: FloatArray, Sxx: FloatArray, Sxv: FloatArray, pooled: FloatArray) -> FloatArray:
    """B - pooled of U'U B = S_xv, (q, m, n); zero in directions without information."""
    right = Sxv - np.einsum("qkn,km->qmn", Sxx, pooled)
    q = len(U)
    safe = np.where(U > 0, U, 1.0)
    half: FloatArray = np.zeros_like(right)
    for j in range(q):
        part = right[j] - np.sum(U[:j, j, None] * half[:j], axis=0)
        half[j] = np.where(U[j, j] > 0, part / safe[j, j], 0.0)
    found: FloatArray = np.zeros_like(right)
    for j in reversed(range(q)):
        part = half[j] - np.sum(U[j, j + 1 :, None] * found[j + 1 :], axis=0)
        found[j] = np.where(U[j, j] > 0, part / safe[j, j], 0.0)
    return found


def _pooled_slopes(moments: Moments, q: int) -> FloatArray:
    """Slopes from the cross-products within leaves, all leaves together, (q, m)."""
    within = np.moveaxis(moments.cross, -1, 0)
    if q == 0:
        return np.zeros((0, moments.cross.shape[0]))
    return pooled_fit(within[:, :q, :q], within[:, :q, q:])


def _residual(
    problem: Problem, y: FloatArray, fit: FloatArray, starts: NDArray[np.intp]
) -> FloatArray:
    """Cross-products of what the leaves' own fits leave of outcome and covariates."""
    m = fit.shape[2]
    total = np.zeros((m, m))
    width = problem.X.shape[1] + m
    for first, last in blocks(starts, max(1, _BLOCK // width)):
        rows = slice(starts[first], starts[last])
        leaf = problem.leaf[rows]
        left = np.column_stack([y[rows], problem.Z[rows]])
        for j in range(problem.X.shape[1]):
            left -= problem.X[rows, j, None] * fit[leaf, j]
        weighted = left if problem.weights is None else problem.weights[rows, None] * left
        total += weighted.T @ left
    return total
