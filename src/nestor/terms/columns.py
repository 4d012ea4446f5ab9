"""Columns of a table as numbers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

type Table = Mapping[str, Any] | pd.DataFrame

_ROWS_SHOWN = 5
_NAMES_SHOWN = 10


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
    if not _is_numeric(series):
        raise DataError(
            f"column {name!r} is not numeric (dtype {series.dtype}). Convert it to numbers, or "
            "use it as a grouping level."
        )
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


def row_count(columns: Table) -> int:
    """Return the table's number of rows, N; a table without columns has none that is known."""
    if hasattr(columns, "index") and hasattr(columns, "columns"):
        return len(columns.index)
    for values in columns.values():
        return len(values)
    raise DataError("the table has no columns, so its number of rows is unknown.")


def _raw_column(columns: Table, name: str) -> Any:
    keys = columns.keys()  # of a DataFrame: its column names
    names = [known for known in keys if isinstance(known, str)]
    if name not in columns:
        raise DataError(f"no column {name!r} in the table. {_known(name, names)}")
    if names.count(name) > 1:
        raise DataError(f"the table has {names.count(name)} columns called {name!r}. Rename them.")
    raw = columns[name]
    if np.ndim(raw) != 1:
        raise DataError(f"column {name!r} has {np.ndim(raw)} dimensions, not one.")
    return raw


def _known(name: str, names: list[str]) -> str:
    lowered = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), lowered, n=1)
    if close:
        return f"Did you mean {lowered[close[0]]!r}?"
    more = ", ..." if len(names) > _NAMES_SHOWN else ""
    return f"It has: {', '.join(map(repr, names[:_NAMES_SHOWN])) or 'no columns'}{more}."


def refuse(bad: NDArray[np.bool_], subject: str, kind: str, advice: str) -> None:
    """Refuse values where `bad`, shape (N,), says so; count them and name the first rows."""
    rows = np.flatnonzero(bad)
    if not rows.size:
        return
    plural = "s" if rows.size > 1 else ""
    more = ", ..." if rows.size > _ROWS_SHOWN else ""
    shown = ", ".join(str(row) for row in rows[:_ROWS_SHOWN])
    found = f"{subject} {rows.size:,} {kind} value{plural} (row{plural} {shown}{more})"
    raise DataError(f"{found}. {advice}")
