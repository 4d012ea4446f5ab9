"""From batches of rows to leaf statistics, tree and priors, in one pass and without keeping rows."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
import pyarrow as pa

from nestor.data.index.columns import encode
from nestor.data.index.growing_tree import GrowingTree, in_leaf_order
from nestor.data.index.spelling import refuse_respelt
from nestor.data.resolved_priors import ColumnSummary, ResolvedPriors, resolve_from_summaries
from nestor.data.rows import constant_predictor, refuse_two_intercepts, weight_column
from nestor.data.statistics.leaf import LeafStatistics, from_moments, refuse_magnitude
from nestor.data.statistics.moments import RunningMoments
from nestor.errors import DataError, Unsupported
from nestor.model.names import INTERCEPT
from nestor.model.terms import Column, Transform, evaluate, numeric_column, parse_term
from nestor.model.terms.evaluation import no_column, not_numeric

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nestor.data.index import TreeIndex
    from nestor.model.spec import ModelSpec
    from nestor.model.terms import Factor, Term
    from nestor.stats.arrays import FloatArray


@dataclass(frozen=True)
class Batch:
    """Some rows, and how messages call them."""

    table: pa.Table
    where: str


@dataclass(frozen=True)
class StreamedData:
    """What is kept of rows that were read in batches."""

    index: TreeIndex
    priors: ResolvedPriors
    statistics: LeafStatistics
    two_values: tuple[float, float] | None = None


def stream(
    spec: ModelSpec, batches: Iterable[Batch], *, missing: Literal["error", "group"]
) -> StreamedData:
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
    totals: ColumnTotals | None = None
    values: frozenset[float] | None = frozenset() if spec.offset is None else None
    for batch in batches:
        if not batch.table.num_rows:
            continue
        with _named(batch.where):
            columns, weights = reader.read(batch.table)
            here, leaf = tree.add(batch.table)
        values = _at_most_two(values, columns[len(reader.slopes)])
        here_totals = ColumnTotals.of(columns, None if totals is None else totals.origin)
        totals = here_totals if totals is None else totals.merged(here_totals)
        order, starts = in_leaf_order(here, len(leaf))
        if order is not None:
            columns = np.take(columns, order, axis=1)
            weights = None if weights is None else weights[order]
        sums.add(columns, weights, starts, leaf, tree.n_leaves)
    if totals is None:
        raise DataError("there are no rows.")
    found = _finish(spec, reader, tree, sums, totals)
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    return found if low == high else replace(found, two_values=(low, high))


def _at_most_two(before: frozenset[float] | None, column: FloatArray) -> frozenset[float] | None:
    """Distinct values so far while there are at most two; None afterwards."""
    if before is None:
        return None
    low, high = float(column.min()), float(column.max())
    values = before | {low, high}
    return values if len(values) <= 2 and ((column == low) | (column == high)).all() else None


def _finish(
    spec: ModelSpec,
    reader: ColumnReader,
    tree: GrowingTree,
    sums: RunningMoments,
    totals: ColumnTotals,
) -> StreamedData:
    for j, term in enumerate(reader.terms):
        if term not in (None, INTERCEPT) and totals.is_constant(j):
            raise constant_predictor(str(term), float(totals.low[j]))
    moments = sums.moments()
    index, order = tree.index(moments.rows)
    place = {term: j for j, term in enumerate(reader.terms)}
    priors = resolve_from_summaries(spec, lambda term: totals.summary(place[term]))
    refuse_magnitude(spec, reader.terms, moments, totals.is_zero)
    return StreamedData(
        index=index,
        priors=priors,
        statistics=from_moments(moments.take(order), spec.effects),
    )


def read_tables(spec: ModelSpec, tables: Iterable[pd.DataFrame | pa.Table]) -> Iterator[Batch]:
    """Name the tables that a caller hands over, and pick their columns.

    Raises
    ------
    DataError
        If one is not a table, lacks a column or has one that cannot be used.
    """
    _refuse_one_table(tables)
    levels, numbers = spec.level_names, number_columns(spec)
    for i, table in enumerate(tables):
        where = f"table {i}"
        with _named(where):
            refuse_two_intercepts(spec, _column_names(table))
            yield Batch(_arrow(table, levels, numbers), where)


def _column_names(table: object) -> list[object]:
    """Names of a table's columns; empty for anything that is not a table."""
    if isinstance(table, pa.Table | pa.RecordBatch):
        return list(table.schema.names)
    return list(table.columns) if isinstance(table, pd.DataFrame) else []


