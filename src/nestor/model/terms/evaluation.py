"""The value of a term on every row of a table, and columns of a table as numbers."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.errors import DataError
from nestor.errors.arguments import shown
from nestor.errors.text import did_you_mean
from nestor.model.terms.term import Column, Power, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from nestor.model.terms.term import Factor, Term, Transform


def evaluate(term: Term, columns: Table) -> NDArray[np.float64]:
    """Evaluate a term on a table.

    `scale` divides by the standard deviation of the population (ddof 0), as formulae and Bambi do.

    Parameters
    ----------
    term : Term
        What to evaluate.
    columns : mapping of str to array, or pandas.DataFrame
        The table of N rows.

    Returns
    -------
    ndarray of float64, shape (N,)

    Raises
    ------
    DataError
        If a column is missing, is not numeric, has missing or infinite values, or values outside
        the domain of a transform; the message counts them and names the first rows (from 0).
    """
    if not term.factors:
        return np.ones(row_count(columns))
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by name
        values = [_evaluate_factor(factor, columns) for factor in term.factors]
    if len({value.shape for value in values}) > 1:
        names = " and ".join(repr(name) for name in term.columns)
        raise DataError(f"columns {names} have different lengths.")
    with np.errstate(over="ignore", invalid="ignore"):
        product = np.prod(values, axis=0)
    refuse(~np.isfinite(product), f"term {term.name} has", "overflowing", "Rescale it.")
    return np.asarray(product, dtype=np.float64)


def is_constant(values: NDArray[np.float64]) -> bool:
    """Whether all of `values`, shape (N,), are the same."""
    return bool(np.all(values == values[:1]))


def _evaluate_factor(factor: Factor, columns: Table) -> NDArray[np.float64]:
    if isinstance(factor, Column):
        return numeric_column(columns, factor.name)
    if isinstance(factor, Power):
        return _power(factor, _evaluate_factor(factor.base, columns))
    values = _evaluate_factor(factor.argument, columns)
    return _APPLY[factor.function](factor, values)


def _power(factor: Power, values: NDArray[np.float64]) -> NDArray[np.float64]:
    subject, advice = f"{factor.text} is not defined: {factor.base.text} has", "Drop or shift them."
    if isinstance(factor.exponent, float):
        refuse(values < 0, subject, "negative", advice)
    if factor.exponent < 0:
        refuse(values == 0, subject, "zero", advice)
    result = values**factor.exponent
    refuse(np.isinf(result), f"{factor.text} overflows: it has", "infinite", "Rescale the column.")
    return result


def _log(factor: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    subject = f"{factor.text} is not defined: {factor.argument.text} has"
    refuse(values <= 0, subject, "zero or negative", "Drop or shift them.")
    return np.log(values)


def _sqrt(factor: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    subject = f"{factor.text} is not defined: {factor.argument.text} has"
    refuse(values < 0, subject, "negative", "Drop or shift them.")
    return np.sqrt(values)


def _exp(factor: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.exp(values)
    refuse(np.isinf(result), f"{factor.text} overflows: it has", "infinite", "Rescale the column.")
    return result


def _center(_: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values - values.mean(), dtype=np.float64)


def _scale(factor: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    if is_constant(values):
        raise DataError(
            f"{factor.text} is not defined: {factor.argument.text} is constant ({values[0]:g})."
        )
    centered = values - values.mean()
    # dividing by the largest first keeps the squares of very large or small values in range
    centered = centered / np.abs(centered).max()
    return np.asarray(centered / np.sqrt(np.mean(centered**2)), dtype=np.float64)


_APPLY: Mapping[str, Callable[[Transform, NDArray[np.float64]], NDArray[np.float64]]] = {
    "scale": _scale,
    "center": _center,
    "log": _log,
    "exp": _exp,
    "sqrt": _sqrt,
}


type Table = Mapping[str, Any] | pd.DataFrame

_ROWS_SHOWN = 5
_NAMES_SHOWN = 10
_LONGEST_VALUE = 60


def numeric_column(columns: Table, name: str) -> NDArray[np.float64]:
    """Return a column as float64, shape (N,), with booleans as 0 and 1.

    Raises
    ------
    DataError
        If there is no such column (with a suggestion), or it is empty, not numeric (named with
        its dtype), or has missing or infinite values (counted, with the first rows).
    """
    import pandas as pd

    raw = _raw_column(columns, name)
    series = raw if isinstance(raw, pd.Series) else pd.Series(raw)
    series = _floats_of_decimals(series)
    if not _is_numeric(series):
        raise not_numeric(name, f"dtype {series.dtype}", series)
    if not len(series):
        raise DataError(f"column {name!r} has no rows.")
    try:
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    except (ArithmeticError, TypeError, ValueError, NotImplementedError) as error:
        raise DataError(
            f"column {name!r} (dtype {series.dtype}) cannot be converted to double precision "
            f"({type(error).__name__}: {str(error)[:200]}). Convert it to floats first."
        ) from None
    subject = f"column {name!r} has"
    refuse(np.isnan(values), subject, "missing", "Drop or impute them first.")
    refuse(np.isinf(values), subject, "infinite", "Drop or replace them first.")
    return values


def _is_numeric(series: pd.Series[Any]) -> bool:
    """Whether a column's dtype is one of real numbers or truth values."""
    import pandas as pd

    kinds = pd.api.types
    try:
        number = kinds.is_numeric_dtype(series.dtype) and not kinds.is_complex_dtype(series.dtype)
        return number or kinds.is_bool_dtype(series.dtype)
    except NotImplementedError:  # pandas knows no counterpart of some of Arrow's types
        return False


