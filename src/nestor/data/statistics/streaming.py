"""From batches of rows to leaf statistics, tree and priors, in one pass and without keeping rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from nestor.data.index.columns import encode
from nestor.data.index.growing import GrowingTree, in_leaf_order
from nestor.data.index.spelling import refuse_respelt
from nestor.data.resolve import ResolvedPriors, resolve
from nestor.data.rows import constant_predictor, refuse_two_intercepts
from nestor.data.statistics.columns import (
    ColumnReader,
    missing_columns,
    number_columns,
    refuse_spec,
)
from nestor.data.statistics.leaf import LeafStatistics, from_moments
from nestor.data.statistics.magnitude import refuse_magnitude
from nestor.data.statistics.moments import RunningMoments
from nestor.data.statistics.totals import Totals
from nestor.errors import DataError
from nestor.model.names import INTERCEPT
from nestor.model.terms import numeric_column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from nestor.data.index import TreeIndex
    from nestor.model.spec import ModelSpec


@dataclass(frozen=True)
class Batch:
    """Some rows, and how messages call them."""

    table: pa.Table
    where: str


@dataclass(frozen=True)
class Streamed:
    """What is left of rows that have been read; of the outcome its two values, if it has no more."""

    index: TreeIndex
    priors: ResolvedPriors
    statistics: LeafStatistics
    two_values: tuple[float, float] | None = None


def stream(
    spec: ModelSpec, batches: Iterable[Batch], *, missing: Literal["error", "group"]
) -> Streamed:
    """Read batches of rows, each once.

    Raises
    ------
    DataError
        If rows do not fit the description; the message says where they are.
    Unsupported
        If the description needs rows.
    """
    refuse_spec(spec)
    reader = ColumnReader.of(spec)
    tree = GrowingTree(spec.level_names, missing)
    sums = RunningMoments(len(reader.terms), centred=INTERCEPT in spec.effects)
    totals: Totals | None = None
    values: frozenset[float] | None = frozenset() if spec.offset is None else None
    for batch in batches:
        if not batch.table.num_rows:
            continue
        with _named(batch.where):
            columns, weights = reader.read(batch.table)
            here, leaf = tree.add(batch.table)
        values = _few(values, columns[len(reader.slopes)])
        here_totals = Totals.of(columns, None if totals is None else totals.origin)
        totals = here_totals if totals is None else totals.merged(here_totals)
        order, starts = in_leaf_order(here, len(leaf))
        if order is not None:
            columns = np.take(columns, order, axis=1)
            weights = None if weights is None else weights[order]
        sums.add(columns, weights, starts, leaf, tree.n_leaves)
    if totals is None:
        raise DataError("there are no rows.")
    found = _finished(spec, reader, tree, sums, totals)
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    return found if low == high else replace(found, two_values=(low, high))


def _few(before: frozenset[float] | None, column: NDArray[np.float64]) -> frozenset[float] | None:
    """Distinct values so far, while there are no more than two; None from then on."""
    if before is None:
        return None
    low, high = float(column.min()), float(column.max())
    values = before | {low, high}
    return values if len(values) <= 2 and ((column == low) | (column == high)).all() else None


def _finished(
    spec: ModelSpec,
    reader: ColumnReader,
    tree: GrowingTree,
    sums: RunningMoments,
    totals: Totals,
) -> Streamed:
    for j, term in enumerate(reader.terms):
        if term not in (None, INTERCEPT) and totals.is_constant(j):
            raise constant_predictor(str(term), float(totals.low[j]))
    moments = sums.moments()
    index, order = tree.index(moments.rows)
    place = {term: j for j, term in enumerate(reader.terms)}
    priors = resolve(spec, lambda term: totals.summary(place[term]))
    refuse_magnitude(spec, reader.terms, moments, totals.is_zero)
    return Streamed(
        index=index,
        priors=priors,
        statistics=from_moments(moments.take(order), spec.effects),
    )


def read_tables(spec: ModelSpec, tables: Iterable[pd.DataFrame | pa.Table]) -> Iterator[Batch]:
    """Name the tables that a caller hands over, and pick their columns.

    Raises
    ------
    DataError
        If they are no tables, or one is none, lacks a column or has one that cannot be used.
    """
    _refuse_one_table(tables)
    levels, numbers = spec.level_names, number_columns(spec)
    for i, table in enumerate(tables):
        where = f"table {i}"
        with _named(where):
            refuse_two_intercepts(spec, _column_names(table))
            yield Batch(_arrow(table, levels, numbers), where)


def _column_names(table: object) -> list[object]:
    """Names of a table's columns; of what is no table none."""
    if isinstance(table, pa.Table | pa.RecordBatch):
        return list(table.schema.names)
    return list(table.columns) if isinstance(table, pd.DataFrame) else []


def _refuse_one_table(tables: object) -> None:
    """Refuse what is no iterable of tables; a table is one too, of its columns' names."""
    single = pd.DataFrame | pa.Table | pa.RecordBatch
    if isinstance(tables, single):
        raise DataError(
            f"batches must be a list of tables, or an iterator over them, not one "
            f"{type(tables).__name__}. Give [table]; or, since it is in memory, use "
            "Problem(spec, table)."
        )
    no_list = isinstance(tables, str | bytes | Mapping) or not isinstance(tables, Iterable)
    if no_list or (isinstance(tables, np.ndarray) and not tables.ndim):
        raise DataError(
            "batches must be a list of tables, or an iterator over them, not "
            f"{type(tables).__name__}."
        )


def _arrow(
    table: pd.DataFrame | pa.Table, levels: Sequence[str], numbers: Sequence[str]
) -> pa.Table:
    wanted = list(dict.fromkeys((*levels, *numbers)))
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if isinstance(table, pa.Table):
        missing_columns(wanted, table.column_names)
        return table.select(wanted)
    if not isinstance(table, pd.DataFrame):
        raise DataError(
            f"it must be a pandas DataFrame or a pyarrow Table, not {type(table).__name__}."
        )
    missing_columns(wanted, list(table.columns), list(table.index.names))
    refuse_respelt(table, levels)
    picked = pd.DataFrame({name: _column(table[name], name in numbers) for name in wanted})
    for name in levels:
        column = picked[name]
        categories = (
            column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
        )
        if categories.dtype == object:
            encode(column, name)  # of mixed types Arrow would make one
        if (
            column.dtype == object
        ):  # as it would make floats of whole numbers beside some kinds of gaps
            values = column.to_numpy(copy=True)
            values[column.isna().to_numpy()] = None
            picked[name] = pd.Series(values, index=column.index, dtype=object)
    try:
        return pa.Table.from_pandas(picked, preserve_index=False)
    except (
        pa.ArrowException,
        ValueError,
        TypeError,
        ArithmeticError,
        NotImplementedError,
    ) as error:
        # Explained as for a table that is not read in batches, which knows labels' own types.
        for name in levels:
            encode(picked[name], name)
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError(f"its columns cannot become those of an Arrow table: {said}.") from None


def _column(column: pd.Series[Any], is_number: bool) -> pd.Series[Any]:
    """Return a column that Arrow knows; of numbers that are objects, what a table would make of them."""
    if isinstance(column.dtype, pd.SparseDtype):
        column = pd.Series(np.asarray(column), index=column.index)
    if is_number and len(column) and column.dtype.kind in "Oc":
        values = numeric_column({str(column.name): column}, str(column.name))
        return pd.Series(values, index=column.index)
    # Arrow has no longer floats than doubles.
    return column.astype(np.float64) if column.dtype == np.longdouble else column


@contextlib.contextmanager
def _named(where: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
