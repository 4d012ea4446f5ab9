"""Columns of a table as numbers."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.errors import DataError
from nestor.errors.arguments import shown
from nestor.errors.text import did_you_mean
from nestor.model.terms.term import quoted

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

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
    """Return a column of objects as floats if they are decimal numbers, which Parquet's decimals come as."""
    import pandas as pd

    if series.dtype != object or pd.api.types.infer_dtype(series, skipna=True) != "decimal":
        return series
    try:
        return series.astype(np.float64)
    except (ArithmeticError, TypeError, ValueError):  # such as a signalling NaN
        return series


def row_count(columns: Table) -> int:
    """Return the table's number of rows, N; a table without columns has none that is known."""
    if hasattr(columns, "index") and hasattr(columns, "columns"):
        return len(columns.index)
    for values in columns.values():
        return len(values)
    raise DataError("the table has no columns, so its number of rows is unknown.")


def not_numeric(name: str, kind: str, values: Iterable[Any] = ()) -> DataError:
    """Explain that a column is not numeric, by the first of its values, (N,), that is no number."""
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
    """Whether a value is a number, or missing, of which there may be some."""
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
    """A value as a message shows it; of what may be anything, its type."""
    if not isinstance(value, str | bytes | complex | date | timedelta):
        return f"a value of type {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def no_column(name: str, columns: Iterable[object], in_index: Iterable[object] = ()) -> DataError:
    """Explain that a table lacks a column, by what it has that may be meant.

    Parameters
    ----------
    name : str
        The column that was asked for.
    columns : iterable
        Names of those that there are, text or not.
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
    """Say how a formula writes the column that was meant, where it is not written as it stands."""
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
