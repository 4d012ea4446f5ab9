"""Square roots of the leaves where rows are not in memory: from the statistics that stand for them.

With U, m_y, M_z and S of `nestor.data.statistics.leaf`, and R the square root of S with the covariates
before the outcome, the squared residuals at coefficients m + delta of a leaf and g + epsilon of the
covariates are

    |U delta + U M_z epsilon - U (m_y - M_z g - m)|^2  +  |R (g + epsilon, -1)|^2, the latter over all leaves,

so that the triangles of `nestor_reference.leaves` are U [I, M_z, m_y - M_z g - m], and R with R_zy - R_zz g
in the place of R_zy. Nothing is subtracted but the pivots m and g.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor_reference.leaves import LeafRoots, leaf_roots, solve_normal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.data.statistics import LeafStatistics

    type FloatArray = NDArray[np.float64]


def roots_of(problem: Problem) -> LeafRoots:
    """Square roots of a gaussian problem's leaves: from its rows, or where there are none its statistics."""
    return leaf_roots(problem) if problem.has_rows else _of_statistics(problem.statistics)


def _of_statistics(found: LeafStatistics) -> LeafRoots:
    p, c = found.n_effects, found.n_covariates
    fit = _pooled(found)
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


def _pooled(found: LeafStatistics) -> FloatArray:
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
