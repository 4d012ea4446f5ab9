"""Which levels should be sampled centred, and which non-centred.

Where the data inform a node's coefficient more than its prior does, that is, where their information
exceeds 1/tau^2, the centred form mixes better. Where they inform it less, the non-centred form mixes better,
and the centred one has a funnel. For a normal model this is exact: the rates of convergence of both forms
depend only on tau^2 times the information, and are equal where this is 1 (Papaspiliopoulos, Roberts and Skold
2007, "A general framework for the parametrization of hierarchical models", Statistical Science 22, section
2). Betancourt and Girolami (2013, "Hamiltonian Monte Carlo for hierarchical models", arXiv 1312.0906) show
the same for Hamiltonian Monte Carlo.

The numbers are rough. One pass up the tree gives each node a gaussian likelihood (P, h) for its coefficients:
P = X'WX / sigma^2 in a leaf, and in a parent the sum of its children's messages,
P - P L (I + L P L)^-1 L P with L = diag(tau). A node's information about an effect is marginal,
1 / (P^-1)_jj: its other varying effects are unknown. tau^2 of a level is estimated by moments, from the
spread of its nodes' estimates about their parent's (DerSimonian and Laird 1986, "Meta-analysis in clinical
trials", Controlled Clinical Trials 7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nestor.data.statistics import LeafStatistics, Moments
from nestor.data.statistics.leaf import from_moments
from nestor.model.names import INTERCEPT

if TYPE_CHECKING:
    from nestor.data.problem import LevelDesign, Problem
    from nestor.stats.arrays import FloatArray


#: Relative to P_jj: marginal information below it is rounding error.
_NEGLIGIBLE = 1e-9
#: Lower bound of the variance within leaves, relative to the total: rows that fit exactly are rounded too.
_SMALLEST = 1e-12
#: Residuals are clipped at so many standard deviations, as M-estimates usually do.
_CLIP = 3.0
_ROUNDS = 5
#: Median absolute deviation of a standard normal variable.
_MAD = 0.6745


class _Nodes(NamedTuple):
    """Each node's likelihood for its coefficients: log density -1/2 d'P d + h'd, up to a constant.

    precision : ndarray, (n, p, p)
        P.
    linear : ndarray, (n, p)
        h, where d are coefficients minus the coefficients of all rows together.
    """

    precision: FloatArray
    linear: FloatArray


def data_over_prior(problem: Problem) -> dict[str, float]:
    """Return for each level the ratio of its nodes' data information to their prior's.

    Parameters
    ----------
    problem : Problem
        Model and data. A Student-t outcome is treated as gaussian, with residuals beyond three robust
        standard deviations clipped: within a factor of two of the Fisher
        information of a row, (nu + 1) / (nu + 3) / sigma^2.

    Returns
    -------
    dict of str to float
        By level, tau^2 times the information of its median node, of the effect for which that is least: one
        funnel is enough. Zero where the nodes' estimates spread no more than their errors do; no entry
        for a level at which nothing varies.
    """
    found: dict[str, float] = {}
    gaussian = problem.spec.family == "gaussian"
    statistics = problem.statistics if gaussian else _clipped(problem)
    nodes, pooled = _leaf_likelihoods(problem, statistics)
    for k, level in reversed(list(enumerate(problem.levels))):
        information, estimate = _marginal(_varying_effects(level, nodes))
        variance = np.zeros(len(problem.effects))
        for i, j in enumerate(level.varying):
            # The root of an effect without population mean is known: it is zero.
            known = k == 0 and not problem.population_mask[j]
            root = -float(pooled[j]) if known else None
            variance[j] = _variance(level, estimate[:, i], information[:, i], root)
        if len(level.varying):
            found[level.name] = float(
                (np.median(information, axis=0) * variance[level.varying]).min()
            )
        nodes = _pass_up(level, nodes, np.sqrt(variance))
    return {level.name: found[level.name] for level in problem.levels if level.name in found}


def _leaf_likelihoods(problem: Problem, statistics: LeafStatistics) -> tuple[_Nodes, FloatArray]:
    """Each leaf's likelihood, and coefficients of all rows together, (p,), with covariates projected out."""
    S = statistics.residual
    gamma, *_ = np.linalg.lstsq(S[1:, 1:], S[1:, 0], rcond=None)
    contrast = np.concatenate([[1.0], -gamma])
    pooled = statistics.pooled @ contrast
    gap = statistics.fit @ contrast - pooled
    half = np.einsum("nij,nj->ni", statistics.root, gap)
    within = float(contrast @ S @ contrast)
    sigma2 = _sigma2(problem, statistics, within, within + float(np.sum(half**2)))
    linear = np.einsum("nji,nj->ni", statistics.root, half)
    return _Nodes(statistics.gram / sigma2, linear / sigma2), pooled


