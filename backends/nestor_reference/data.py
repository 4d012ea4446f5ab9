"""The square root of each leaf's information: all that a gaussian likelihood needs to know of the rows.

With W the weights of the rows of one leaf, and y less its offset and less a fit (m, g) of all rows together,
an orthogonal transformation of sqrt(W) [X, Z, y - X m - Z g] leaves a triangle of p rows that know of the
leaf's coefficients, and rows that do not; those of all leaves are reduced to one more triangle. Differences
between leaves are then numbers of their own, not differences of large ones.

It is Gram and Schmidt's, done twice, which leaves no more than rounding (Giraud, Langou and Rozloznik 2005,
"The loss of orthogonality in the Gram-Schmidt orthogonalization process"), in the longest floating-point
numbers that the processor has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.model.names import INTERCEPT
from nestor_reference.gaussian import weights_of_rows
from nestor_reference.rotations import insert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.data.statistics import LeafStatistics
    from nestor.stats.arrays import FloatArray

    type LongArray = NDArray[np.longdouble]


#: Rows at a time: long numbers take twice the memory.
_BLOCK = 250_000
#: Length of what is left of a column, over its own, at which nothing is left but rounding.
_NOTHING = 8 * float(np.finfo(np.longdouble).eps)


@dataclass(frozen=True)
class LeafRoots:
    """Square roots of sums over rows, of p effects and c covariates.

    Parameters
    ----------
    fit : ndarray, (p + c,)
        m and g: least-squares coefficients of all rows together.
    A : ndarray, (p, p + c + 1, leaves)
        Upper triangles, with columns for the effects, the covariates and the outcome: the squared residuals
        of a leaf's rows at coefficients m + delta and g + epsilon have the sum
        |A (delta, epsilon, -1)|^2 + |remainder (epsilon, -1)|^2, the latter over all leaves. A row of zeros
        for each direction in which a leaf says nothing.
    remainder : ndarray, (c + 1, c + 1)
        Upper triangle.
    n_rows : int
        Number of rows.
    sum_log_weights : float
        Over all rows.
    """

    fit: FloatArray
    A: FloatArray
    remainder: FloatArray
    n_rows: int
    sum_log_weights: float

    def squared_residuals(self, beta: FloatArray, gamma: FloatArray) -> float:
        """Weighted sum over all rows, at coefficients of the leaves, (leaves, p), and gamma, (c,)."""
        p = beta.shape[1]
        rest = np.append(gamma - self.fit[p:], -1.0)
        at = np.concatenate([(beta - self.fit[:p]).T, np.tile(rest[:, None], len(beta))])
        of_leaves = np.einsum("ijn,jn->in", self.A, at)
        return float(np.sum(of_leaves**2) + np.sum((self.remainder @ rest) ** 2))


def leaf_roots(problem: Problem) -> LeafRoots:
    """Reduce the rows of each leaf, once for all evaluations."""
    p, c = problem.X.shape[1], problem.Z.shape[1]
    n = problem.levels[-1].n
    weights = weights_of_rows(problem)
    fit = _pooled(problem, weights)
    starts = np.searchsorted(problem.leaf, np.arange(n + 1))
    A = np.empty((p, p + c + 1, n))
    remainder = np.zeros((c + 1, c + 1))
    for begin, end in _blocks(starts):
        rows = slice(starts[begin], starts[end])
        first = starts[begin:end] - starts[begin]
        columns, moved = _columns(problem, rows, first, fit)
        found = _reduce(columns, p, weights[rows], first)
        found[0, :p] += found[0, 0] * moved
        A[..., begin:end] = found
        left = _reduce(columns[p:], c + 1, weights[rows], first[:1])
        for i, row in enumerate(left[..., 0].astype(np.float64)):
            insert(remainder, row, first=i)
    return LeafRoots(fit, A, remainder, problem.n_rows, float(np.sum(np.log(weights))))


def _pooled(problem: Problem, weights: FloatArray) -> FloatArray:
    """Least squares of all rows together, by normal equations: any other pivot would do, a little worse."""
    design = np.hstack([problem.X, problem.Z])
    y = problem.y if problem.offset is None else problem.y - problem.offset
    return solve_normal(design.T @ (weights[:, None] * design), design.T @ (weights * y))


def solve_normal(gram: FloatArray, linear: FloatArray) -> FloatArray:
    """Solve normal equations, (d, d) and (d,), after scaling their diagonal to one."""
    scale = np.sqrt(np.diag(gram))
    found, *_ = np.linalg.lstsq(gram / np.outer(scale, scale), linear / scale, rcond=None)
    return np.asarray(found / scale)


def _blocks(starts: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Cut the leaves into runs of about `_BLOCK` rows, of one leaf at least."""
    begin, n = 0, len(starts) - 1
    while begin < n:
        end = int(np.searchsorted(starts, starts[begin] + _BLOCK, side="right")) - 1
        end = min(max(end, begin + 1), n)
        yield begin, end
        begin = end


