"""The arrays of a problem in the layout that makes the model's gradient fast."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nestor.data.statistics import merged_rows

if TYPE_CHECKING:
    from nestor.data.problem import Problem
    from nestor.data.rows import Rows
    from nestor.data.statistics import LeafStatistics, MergedRows
    from nestor.stats.arrays import FloatArray
    from nestor_numpyro.execution import Execution
    from nestor_numpyro.tree import TreeData


class RowsData(NamedTuple):
    """Arrays of a likelihood over rows, the model's argument, on the device.

    They are an argument rather than constants of the compiled program, so that XLA does not spend time
    on folding them and does not copy them into every program.

    Attributes
    ----------
    y : Array, (N,)
        Outcome.
    X : Array, (p, N)
        Effects, one contiguous row for each.
    Z : Array, (c, N)
        Covariates.
    offset : Array, (N,), or None
        Added to the linear predictor.
    scale_factor : Array, (N,), or None
        1 / sqrt(weight).
    leaf : Array of int32, (N,)
        Leaf of each row, non-decreasing.
    count : Array, (N,), or None
        How many rows are like it; None for one each.
    parents : tuple of Array of int32, (n,)
        For each level each node's parent, non-decreasing.
    """

    y: Any
    X: Any
    Z: Any
    offset: Any
    scale_factor: Any
    leaf: Any
    count: Any
    parents: tuple[Any, ...]


class StatisticsData(NamedTuple):
    """Arrays of a gaussian likelihood by leaf statistics (`nestor.data.statistics.LeafStatistics`).

    Attributes
    ----------
    parents : tuple of Array of int32, (n,)
        For each level each node's parent, non-decreasing.
    root : Array, (p, p, n)
        Square roots of the leaves.
    fit : Array, (p, 1 + c, n)
        Their least-squares coefficients of outcome and covariates.
    residual : Array, (1 + c, 1 + c)
        Cross-products of what these leave.
    gamma_pivot : Array, (c,)
        The outcome of these statistics is that less Z times this.
    n_rows, sum_log_weights : Array, ()
        Of the constants.
    """

    parents: tuple[Any, ...]
    root: Any
    fit: Any
    residual: Any
    gamma_pivot: Any
    n_rows: Any
    sum_log_weights: Any


type ModelData = RowsData | StatisticsData | TreeData


def rows_arrays(problem: Problem) -> RowsData:
    """Arrays of a likelihood over rows, on the host."""
    return _rows(problem, problem.rows, None)


def merged_arrays(problem: Problem) -> RowsData:
    """Arrays of a likelihood over distinct rows with counts, on the host.

    Raises
    ------
    Unsupported
        If no two rows are the same.
    """
    merged = merged_rows(problem)
    return _rows(problem, merged, merged.count.astype(np.float64))


def _rows(problem: Problem, rows: Rows | MergedRows, count: Any) -> RowsData:
    weights = rows.weights
    return RowsData(
        y=rows.y,
        X=rows.X.T,
        Z=rows.Z.T,
        offset=rows.offset,
        scale_factor=None if weights is None else 1.0 / np.sqrt(weights),
        leaf=rows.leaf,
        count=count,
        parents=tuple(level.parent for level in problem.levels),
    )


def statistics_arrays(problem: Problem) -> StatisticsData:
    """Arrays of a likelihood by leaf statistics, on the host.

    Raises
    ------
    Unsupported
        If the outcome is not gaussian.
    """
    pivot, found = about_gamma(problem)
    return StatisticsData(
        parents=tuple(level.parent for level in problem.levels),
        root=np.moveaxis(found.root, 0, -1),
        fit=np.moveaxis(found.fit, 0, -1),
        residual=found.residual,
        gamma_pivot=pivot,
        n_rows=np.float64(found.n_rows),
        sum_log_weights=np.float64(found.sum_log_weights),
    )


def put_data[T: ModelData](host: T, execution: Execution) -> tuple[T, float]:
    """Copy arrays to the device, in its precision; returns when they are there, and the seconds."""
    import jax

    def cast(array: Any) -> Any:
        kind = np.asarray(array).dtype.kind
        return np.asarray(array, dtype=np.int32 if kind == "i" else execution.dtype, order="C")

    return _put(jax.tree.map(cast, host), execution)


def with_outcome(data: RowsData, problem: Problem, execution: Execution) -> tuple[RowsData, float]:
    """Return `data` with the outcome of `problem`, and the seconds; the other arrays stay where they are."""
    y, seconds = _put(np.ascontiguousarray(problem.y, dtype=execution.dtype), execution)
    return data._replace(y=y), seconds


def _put(host: Any, execution: Execution) -> tuple[Any, float]:
    import jax

    begin = time.perf_counter()
    there = jax.block_until_ready(jax.device_put(host, execution.device))
    return there, time.perf_counter() - begin


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
