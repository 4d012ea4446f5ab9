"""A pivot for coefficients that do not vary, so that what they explain does not drown what is left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nestor.data.statistics import leaf_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.data.statistics import LeafStatistics

    type FloatArray = NDArray[np.float64]

#: Share of a covariate's squares that must be left of it beside the effects, or within leaves. What little is
#: left of one that they explain would ask for a coefficient far from any that the prior allows.
_LEFT = 1e-6


def pivot(statistics: LeafStatistics) -> FloatArray:
    """Least-squares gamma, (c,), as far as the data say anything; any value would do.

    That of all leaves with one beta, and then from within leaves, where sigma may be small beside what
    differs between them.
    """
    if statistics.n_covariates == 0:
        return np.zeros(0)
    explained = statistics.root @ statistics.fit[..., 1:]
    squares = np.square(explained).sum(axis=(0, 1)) + np.diag(statistics.residual)[1:]
    size = np.sqrt(np.where(squares > 0, squares, 1.0))
    away = statistics.root @ (statistics.fit - statistics.pooled)
    within = statistics.residual
    of_all = within + np.einsum("npi,npj->ij", away, away)
    gamma = _step(of_all, size, np.zeros(len(size)))
    return gamma + _step(within, size, gamma)


def _step(squares: FloatArray, size: FloatArray, gamma: FloatArray) -> FloatArray:
    """What least squares add to gamma, (c,), given cross-products with the outcome first, (1 + c, 1 + c)."""
    information, along = np.linalg.eigh(squares[1:, 1:] / np.outer(size, size))
    known = information > _LEFT
    score = (squares[1:, 0] - squares[1:, 1:] @ gamma) / size
    step = along[:, known] @ (along[:, known].T @ score / information[known])
    return np.asarray(step / size)


def less(problem: Problem, statistics: LeafStatistics, gamma: FloatArray) -> LeafStatistics:
    """Statistics of the outcome less the covariates times `gamma`."""
    if not gamma.size:
        return statistics
    if problem.has_rows:
        # From the rows again, since the difference below loses what gamma explains.
        return leaf_statistics(problem.with_outcome(problem.y - problem.Z @ gamma))
    fit, away = statistics.fit.copy(), np.eye(1 + len(gamma))
    fit[..., 0] -= fit[..., 1:] @ gamma
    away[1:, 0] = -gamma
    return replace(statistics, fit=fit, residual=away.T @ statistics.residual @ away)