def _sigma2(problem: Problem, statistics: LeafStatistics, within: float, total: float) -> float:
    """Error variance of a row, from residuals within leaves where these have degrees of freedom."""
    fixed = problem.priors.family["sigma"]
    if fixed.is_fixed:
        return float(fixed.value) ** 2
    ranks = np.count_nonzero(np.diagonal(statistics.root, axis1=1, axis2=2))
    c = statistics.n_covariates
    left = statistics.n_rows - ranks - c
    # Where no leaf has a row to spare, all that is known is that sigma is no larger than this.
    most = total / max(1, statistics.n_rows - statistics.n_effects - c)
    found = within / left if left > 0 else most
    return max(found, _SMALLEST * most) or 1.0


def _varying_effects(level: LevelDesign, nodes: _Nodes) -> _Nodes:
    """Nodes' likelihood for the effects that vary at their level, other effects pooled over siblings."""
    P, linear = nodes.precision, nodes.linear
    inherited = np.setdiff1d(np.arange(P.shape[1]), level.varying)
    if len(inherited):
        _, parents = _marginal(_pass_up(level, nodes, np.zeros(P.shape[1])))
        linear = linear - np.einsum(
            "nij,nj->ni", P[:, :, inherited], parents[level.parent][:, inherited]
        )
    return _Nodes(P[:, level.varying][:, :, level.varying], linear[:, level.varying])


def _marginal(nodes: _Nodes) -> tuple[FloatArray, FloatArray]:
    """Marginal information about each effect, other effects unknown, and its estimate; both (n, p)."""
    P = nodes.precision
    n, p, _ = P.shape
    information, estimate = np.zeros((n, p)), np.zeros((n, p))
    for j in range(p):
        rest = np.concatenate([P, nodes.linear[:, :, None]], axis=2)
        for k in (k for k in range(p) if k != j):
            known = rest[:, k, k] > _NEGLIGIBLE * P[:, k, k]
            scale = np.where(known, 1.0 / np.where(known, rest[:, k, k], 1.0), 0.0)
            rest -= rest[:, :, k, None] * rest[:, None, k, :] * scale[:, None, None]
        known = rest[:, j, j] > _NEGLIGIBLE * P[:, j, j]
        information[:, j] = np.where(known, rest[:, j, j], 0.0)
        estimate[:, j] = np.where(known, rest[:, j, p] / np.where(known, rest[:, j, j], 1.0), 0.0)
    return information, estimate


def _variance(level: LevelDesign, m: FloatArray, w: FloatArray, root: float | None) -> float:
    """Estimate tau^2 of one effect at a level by moments; zero if errors alone explain the spread.

    Parameters
    ----------
    m, w : ndarray, (n,)
        Estimates and their precisions.
    root : float or None
        What the nodes spread about, where that is known; else each parent's own mean.
    """
    told = w > 0
    m, w, parent = m[told], w[told], level.parent[told]
    if root is not None:
        spread, freedom, weight = float(w @ (m - root) ** 2), len(w), float(w.sum())
    else:
        of_parent = np.bincount(parent, w, level.n_parents)
        of_parent[of_parent == 0] = 1.0
        centre = np.bincount(parent, w * m, level.n_parents) / of_parent
        spread = float(w @ (m - centre[parent]) ** 2)
        freedom = len(w) - len(np.unique(parent))
        weight = float(w.sum() - (w**2 / of_parent[parent]).sum())
    return 0.0 if freedom <= 0 or weight <= 0 else max(0.0, spread - freedom) / weight


def _pass_up(level: LevelDesign, nodes: _Nodes, tau: FloatArray) -> _Nodes:
    """The parents' likelihood: the product of their children's messages."""
    P, p = nodes.precision, len(tau)
    both = np.concatenate([P, nodes.linear[:, :, None]], axis=2)
    M = np.eye(p) + tau[:, None] * P * tau
    message = both - (P * tau) @ np.linalg.solve(M, tau[:, None] * both)
    first = np.searchsorted(level.parent, np.arange(level.n_parents))
    total = np.add.reduceat(message, first)
    return _Nodes(total[:, :, :p], total[:, :, p])


def _clipped(problem: Problem) -> LeafStatistics:
    """Leaf statistics of rows whose residuals from a robust pooled fit are clipped.

    By modified residuals (Huber and Ronchetti 2009, "Robust Statistics", section 7.8), with the median
    absolute deviation as scale.
    """
    y = problem.y if problem.offset is None else problem.y - problem.offset
    design = np.column_stack([problem.X, problem.Z])
    w = np.ones(len(y)) if problem.weights is None else problem.weights
    weighted = (w[:, None] * design).T
    gram, clipped = weighted @ design, y
    for _ in range(_ROUNDS):
        fit, *_ = np.linalg.lstsq(gram, weighted @ clipped, rcond=None)
        residual = (y - design @ fit) * np.sqrt(w)
        centre = float(np.median(residual))
        bound = _CLIP * float(np.median(np.abs(residual - centre))) / _MAD
        clipped = design @ fit + np.clip(residual, centre - bound, centre + bound) / np.sqrt(w)
    slopes = [j for j, effect in enumerate(problem.effects) if effect != INTERCEPT]
    columns = np.ascontiguousarray(np.vstack([problem.X[:, slopes].T, clipped, problem.Z.T]))
    centred = INTERCEPT in problem.effects
    moments = Moments.of_sorted(columns, problem.weights, problem.index.starts, centred=centred)
    return from_moments(moments, problem.effects)
