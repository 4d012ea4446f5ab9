"""Leaf statistics of the outcome less what a pivot of gamma explains of it.

The residual sum of squares at gamma is a difference of large numbers where sigma is small beside what the
covariates explain; about a pivot near the posterior's gamma it is not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.problem import Problem
    from nestor.statistics import LeafStatistics

    type FloatArray = NDArray[np.float64]

#: Share of the information within leaves that keeps the pivot near the fit to all rows where it is none.
_RIDGE = 1e-10


def about_gamma(problem: Problem) -> tuple[FloatArray, LeafStatistics]:
    """Choose a pivot of gamma, (c,), and return the statistics of the outcome less Z times it.

    Where rows are in memory they are read once more, which keeps all digits.

    Raises
    ------
    Unsupported
        If the outcome has no leaf statistics.
    """
    found = problem.statistics
    pivot = _pivot(found)
    if not len(pivot):
        return pivot, found
    if problem.has_rows:
        return pivot, problem.with_outcome(problem.y - problem.Z @ pivot).statistics
    turn = np.eye(1 + len(pivot))
    turn[1:, 0] = -pivot
    return pivot, replace(found, fit=found.fit @ turn, residual=turn.T @ found.residual @ turn)


def _pivot(found: LeafStatistics) -> FloatArray:
    """Least-squares gamma within leaves, and between them in directions in which leaves say nothing."""
    if found.n_covariates == 0:
        return np.zeros(0)
    about = found.root @ (found.fit - found.pooled)
    total = found.residual + np.einsum("nim,nik->mk", about, about)
    scale = np.sqrt(np.diag(total)[1:])
    scale = np.where(scale > 0, scale, 1.0)
    A, b = total[1:, 1:] / np.outer(scale, scale), total[1:, 0] / scale
    between = np.linalg.lstsq(A, b, rcond=None)[0]
    A, b = found.residual[1:, 1:] / np.outer(scale, scale), found.residual[1:, 0] / scale
    ridge = _RIDGE * (1.0 + np.trace(A)) * np.eye(len(scale))
    return np.asarray((between + np.linalg.solve(A + ridge, b - A @ between)) / scale)
