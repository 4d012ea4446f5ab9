"""A pivot for coefficients that do not vary, so that what they explain does not drown what is left."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nestor.statistics import leaf_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.problem import Problem
    from nestor.statistics import LeafStatistics

    type FloatArray = NDArray[np.float64]

#: Weight of a covariate's differences between leaves beside those within: next to nothing, yet they decide
#: where nothing differs within.
_BETWEEN = 1e-8


def pivot(statistics: LeafStatistics) -> FloatArray:
    """Least-squares gamma, (c,), as far as the data say anything; any value would do."""
    c = statistics.n_covariates
    if c == 0:
        return np.zeros(0)
    away = statistics.root @ (statistics.fit - statistics.pooled)
    between = np.einsum("npi,npj->ij", away, away)
    gram = statistics.residual + _BETWEEN * between
    scale = np.sqrt(np.where(np.diag(gram) > 0, np.diag(gram), 1.0))[1:]
    found, *_ = np.linalg.lstsq(
        gram[1:, 1:] / np.outer(scale, scale), gram[1:, 0] / scale, rcond=1e-10
    )
    return np.asarray(found / scale)


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