def _refuse_one_table(tables: object) -> None:
    """Refuse anything but an iterable of tables; a single table iterates over its columns' names."""
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
    """Return a column as Arrow holds it; numbers stored as objects are converted as in a table."""
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


_OF_ALL_ROWS = ("scale", "center")


def refuse_spec(spec: ModelSpec) -> None:
    """Refuse a description whose rows cannot be read in batches and forgotten.

    Raises
    ------
    Unsupported
        If the outcome is not gaussian, or a term is made of all rows.
    """
    if spec.family != "gaussian":
        raise Unsupported(
            f"rows can be read in batches and forgotten where leaf statistics hold all that there is to "
            f"know of them, that is, for gaussian outcomes, and {spec.outcome!r} is {spec.family}. "
            "Make the problem of the whole table: Problem(spec, read_table(path))."
        )
    for text in (spec.outcome, *spec.effects, *spec.covariates):
        for factor in parse_term(text).factors:
            if (found := _of_all_rows(factor)) is not None:
                raise Unsupported(
                    f"{found.text} needs the mean of all rows before the first of them can be used, and "
                    "rows are read in batches, once. Write its values to a column of the file, or "
                    "make the problem of the whole table: Problem(spec, read_table(path))."
                )


def _of_all_rows(factor: Factor) -> Transform | None:
    while not isinstance(factor, Column):
        if isinstance(factor, Transform):
            if factor.function in _OF_ALL_ROWS:
                return factor
            factor = factor.argument
        else:
            factor = factor.base
    return None


def number_columns(spec: ModelSpec) -> tuple[str, ...]:
    """Names of the columns that must be numbers, each once."""
    terms = (parse_term(text) for text in (spec.outcome, *spec.effects, *spec.covariates))
    names = [name for term in terms for name in term.columns]
    return tuple(dict.fromkeys(n for n in (*names, spec.offset, spec.weights) if n is not None))


@dataclass(frozen=True)
class ColumnReader:
    """Reads the columns (slopes, outcome minus offset, covariates) and weights of batches."""

    slopes: tuple[Term, ...]
    outcome: Term
    covariates: tuple[Term, ...]
    offset: str | None
    weights: str | None
    names: tuple[str, ...]

    @classmethod
    def of(cls, spec: ModelSpec) -> ColumnReader:
        """Parse the terms once."""
        return cls(
            slopes=tuple(parse_term(text) for text in spec.effects if text != INTERCEPT),
            outcome=parse_term(spec.outcome),
            covariates=tuple(parse_term(text) for text in spec.covariates),
            offset=spec.offset,
            weights=spec.weights,
            names=number_columns(spec),
        )

    @property
    def terms(self) -> tuple[str | None, ...]:
        """What each column is: a predictor's term, or None for the outcome minus the offset."""
        predictors = [term.name for term in self.slopes]
        return (*predictors, None, *(term.name for term in self.covariates))

    def read(self, table: pa.Table) -> tuple[FloatArray, FloatArray | None]:
        """Return the columns (d, N) and the weights (N,) of a batch.

        Raises
        ------
        DataError
            If a column is not numeric, or values are missing, infinite or, of weights, not positive.
        """
        numbers = {name: as_numbers(table[name], name) for name in self.names}
        # What overflows is infinite, and refused where all rows are known: `refuse_magnitude`.
        columns = np.empty((len(self.terms), table.num_rows))
        for row, term in zip(columns, (*self.slopes, self.outcome, *self.covariates), strict=True):
            row[:] = _values(term, numbers, table.num_rows)
        if self.offset is not None:
            with np.errstate(over="ignore"):
                columns[len(self.slopes)] -= numeric_column(numbers, self.offset)
        weights = None if self.weights is None else weight_column(numbers, self.weights)
        return columns, weights


