"""The data as likelihoods of sampled coefficients read them: columns of rows, or leaf statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor.data.statistics import merged_rows
from nestor.model.names import INTERCEPT
from nestor_numba import covariates
from nestor_numba import sampled_places as at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.data.statistics import LeafStatistics
    from nestor_numba.piles import Pile

    type FloatArray = NDArray[np.float64]


def statistics_about_pivot(problem: Problem) -> tuple[FloatArray, LeafStatistics]:
    """A pivot of gamma, (c,), and the statistics of the outcome less what it explains."""
    gamma = covariates.pivot(problem.statistics)
    return gamma, covariates.less(problem, problem.statistics, gamma)


def put_statistics(
    header: NDArray[np.int64],
    constants: Pile,
    gamma: FloatArray,
    statistics: LeafStatistics,
    stride: int,
) -> dict[str, int]:
    """Put leaf statistics down, rows of `stride` leaves; returns what they say of the kind."""
    p, n = statistics.n_effects, statistics.n_leaves
    triangular = not np.tril(statistics.root, -1).any()
    entries = [(i, j) for i in range(p) for j in (range(i, p) if triangular else range(p))]
    roots = np.zeros((len(entries), stride))
    for row, (i, j) in zip(roots, entries, strict=True):
        row[:n] = statistics.root[:, i, j]
    fit = np.zeros((p, 1 + len(gamma), stride))
    fit[..., :n] = np.moveaxis(statistics.fit, 0, -1)
    header[at.ROOT], header[at.FIT] = constants.put(roots), constants.put(fit)
    header[at.RESIDUAL] = constants.put(statistics.residual)
    header[at.GAMMA_PIVOT] = constants.put(gamma)
    return {"statistics": 1, "triangular": int(triangular), "weighted": 0, "counted": 0}


def put_rows(
    header: NDArray[np.int64], constants: Pile, integers: Pile, problem: Problem, *, merged: bool
) -> dict[str, int]:
    """Put the columns of rows down, distinct ones with counts if asked; returns what they say of the kind.

    Raises
    ------
    Unsupported
        If rows are to be merged and no two are the same.
    """
    distinct = merged_rows(problem) if merged else None
    found = problem.rows if distinct is None else distinct
    effects = problem.effects
    columns = [found.y if found.offset is None else found.y - found.offset]
    columns += [x for x, effect in zip(found.X.T, effects, strict=True) if effect != INTERCEPT]
    columns += list(found.Z.T)
    if found.weights is not None:
        columns.append(found.weights)
    if distinct is not None:
        columns.append(distinct.count.astype(np.float64))
    stride = len(found.y) + at.LANES
    padded = np.zeros((len(columns), stride))
    for row, column in zip(padded, columns, strict=True):
        row[: -at.LANES] = column
    header[at.COLUMNS], header[at.ROW_STRIDE] = constants.put(padded), stride
    sizes = np.bincount(found.leaf, minlength=problem.index.n_leaves)
    header[at.STARTS] = integers.put(np.append(0, np.cumsum(sizes)))
    weighted = int(found.weights is not None)
    return {"statistics": 0, "triangular": 0, "weighted": weighted, "counted": int(merged)}
