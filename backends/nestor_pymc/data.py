"""The rows of a gaussian outcome, reduced to one weighted row for each effect of each leaf.

By its statistics a leaf says of its coefficients beta, gamma given,

    sum over j of d_j (v_j' beta - (rho_j - R_j' delta))^2 / sigma^2,     delta = gamma - pivot,

one weighted row for each effect, v_j having a one at j and zeros before it: with U, m_y and M_z of
`nestor.data.statistics.leaf`, d_j is the square of U's diagonal, v_j its row over the diagonal,
rho_j = v_j' m_y and R_j = v_j' M_z. With an intercept, the first row is the mean of the leaf's rows,
weighted by their number.
Before, the outcome was taken less Z pivot, pivot being gamma's least-squares estimate, so that what is left
of it is small wherever the covariates explain much.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from nestor.data.statistics import leaf_statistics
from nestor.model.names import INTERCEPT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.data.statistics import LeafStatistics
    from nestor.stats.arrays import FloatArray


#: Share of a column's squares below which what other columns, or leaves, leave of it is not followed.
_TOLD = 1e-7


@dataclass(frozen=True, eq=False)
class LeafRows:
    """p weighted rows for each of n leaves; c covariates.

    Parameters
    ----------
    order : ndarray of intp, (p,)
        The effect of each column: an intercept comes first.
    weights : ndarray, (p, n)
        d; zero where a leaf says nothing.
    slopes : ndarray, (p, p, n)
        v: ``slopes[j, k]`` is the coefficient of effect ``order[k]`` in row j.
    fit : ndarray, (p, n)
        rho.
    covariates : ndarray, (p, c, n)
        R.
    residual : ndarray, (1 + c, 1 + c)
        Cross-products, outcome first, of what the leaves' own fits leave; see `LeafStatistics.residual`.
    pivot : ndarray, (c,)
        What delta is counted from.
    n_rows : int
        Rows of the data, N.
    sum_log_weights : float
        Of their weights.
    """

    order: NDArray[np.intp]
    weights: FloatArray
    slopes: FloatArray
    fit: FloatArray
    covariates: FloatArray
    residual: FloatArray
    pivot: FloatArray
    n_rows: int
    sum_log_weights: float

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Reduce a problem's rows.

        Raises
        ------
        Unsupported
            If the outcome is not gaussian.
        """
        pivot = _pivot(problem.statistics)
        statistics = _less_pivot(problem, pivot)
        order = np.argsort([effect != INTERCEPT for effect in problem.effects], kind="stable")
        root = statistics.root[:, order[:, None], order]
        diagonal = np.diagonal(root, axis1=1, axis2=2)
        known = diagonal > 0
        slopes = root / np.where(known, diagonal, 1.0)[..., None]
        slopes[:, range(len(order)), range(len(order))] = 1.0
        right = np.moveaxis(slopes @ statistics.fit[:, order], 0, -1)
        return cls(
            order=order,
            weights=np.ascontiguousarray(diagonal.T**2),
            slopes=np.ascontiguousarray(np.moveaxis(slopes, 0, -1)),
            fit=np.ascontiguousarray(right[:, 0]),
            covariates=np.ascontiguousarray(right[:, 1:]),
            residual=statistics.residual,
            pivot=pivot,
            n_rows=statistics.n_rows,
            sum_log_weights=statistics.sum_log_weights,
        )

    @property
    def n_covariates(self) -> int:
        """Number of covariates, c."""
        return len(self.pivot)

    @property
    def observed(self) -> Mapping[str, FloatArray]:
        """What depends on the outcome, by the names of the model's shared variables."""
        found = {"outcome_fit": self.fit, "outcome_residual": self.residual}
        return found | {"outcome_pivot": self.pivot} if self.n_covariates else found


def _less_pivot(problem: Problem, pivot: FloatArray) -> LeafStatistics:
    """Statistics with the outcome less Z pivot."""
    statistics = problem.statistics
    if not pivot.size:
        return statistics
    if problem.has_rows:
        # From the rows again: the difference below loses what gamma explains to cancellation.
        return leaf_statistics(problem.with_outcome(problem.y - problem.Z @ pivot))
    fit, away = statistics.fit.copy(), np.eye(1 + len(pivot))
    fit[..., 0] -= fit[..., 1:] @ pivot
    away[1:, 0] = -pivot
    residual = away.T @ statistics.residual @ away
    return replace(statistics, fit=fit, residual=residual, residual_by_leaf=None)


def _pivot(statistics: LeafStatistics) -> FloatArray:
    """Least-squares estimate of gamma, (c,): of all rows with one beta, corrected by what leaves tell.

    With little noise nothing counts but what varies within leaves. Any pivot is exact; where the data say
    nothing, or a covariate is a function of the effects but for little, it is not moved.
    """
    p, c = statistics.n_effects, statistics.n_covariates
    if c == 0:
        return np.zeros(0)
    fits = statistics.root @ statistics.fit
    design = np.concatenate([statistics.root, fits[..., 1:]], axis=2)
    gram = np.einsum("nji,njk->ik", design, design)
    linear = np.einsum("nji,nj->i", design, fits[..., 0])
    within, own = statistics.residual[1:, 1:], statistics.residual[1:, 0]
    gram[p:, p:] += within
    linear[p:] += own
    scale = np.sqrt(np.where(np.diag(gram) > 0, np.diag(gram), 1.0))
    found, *_ = np.linalg.lstsq(gram / np.outer(scale, scale), linear / scale, rcond=_TOLD)
    pivot, scale = (found / scale)[p:], scale[p:]
    inverse = _inverse(within / np.outer(scale, scale))
    return np.asarray(pivot + inverse @ ((own - within @ pivot) / scale) / scale)


def _inverse(share: FloatArray) -> FloatArray:
    """Pseudo-inverse of shares of squares, (c, c), in the directions that tell enough."""
    left, values, right = np.linalg.svd(share)
    over = np.where(values > _TOLD, 1.0 / np.maximum(values, _TOLD), 0.0)
    return np.asarray(right.T @ (over[:, None] * left.T))
