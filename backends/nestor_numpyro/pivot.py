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

    from nestor.data.problem import Problem
    from nestor.data.statistics import LeafStatistics

    type FloatArray = NDArray[np.float64]

#: Share of a covariate's squares that is put to what effects and leaves leave of it: where that is less, the
#: pivot stays where it is, and does not follow rounding.
_RIDGE = 1e-7


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
    whole = np.einsum("nim,nim->m", *2 * [found.root @ found.fit]) + np.diag(found.residual)
    scale = np.sqrt(np.where(whole > 0, whole, 1.0))[1:]
    pivot = np.zeros(len(scale))
    # Twice with all leaves together, so that the ridge's own pull is gone, then within leaves.
    for part in (total, total, found.residual, found.residual):
        A, b = part[1:, 1:] / np.outer(scale, scale), part[1:, 0] / scale
        pivot += np.linalg.solve(A + _RIDGE * np.eye(len(scale)), b - A @ pivot)
    return pivot / scale
