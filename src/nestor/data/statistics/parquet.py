"""Parquet files, batch by batch; the next batch is decoded while the last one is summed up."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from nestor.data.index.growing_tree import refuse_labels
from nestor.data.rows import refuse_two_intercepts
from nestor.data.statistics.streaming import (
    Batch,
    missing_columns,
    number_columns,
    refuse_spec,
    refuse_type,
)
from nestor.errors import DataError
from nestor.errors.arguments import path as as_path
from nestor.errors.arguments import whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nestor.model.spec import ModelSpec

#: Bytes of a column chunk that are read at a time: a row group may be as large as its file.
_BUFFER = 2**20
#: What else than Parquet may lie in a folder that is read.
_MOST_OTHERS = 1000


@dataclass(frozen=True)
class _File:
    """A file whose schema has been read.

    Parameters
    ----------
    path : Path
        Where it is.
    schema : pyarrow.Schema
        Names and types of its columns.
    ends : tuple of int
        After which row each row group ends.
    """

    path: Path
    schema: Any
    ends: tuple[int, ...]

    @property
    def rows(self) -> int:
        return self.ends[-1] if self.ends else 0

    def where(self, start: int, stop: int) -> str:
        """Say where rows are."""
        first, last = np.searchsorted(self.ends, [start, stop - 1], side="right")
        groups = f"row group {first}" if first == last else f"row groups {first} to {last}"
        numbered = f", rows numbered from the file's row {start}" if start else ""
        return f"{self.path}, {groups}{numbered}"


def read_parquet(
    spec: ModelSpec,
    path: str | Path | Sequence[str | Path],
    *,
    batch_rows: int,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Batch]:
    """Check the schemas of all files, then read the columns that a description needs.

    Parameters
    ----------
    spec : ModelSpec
        The description.
    path : path or sequence of paths
        A file, files, or a folder of files ``*.parquet``, without those whose own name or
        folder begins with "." or "_".
    batch_rows : int
        Rows of a batch, at most.
    progress : callable, optional
        Called after each batch with the rows read and the rows in all.

    Raises
    ------
    DataError
        If a file is missing, broken or empty, lacks a column, has one of a type that cannot be used, or
        of another type than the first file.
    """
    refuse_spec(spec)
    size = whole("batch_rows", batch_rows, least=1, most=None, error=DataError)
    if progress is not None and not callable(progress):
        raise DataError(f"progress must be a function of two numbers, or None, not {progress!r}.")
    numbers = number_columns(spec)
    wanted = list(dict.fromkeys((*spec.level_names, *numbers)))
    files = [_look(found) for found in _paths(path)]
    for file in files:
        refuse_two_intercepts(spec, file.schema.names)
        _check(file, files[0], wanted, numbers, spec.level_names)
    total = sum(file.rows for file in files)
    if not total:
        raise DataError(f"{_shown(files)}: there are no rows.")
    # No more than there are, since Arrow holds the number in 64 bits.
    batches = _read(files, wanted, spec.level_names, min(size, total))
    return _ahead(batches, total, progress)


def _ahead(
    batches: Iterator[Batch], total: int, progress: Callable[[int, int], None] | None
) -> Iterator[Batch]:
    """Keep one batch decoded ahead, in a thread; Arrow lets Python run meanwhile."""
    done = 0
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch
            done += batch.table.num_rows
            if progress is not None:
                progress(done, total)


def _paths(path: str | Path | Sequence[str | Path]) -> list[Path]:
    if isinstance(path, str | os.PathLike):
        return _files(path)
    if isinstance(path, bytes | Mapping) or not isinstance(path, Iterable):
        raise DataError(_no_path(path))
    try:
        several = list(path)
    except TypeError:  # such as an array without dimensions
        raise DataError(_no_path(path)) from None
    given: list[Path] = []
    for one in several:
        if not isinstance(one, str | os.PathLike):
            raise DataError(_no_path(one))
        given += _files(one)
    if not given:
        raise DataError("no Parquet file is given.")
    return given


def _no_path(found: object) -> str:
    return (
        "a path of Parquet files must be text or a pathlib.Path, or a list of those, "
        f"not {type(found).__name__}."
    )


def _files(path: str | os.PathLike[str]) -> list[Path]:
    found = as_path("the path of the Parquet file", path)
    if not found.is_dir():
        return [found]
    if not (inside := sorted(_data_files(found))):
        raise DataError(
            f'the folder {found} has no files *.parquet (names that begin with "." or "_" are left out).'
        )
    return inside


def _data_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a data set, without hidden files and markers, as `pyarrow.dataset` does.

    Raises
    ------
    DataError
        If a folder cannot be read; or most of what is there is something else: then it is no data set's
        folder, and it could be a whole disk.
    """
    others = 0
    for here, folders, files in os.walk(folder, onerror=_refuse_folder):
        # In place: os.walk then skips the other folders. Spark gives folders the names of files.
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for name in files:
            if name.startswith((".", "_")):
                continue
            if name.endswith(".parquet"):
                yield Path(here, name)
            else:
                others += 1
        others += len(folders) - sum("=" in n or n.endswith(".parquet") for n in folders)
        if others > _MOST_OTHERS:
            raise DataError(
                f"the folder {folder} has more than {_MOST_OTHERS:,} files and folders that are no Parquet: "
                "give the folder in it that holds the files *.parquet."
            )


