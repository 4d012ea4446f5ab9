"""The columns of a batch of rows that leaf statistics are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from nestor.data.rows import weight_column
from nestor.errors import DataError, Unsupported
from nestor.model.names import INTERCEPT
from nestor.model.terms import Column, Transform, evaluate, numeric_column, parse_term
from nestor.model.terms.evaluation import no_column, not_numeric

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nestor.model.spec import ModelSpec
    from nestor.model.terms import Factor, Term
    from nestor.stats.arrays import FloatArray


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
    """Reads the columns (slopes, outcome less offset, covariates) and weights of batches."""

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
        """What each column is: a predictor's term, or None for the outcome less the offset."""
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
    """Refuse a column whose Arrow type is not a number's; its values, (N,), may be shown."""
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
