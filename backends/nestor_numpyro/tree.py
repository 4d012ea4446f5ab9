"""The tree of a gaussian problem: its layout, which programs are compiled for, and its arrays.

Coefficients of every node are counted from a pivot, a fit to the rows below it, so that all that is summed
on the way up are differences between neighbours. With m_y and M_z the pivots of the outcome and of the
covariates, node v has the pivot m_y - M_z gamma; a leaf's is its parent's. Any pivots give the same density;
good ones give it to more digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nestor.data.marginalization import not_marginalizable
from nestor.errors import Unsupported
from nestor_numpyro.children import Where
from nestor_numpyro.data import about_gamma
from nestor_numpyro.layout import Layout, Places, lay_out
from nestor_numpyro.leaves import leaf_arrays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.data.problem import Problem
    from nestor.data.statistics import LeafStatistics
    from nestor.stats.arrays import FloatArray


#: Share of a node's own information that keeps its pivot near the fit to all rows where it says nothing.
_RIDGE = 1e-8
#: Variance of effects between nodes in units of what a typical leaf's rows leave open.
_SPREAD = 1e4


@dataclass(frozen=True)
class Tree:
    """The static part: sizes and where nodes stand.

    Parameters
    ----------
    p, c : int
        Effects and covariates.
    population : tuple of int
        Effects with a population mean.
    varying : tuple of tuple of int
        For each level, from the top, the effects that vary.
    per_parent : tuple of bool
        For each level, whether each parent has scales of its own.
    layouts : tuple of Layout
        For each level.
    """

    p: int
    c: int
    population: tuple[int, ...]
    varying: tuple[tuple[int, ...], ...]
    per_parent: tuple[bool, ...]
    layouts: tuple[Layout, ...]


class TreeData(NamedTuple):
    """The arrays, the model's argument.

    Attributes
    ----------
    leaf : dict of str to Array, (..., slots)
        What the messages of leaves need (`nestor_numpyro.leaves.leaf_arrays`); zeros in padding.
    where : tuple of Where
        For each level, the indices of its slots.
    shift : tuple of Array, (p, 1 + c, slots)
        For each level but the leaves', pivots less the parents' pivots.
    root_shift : Array, (p, 1 + c)
        The root's pivot less the prior mean.
    root_mean, root_variance : Array, (p,)
        Prior of the population; zeros where it is fixed at zero.
    residual : Array, (1 + c, 1 + c)
        Cross-products of what the leaves' fits leave.
    gamma_pivot, gamma_mean, gamma_sd : Array, (c,)
        gamma is counted from its pivot; prior mean less the pivot, and prior standard deviation.
    n_rows, sum_log_weights : Array, ()
        Of the constants.
    """

    leaf: dict[str, Any]
    where: tuple[Where, ...]
    shift: tuple[Any, ...]
    root_shift: Any
    root_mean: Any
    root_variance: Any
    residual: Any
    gamma_pivot: Any
    gamma_mean: Any
    gamma_sd: Any
    n_rows: Any
    sum_log_weights: Any


def build_tree(problem: Problem) -> tuple[Tree, tuple[Places, ...]]:
    """Lay out a problem's tree.

    Raises
    ------
    Unsupported
        If coefficients cannot be integrated out.
    """
    if (reason := not_marginalizable(problem)) is not None:
        raise Unsupported(f"{reason}. Use sampled coefficients.")
    layouts, places = zip(*(lay_out(level) for level in problem.levels), strict=True)
    tree = Tree(
        p=len(problem.effects),
        c=len(problem.spec.covariates),
        population=tuple(problem.population_mask.nonzero()[0].tolist()),
        varying=tuple(tuple(level.varying.tolist()) for level in problem.levels),
        per_parent=tuple(level.per_parent for level in problem.levels),
        layouts=layouts,
    )
    return tree, places


def tree_arrays(problem: Problem, places: Sequence[Places]) -> TreeData:
    """Compute the arrays of a problem on the host, in double precision."""
    pivot, found = about_gamma(problem)
    pivots = _pivots(problem, found)
    mean = np.zeros(pivots[0].shape[1:])
    variance = np.zeros(len(mean))
    for j, effect in enumerate(problem.effects):
        if effect in problem.priors.beta:
            mean[j, 0], sd = problem.priors.beta[effect].args
            variance[j] = sd**2
    gamma = np.array([prior.args for prior in problem.priors.gamma.values()]).reshape(-1, 2)
    above = pivots[-1][problem.levels[-1].parent]
    leaf = leaf_arrays(found.root, found.root @ (found.fit - above))
    inner = zip(problem.levels, places, pivots[:-1], pivots[1:], strict=False)
    return TreeData(
        leaf={name: _in_slots(values, places[-1]) for name, values in leaf.items()},
        where=tuple(Where(p.node, p.slot, p.order, p.rank) for p in places),
        shift=tuple(_in_slots(own - up[level.parent], at) for level, at, up, own in inner),
        root_shift=pivots[0][0] - mean,
        root_mean=mean[:, 0],
        root_variance=variance,
        residual=found.residual,
        gamma_pivot=pivot,
        gamma_mean=gamma[:, 0] - pivot,
        gamma_sd=gamma[:, 1],
        n_rows=np.float64(found.n_rows),
        sum_log_weights=np.float64(found.sum_log_weights),
    )


def _in_slots(values: FloatArray, places: Places) -> FloatArray:
    """Lay values (n, ...) out as (..., slots); zeros in padding."""
    padded = np.concatenate([values, np.zeros((1, *values.shape[1:]))])
    return np.ascontiguousarray(np.moveaxis(padded[places.node], 0, -1))


def _pivots(problem: Problem, found: LeafStatistics) -> list[FloatArray]:
    """Pivots of the root and of every level but the leaves', each (n, p, 1 + c).

    They are the nodes' estimates from the rows below where effects vary a lot on the levels where they
    vary, `_SPREAD` times as much as a leaf's rows leave open: with effects that vary on some levels only,
    those that do not would otherwise take up what the others leave, and be far off where sigma is small.
    """
    p, A = found.n_effects, found.gram
    typical = np.einsum("njj->j", A) / found.n_leaves
    scale = np.sqrt(np.where(typical > 0, typical, 1.0))
    P = A / np.outer(scale, scale)
    linear = np.swapaxes(found.root, 1, 2) @ (found.root @ (found.fit - found.pooled))
    h = linear / scale[:, None]
    pivots = []
    for level in reversed(problem.levels):
        variance = np.zeros(p)
        variance[level.varying] = _SPREAD
        left = np.linalg.solve(np.eye(p) + P * variance, np.concatenate([P, h], axis=2))
        starts = np.searchsorted(level.parent, np.arange(level.n_parents))
        left = np.add.reduceat(left, starts)
        P, h = left[:, :, :p], left[:, :, p:]
        pivots.append(found.pooled + _estimate(P, h) / scale[:, None])
    return pivots[::-1]


def _estimate(P: FloatArray, h: FloatArray) -> FloatArray:
    """Solve P m = h of many nodes; m is near zero in directions of which P says nothing."""
    ridge = _RIDGE * np.trace(P, axis1=1, axis2=2)
    ridge = np.where(ridge > 0, ridge, 1.0)
    return np.asarray(np.linalg.solve(P + ridge[:, None, None] * np.eye(P.shape[1]), h))
