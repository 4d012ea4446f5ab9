"""Whether draws were given a problem's data: rows against rows, or sums over leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.posterior.leaf_sums import ROUNDING, TOLERANCE, LeafSums, slopes
from nestor.runner.datatree import outcome_name, read_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.stats.arrays import FloatArray


_OFFSET, _WEIGHTS, _LEAVES = "the offset", "the weights", "the leaves"


def data_that_differ(problem: Problem, fit: xr.DataTree) -> str | None:
    """Say what differs between a problem's data and those that draws were given.

    Parameters
    ----------
    problem : Problem
        With rows or without.
    fit : DataTree
        Draws of the same terms; data that it lacks are not compared.

    Returns
    -------
    str or None
        None if nothing is known to differ.
    """
    counts = _stored_counts(fit)
    if counts is not None and not np.array_equal(counts, problem.index.rows_per_leaf):
        return _other_counts(int(counts.sum()), problem.n_rows)
    theirs = _stored_rows(problem, fit)
    names = []
    if problem.has_rows and theirs:
        n = len(theirs[repr(problem.spec.outcome)])
        if n != problem.n_rows:
            return _other_counts(n, problem.n_rows)
        names = _rows_that_differ(_own_rows(problem), theirs)
    elif problem.spec.family == "gaussian":  # of others there are no sums to compare
        sums = _stored_sums(problem, fit, theirs)
        names = [] if sums is None else _sums_that_differ(problem, sums)
    return f"they were given other values of {', '.join(names)}" if names else None


def _other_counts(theirs: int, own: int) -> str:
    if theirs == own:
        return "they were given other numbers of rows in some leaves"
    return f"they were given {theirs:,} rows, not {own:,}"


def _labels(problem: Problem) -> list[str]:
    """How messages call the columns of the rows, the leaves and the outcome first."""
    terms = (problem.spec.outcome, *problem.effects, *problem.spec.covariates)
    return [_LEAVES, *map(repr, terms), _OFFSET, _WEIGHTS]


def _own_rows(problem: Problem) -> dict[str, FloatArray]:
    rows = problem.rows
    given = (rows.leaf, rows.y, *rows.X.T, *rows.Z.T)
    return _labelled(problem, given, rows.offset, rows.weights)


def _labelled(
    problem: Problem,
    columns: Sequence[NDArray[Any]],
    offset: FloatArray | None,
    weights: FloatArray | None,
) -> dict[str, FloatArray]:
    """Label columns; no offset is one of zeros, and no weights are ones."""
    n = len(columns[0])
    offset = np.zeros(n) if offset is None else offset
    weights = np.ones(n) if weights is None else weights
    return dict(zip(_labels(problem), (*columns, offset, weights), strict=True))


def _stored_rows(problem: Problem, fit: xr.DataTree) -> dict[str, FloatArray]:
    """Columns that a fit stored, all of them or the outcome alone, or none."""
    observed, constant = (_group(fit, name) for name in ("observed_data", "constant_data"))
    y = next(
        (
            np.asarray(array.values)
            for name, array in observed.items()
            if name == outcome_name(problem) or "term" in array.attrs
        ),
        None,
    )
    if y is None or y.ndim != 1:
        return {}
    shapes = {"leaf": y.shape, "X": (*y.shape, len(problem.effects))}
    if problem.spec.covariates:
        shapes["Z"] = (*y.shape, len(problem.spec.covariates))
    shapes |= {name: y.shape for name in ("offset", "weights") if name in constant}
    if any(name not in constant or constant[name].shape != s for name, s in shapes.items()):
        return {repr(problem.spec.outcome): y}
    values = {name: np.asarray(array.values) for name, array in constant.items()}
    Z = values["Z"].T if problem.spec.covariates else ()
    columns = (values["leaf"], y, *values["X"].T, *Z)
    return _labelled(problem, columns, values.get("offset"), values.get("weights"))


def _group(fit: xr.DataTree, name: str) -> Mapping[str, xr.DataArray]:
    """Numbers of a group; leaves of rows are positions, which a tree made elsewhere may not have."""
    if name not in fit.children:
        return {}
    arrays = {str(n): array for n, array in fit[name].dataset.data_vars.items()}
    found = {n: array for n, array in arrays.items() if array.dtype.kind in "iuf" and array.size}
    if (leaf := found.get("leaf")) is not None and (
        leaf.dtype.kind == "f" or leaf.ndim != 1 or leaf.values.min() < 0
    ):
        del found["leaf"]
    return found


def _stored_counts(fit: xr.DataTree) -> NDArray[np.intp] | None:
    """Rows of each leaf that a fit stored."""
    constant = _group(fit, "constant_data")
    if "rows_per_leaf" in constant:
        return np.asarray(constant["rows_per_leaf"].values)
    return np.bincount(constant["leaf"].values) if "leaf" in constant else None


def _stored_sums(
    problem: Problem, fit: xr.DataTree, rows: Mapping[str, FloatArray]
) -> LeafSums | None:
    """Sums over leaves, from statistics or all columns of the rows that a fit stored."""
    statistics = read_statistics(fit)
    if statistics is not None:
        return LeafSums.of_statistics(statistics, problem.effects)
    return _sums_of_rows(problem, rows) if len(rows) > 1 else None


def _rows_that_differ(own: Mapping[str, FloatArray], theirs: Mapping[str, FloatArray]) -> list[str]:
    """Name the columns that differ in the order given and in any, whichever are fewer."""
    own = {name: own[name] for name in theirs}
    in_order = _that_differ(own, theirs)
    if not in_order:
        return []
    return min(in_order, _that_differ(_sorted(own), _sorted(theirs)), key=len)


def _sorted(columns: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Rows in the order of leaves, then of the outcome, then of the other columns."""
    order = np.lexsort([*columns.values()][::-1])  # the last key counts first
    return {name: column[order] for name, column in columns.items()}


def _that_differ(one: Mapping[str, FloatArray], other: Mapping[str, FloatArray]) -> list[str]:
    return [name for name in one if not _same_column(one[name], other[name])]


def _same_column(own: FloatArray, theirs: FloatArray) -> bool:
    """Whether columns are the same up to rounding, beside each number and the column's range."""
    size = np.abs(own)
    allowed = TOLERANCE * np.minimum(size, np.ptp(own)) + ROUNDING * size.max()
    return bool(np.all(np.abs(own - theirs) <= allowed))


def _sums_of_rows(problem: Problem, rows: Mapping[str, FloatArray]) -> LeafSums:
    """Sums over the leaves of columns that `_labels` names."""
    leaf, y, *others, offset, weights = rows.values()
    p, n = len(problem.effects), problem.index.levels[-1].n
    columns = [*(others[j] for j in slopes(problem.effects)), y - offset, *others[p:]]
    return LeafSums.of_rows(leaf.astype(np.intp), n, columns, weights, problem.effects)


def _sums_that_differ(problem: Problem, theirs: LeafSums) -> list[str]:
    own = LeafSums.of_statistics(problem.statistics, problem.effects)
    if own.cross.shape != theirs.cross.shape or own.total.shape != theirs.total.shape:
        return [_LEAVES]
    if not own.same_weights(theirs):
        return [_WEIGHTS]
    terms = [problem.effects[j] for j in slopes(problem.effects)]
    names = (*terms, problem.spec.outcome, *problem.spec.covariates)
    return [repr(name) for name, bad in zip(names, own.differ(theirs), strict=True) if bad]