def _columns(
    problem: Problem, rows: slice, first: NDArray[np.intp], fit: FloatArray
) -> tuple[LongArray, LongArray]:
    """Columns of some rows, (p + c + 1, rows), and by how much predictors were moved, (p, leaves).

    Beside an intercept a predictor may be told from its value in the leaf's first row: differences of
    numbers that are nearly the same are exact.
    """
    p = problem.X.shape[1]
    X, Z = (M[rows].T.astype(np.longdouble) for M in (problem.X, problem.Z))
    y = problem.y[rows].astype(np.longdouble)
    if problem.offset is not None:
        y -= problem.offset[rows]
    y -= fit[:p] @ X + fit[p:] @ Z
    moved = np.zeros((p, len(first)), dtype=np.longdouble)
    if problem.effects[0] == INTERCEPT:
        moved[1:] = X[1:, first]
    by_row = np.repeat(moved, np.diff(first, append=len(y)), axis=1)
    return np.concatenate([X - by_row, Z, y[None]]), moved


def _reduce(
    columns: LongArray, count: int, weights: FloatArray, first: NDArray[np.intp]
) -> LongArray:
    """Triangle of the first `count` columns in each run of rows, (count, columns, runs).

    What is left of the other columns stays in their place.
    """
    lengths = np.diff(first, append=columns.shape[1])
    found = np.zeros((count, len(columns), len(first)), dtype=np.longdouble)

    def inner(a: LongArray, b: LongArray) -> LongArray:
        return np.asarray(np.add.reduceat(weights * a * b, first))

    for k in range(len(columns)):
        column = columns[k]
        whole = np.sqrt(inner(column, column))
        for i in 2 * list(range(min(k, count))):
            part = inner(columns[i], column)
            found[i, k] += part
            column -= np.repeat(part, lengths) * columns[i]
        if k < count:
            length = np.sqrt(inner(column, column))
            known = length > _NOTHING * whole
            found[k, k] = np.where(known, length, 0.0)
            column *= np.repeat(np.where(known, 1.0 / np.where(known, length, 1.0), 0.0), lengths)
    return found


def roots_of(problem: Problem) -> LeafRoots:
    """Square roots of a gaussian problem's leaves: from its rows, or where there are none its statistics."""
    return leaf_roots(problem) if problem.has_rows else _of_statistics(problem.statistics)


def _of_statistics(found: LeafStatistics) -> LeafRoots:
    p, c = found.n_effects, found.n_covariates
    fit = _pooled_by_statistics(found)
    gap = found.fit @ np.append(1.0, -fit[p:]) - fit[:p]
    right = np.concatenate([found.fit[..., 1:], gap[..., None]], axis=2)
    A = np.concatenate([found.root, found.root @ right], axis=2)
    if np.tril(found.root, -1).any():
        turn, _ = np.linalg.qr(found.root)
        A = np.swapaxes(turn, 1, 2) @ A
    remainder = _root(found.residual)
    remainder[:c, c] -= remainder[:c, :c] @ fit[p:]
    return LeafRoots(
        fit,
        np.ascontiguousarray(np.moveaxis(A, 0, -1)),
        remainder,
        found.n_rows,
        found.sum_log_weights,
    )


def _pooled_by_statistics(found: LeafStatistics) -> FloatArray:
    """Least squares of all rows together, (p + c,)."""
    p, c = found.n_effects, found.n_covariates
    about = found.root @ found.fit
    design = np.concatenate([found.root, about[..., 1:]], axis=2).reshape(-1, p + c)
    gram, linear = design.T @ design, design.T @ about[..., 0].ravel()
    gram[p:, p:] += found.residual[1:, 1:]
    linear[p:] += found.residual[1:, 0]
    return solve_normal(gram, linear)


def _root(S: FloatArray) -> FloatArray:
    """Upper triangle R of R'R = S, the first row and column of S last; directions of S may say nothing."""
    order = np.roll(np.arange(len(S)), -1)
    ordered = S[np.ix_(order, order)]
    scale = np.sqrt(np.where(np.diag(ordered) > 0, np.diag(ordered), 1.0))
    values, vectors = np.linalg.eigh(ordered / np.outer(scale, scale))
    half = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    return np.asarray(np.linalg.qr(half * scale, mode="r"))