def _refuse_folder(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be read: {error.strerror}.")


def _look(path: Path) -> _File:
    if not path.exists():
        raise DataError(f"there is no file {path}.")
    if not path.is_file():
        raise DataError(f"{path} is no regular file.")
    if not path.stat().st_size:
        raise DataError(f"{path} is empty (0 bytes).")
    try:
        with parquet.ParquetFile(path) as file:
            groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            return _File(path, file.schema_arrow, tuple(int(n) for n in np.cumsum(groups)))
    except (pa.ArrowException, OSError) as error:
        raise DataError(_broken(str(path), error)) from None


def _check(
    file: _File, first: _File, wanted: Sequence[str], numbers: Sequence[str], levels: Sequence[str]
) -> None:
    try:
        missing_columns(wanted, file.schema.names)
        for name in numbers:
            refuse_type(file.schema.field(name).type, name)
        for name in levels:
            refuse_labels(file.schema.field(name).type, name)
    except DataError as error:
        raise DataError(f"{file.path}: {error}{_hint(file, wanted)}") from None
    for name in levels:
        own, before = (_label_type(f.schema.field(name).type) for f in (file, first))
        if own != before and not (pa.types.is_null(own) or pa.types.is_null(before)):
            raise DataError(
                f"{file.path}: column {name!r} has labels of type {own}, and {before} in "
                f"{first.path}. Write all files with one type."
            )


def _hint(file: _File, wanted: Sequence[str]) -> str:
    """Say that a column missing in a file has its values in the names of folders, if so."""
    for name in wanted:
        folder = next((p for p in file.path.parts[:-1] if p.startswith(f"{name}=")), None)
        if folder is not None and name not in file.schema.names:
            return (
                f" {name!r} is in the names of folders ({folder}/), which are not read: write it as "
                "a column of the files, without partition_cols."
            )
    return ""


def _label_type(kind: Any) -> Any:
    """Return the type of a column's labels, however they are stored."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.large_string() if pa.types.is_string(kind) else kind


def _read(
    files: Sequence[_File], wanted: list[str], levels: Sequence[str], batch_rows: int
) -> Iterator[Batch]:
    for file in files:
        start = 0
        # What is stored as a dictionary comes as one anyway, and would lose the order of its labels.
        types = {name: file.schema.field(name).type for name in levels}
        text = [n for n, t in types.items() if pa.types.is_string(t) or pa.types.is_large_string(t)]
        try:
            with parquet.ParquetFile(
                file.path, read_dictionary=text, buffer_size=_BUFFER, pre_buffer=False
            ) as opened:
                for record in opened.iter_batches(batch_rows, columns=wanted):
                    stop = start + record.num_rows
                    table = pa.Table.from_batches([record]).select(wanted)
                    yield Batch(table, file.where(start, stop) if record.num_rows else "")
                    start = stop
        except (pa.ArrowException, OSError) as error:
            at = f"{file.path}, row group {np.searchsorted(file.ends, start, side='right')}"
            raise DataError(_broken(at, error)) from None
        if start != file.rows:
            raise DataError(f"{file.path} has {start} rows, and its footer says {file.rows}.")


def _broken(where: str, error: Exception) -> str:
    lines = str(error).strip().splitlines()
    said = lines[0].rstrip(".") if lines else type(error).__name__
    return f"{where} cannot be read as Parquet, or ends early: {said}."


def _shown(files: Sequence[_File]) -> str:
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{files[0].path}{more}"