def _floats_of_decimals(series: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column of decimal numbers, as Parquet's decimals arrive, as floats."""
    import pandas as pd

    if series.dtype != object or pd.api.types.infer_dtype(series, skipna=True) != "decimal":
        return series
    try:
        return series.astype(np.float64)
    except (ArithmeticError, TypeError, ValueError):  # such as a signalling NaN
        return series


def row_count(columns: Table) -> int:
    """Return the table's number of rows, N; refuse a table without columns."""
    if hasattr(columns, "index") and hasattr(columns, "columns"):
        return len(columns.index)
    for values in columns.values():
        return len(values)
    raise DataError("the table has no columns, so its number of rows is unknown.")


def not_numeric(name: str, kind: str, values: Iterable[Any] = ()) -> DataError:
    """Explain that a column is not numeric, with the first of its values, (N,), that is not a number."""
    first: str | None = None
    worst: str | None = None
    with suppress(ArithmeticError, ValueError, NotImplementedError):  # Python has no such date
        for row, value in enumerate(values):
            if _is_number(value):
                continue
            first = first or f": {_shown(value)} in row {row}"
            if not _reads_as_number(value):
                worst = f": {_shown(value)} in row {row}"
                break
    example = worst or first or ""
    return DataError(
        f"column {name!r} is not numeric ({kind}){example}. Convert it to numbers, or use it as a "
        "grouping level."
    )


def _is_number(value: object) -> bool:
    """Whether a value is a number or missing."""
    import pandas as pd

    if isinstance(value, numbers.Real):
        return True
    return value is None or value is pd.NA or value is pd.NaT


def _reads_as_number(value: object) -> bool:
    """Whether a value is text that spells a number."""
    try:
        float(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


def _shown(value: object) -> str:
    """A value for a message; only its type unless it is text, a date or a complex number."""
    if not isinstance(value, str | bytes | complex | date | timedelta):
        return f"a value of type {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def no_column(name: str, columns: Iterable[object], in_index: Iterable[object] = ()) -> DataError:
    """Explain that a table lacks a column, and suggest an existing one.

    Parameters
    ----------
    name : str
        The column that was asked for.
    columns : iterable
        Names of the table's columns, text or not.
    in_index : iterable
        Names of the table's index.
    """
    columns = list(columns)
    start = f"no column {name!r} in the table."
    if name in in_index:
        return DataError(f"{start} It is in the index: table.reset_index() makes it a column.")
    others = [column for column in columns if not isinstance(column, str)]
    alike = next((column for column in others if str(column) == name), None)
    if alike is None and others and len(others) == len(columns):
        alike = others[0]
    if isinstance(alike, tuple):
        joined = "_".join(map(str, alike))
        return DataError(
            f"{start} Its columns' names have several parts, such as {shown(alike)}. Make names of them, "
            f"such as {shown(joined)}: table.columns = ['_'.join(map(str, c)) for c in table.columns]."
        )
    if alike is not None:
        return DataError(
            f"{start} Columns are named by text, and there is one named {alike!r}, of type "
            f"{type(alike).__name__}: table.rename(columns=str) renames them."
        )
    if meant := did_you_mean(name, columns):
        in_formula = _quoted_names(meant, columns)
        return DataError(f"{start}{meant}{in_formula}")
    more = ", ..." if len(columns) > _NAMES_SHOWN else ""
    listed = ", ".join(map(repr, columns[:_NAMES_SHOWN])) or "no columns"
    return DataError(f"{start} It has: {listed}{more}.")


def _quoted_names(meant: str, columns: Sequence[object]) -> str:
    """Say how a formula writes the suggested column, if it needs backquotes."""
    for column in columns:
        name = str(column)
        if repr(name) in meant and "`" not in name and name and quoted(name) != name:
            return f" In a formula it is written {quoted(name)}."
    return ""


def _raw_column(columns: Table, name: str) -> Any:
    keys = columns.keys()  # of a DataFrame: its column names
    names = [known for known in keys if isinstance(known, str)]
    if name not in names:
        index = getattr(columns, "index", None)
        raise no_column(name, keys, getattr(index, "names", ()))
    if names.count(name) > 1:
        raise DataError(f"the table has {names.count(name)} columns called {name!r}. Rename them.")
    raw = columns[name]
    if np.ndim(raw) != 1:
        raise DataError(f"column {name!r} has {np.ndim(raw)} dimensions, not one.")
    return raw


def refuse(bad: NDArray[np.bool_], subject: str, kind: str, advice: str) -> None:
    """Refuse values where `bad`, shape (N,), says so; count them and name the first rows."""
    rows = np.flatnonzero(bad)
    if not rows.size:
        return
    plural = "s" if rows.size > 1 else ""
    more = ", ..." if rows.size > _ROWS_SHOWN else ""
    numbered = ", ".join(str(row) for row in rows[:_ROWS_SHOWN])
    found = f"{subject} {rows.size:,} {kind} value{plural} (row{plural} {numbered}{more})"
    raise DataError(f"{found}. {advice}")