def _values(term: Term, numbers: dict[str, FloatArray], rows: int) -> FloatArray:
    if not term.factors:
        return np.ones(rows)
    if len(term.factors) == 1 and isinstance(term.factors[0], Column):
        name = term.factors[0].name
        # A sum is finite if all values are, unless it overflows: then, and only then, look at each.
        with np.errstate(over="ignore", invalid="ignore"):
            total = numbers[name].sum()
        if np.isfinite(total):
            return numbers[name]
        return numeric_column(numbers, name)
    return evaluate(term, numbers)


def refuse_type(kind: Any, name: str, values: Iterable[Any] = ()) -> None:
    """Refuse a column whose Arrow type is not numeric; its values, (N,), may be shown in the message."""
    is_type = pa.types
    tests = (is_type.is_integer, is_type.is_floating, is_type.is_boolean, is_type.is_decimal)
    if not any(test(kind) for test in tests):
        raise not_numeric(name, f"type {kind}", values)


def as_numbers(column: pa.ChunkedArray, name: str) -> FloatArray:
    """Return a column as float64, (N,), NaN where it has no value."""
    refuse_type(column.type, name, (value.as_py() for value in column))
    values = column.cast(pa.float64(), safe=False)
    return np.asarray(values.to_numpy(), dtype=np.float64)


def missing_columns(
    wanted: Sequence[str], present: Sequence[object], in_index: Sequence[object] = ()
) -> None:
    """Refuse a table that lacks a column or has it twice."""
    for name in wanted:
        if name not in present:
            raise no_column(name, present, in_index)
        if (times := list(present).count(name)) > 1:
            raise DataError(f"there are {times} columns {name!r}; rename or drop the others.")


@dataclass(frozen=True)
class ColumnTotals:
    """Unweighted totals of d columns, merged by the formula of `nestor.data.statistics.moments`.

    Means are kept as distances from one value of each column: where the columns are far from zero, a
    mean's rounding error may exceed its change from batch to batch.

    Parameters
    ----------
    rows : int
        Number of rows.
    origin : ndarray, (d,)
        The value of each column from which its mean is counted.
    mean, squares, low, high : ndarray, (d,)
        Means minus the origin, sums of squared deviations from them, least and largest values.
    """

    rows: int
    origin: FloatArray
    mean: FloatArray
    squares: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, columns: FloatArray, origin: FloatArray | None = None) -> Self:
        """Totals of columns (d, N); a number beyond double precision becomes infinite, zero or NaN.

        Parameters
        ----------
        columns : ndarray, (d, N)
            At least one row.
        origin : ndarray, (d,), optional
            See `ColumnTotals`; the first row if there is none yet.
        """
        d, n = columns.shape
        origin = columns[:, 0].copy() if origin is None else origin
        mean, squares = np.empty(d), np.empty(d)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for j, column in enumerate(columns):
                apart = column - origin[j]
                first = apart.mean()
                apart -= first
                rest = apart.mean()
                mean[j] = first + rest
                squares[j] = max(np.square(apart, out=apart).sum() - n * (rest * rest), 0.0)
        return cls(n, origin, mean, squares, columns.min(axis=1), columns.max(axis=1))

    def merged(self, other: ColumnTotals) -> ColumnTotals:
        """Totals of the rows of both, which must share one origin."""
        rows = self.rows + other.rows
        share = other.rows / rows
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            shift = other.mean - self.mean
            return ColumnTotals(
                rows=rows,
                origin=self.origin,
                mean=self.mean + share * shift,
                squares=self.squares + other.squares + self.rows * share * shift**2,
                low=np.minimum(self.low, other.low),
                high=np.maximum(self.high, other.high),
            )

    def is_constant(self, j: int) -> bool:
        """Whether column `j` has one value in all rows."""
        return bool(self.low[j] == self.high[j])

    def is_zero(self, j: int) -> bool:
        """Whether column `j` is zero in all rows."""
        return bool(self.low[j] == 0 == self.high[j])

    def summary(self, j: int) -> ColumnSummary:
        """The summary of column `j` from which automatic priors are made."""
        # The mean of equal numbers is that number, which merging may miss by a rounding error.
        mean = self.low[j] if self.is_constant(j) else self.origin[j] + self.mean[j]
        sd = math.sqrt(self.squares[j] / self.rows)
        return ColumnSummary(float(mean), sd, float(self.low[j]), float(self.high[j]))
