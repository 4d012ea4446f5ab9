"""Rows for checks that need rows: the problem's own, or a few that give the same sums of squares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor.data.rows import Rows
from nestor.data.statistics.least_squares import semidefinite_root

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nestor.data.problem import Problem
    from nestor.stats.arrays import FloatArray


def surrogate_rows(problem: Problem) -> Rows:
    """Return rows whose squared residuals have the problem's sum, whatever the coefficients.

    Parameters
    ----------
    problem : Problem
        Model and data.

    Returns
    -------
    Rows
        The problem's own where they are in memory. Otherwise, with U, m_y, M_z and S of
        `nestor.data.statistics.leaf`, p rows for each leaf with the effects U, the covariates U M_z and the
        outcome U m_y, and 1 + c rows that know of covariates and outcome alone, the square root of S; all of
        weight one, and the outcome less its offset.
    """
    if problem.has_rows:
        return problem.rows
    found = problem.statistics
    n, p = found.n_leaves, found.n_effects
    of_leaves = (found.root @ found.fit).reshape(n * p, -1)
    of_all = _root(found.residual)
    leaf = np.concatenate([np.repeat(np.arange(n), p), np.full(len(of_all), n - 1)])
    about = np.concatenate([of_leaves, of_all])
    return Rows(
        order=np.arange(len(leaf)),
        leaf=leaf,
        y=about[:, 0],
        X=np.concatenate([found.root.reshape(n * p, p), np.zeros((len(of_all), p))]),
        Z=about[:, 1:],
        offset=None,
        weights=None,
    )


def mean_row_weight(problem: Problem) -> float:
    """Return the geometric mean of the rows' weights, of a problem whose rows are not in memory."""
    found = problem.statistics
    return float(np.exp(found.sum_log_weights / found.n_rows))


def rounding_of_sums(
    problem: Problem, point: Mapping[str, FloatArray], *, marginalized: bool = False
) -> float:
    """Bound the rounding difference of two log densities that are computed from the same sums over rows.

    The remainders enter as (1, -gamma)' S (1, -gamma), which is small beside its terms where covariates
    explain nearly all of the outcome: S then holds no more digits of it, whoever computes it.

    Parameters
    ----------
    problem : Problem
        Model and data.
    point : mapping of str to ndarray
        Canonical variables.
    marginalized : bool
        Whether gamma is integrated out; its part then is no larger than the outcome's.

    Returns
    -------
    float
        Absolute, four roundings of the largest terms; 0 where the rows are in memory.
    """
    if problem.has_rows:
        return 0.0
    lengths = np.sqrt(np.diag(problem.statistics.residual))
    gamma = np.zeros(len(lengths) - 1) if marginalized else point.get("gamma", np.zeros(0))
    prior = problem.priors.family["sigma"]
    sigma = float(prior.value) if prior.is_fixed else float(point["sigma"])
    size = float(lengths[0] + lengths[1:] @ np.abs(gamma)) / sigma
    return 4.0 * float(np.finfo(np.float64).eps) * size**2


def _root(S: FloatArray) -> FloatArray:
    """Return R of R'R = S, the outcome's column first; directions of S may say nothing."""
    order = np.roll(np.arange(len(S)), -1)
    triangle = semidefinite_root(S[np.ix_(order, order)][..., None], np.zeros((len(S), 1)))
    return np.asarray(triangle[:, np.argsort(order), 0])
