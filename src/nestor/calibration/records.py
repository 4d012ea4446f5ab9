"""The finished simulations of a study on disk: one JSON object a line, each durable once it is there."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from nestor.calibration.job import Record
from nestor.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


class Records:
    """What is finished of a study; later lines about a simulation replace earlier ones.

    Parameters
    ----------
    path : Path
        The file; made if need be. A last line that was cut off, by a crash or a full disk, is removed:
        its simulation is done again.
    n_quantities, ranked_draws : int
        What the ranks of each line must fit.

    Raises
    ------
    DataError
        If the file cannot be read or written, or holds something else.
    """

    def __init__(self, path: Path, n_quantities: int, ranked_draws: int) -> None:
        self._path = path
        self._n, self._largest = n_quantities, ranked_draws
        try:
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                os.truncate(path, len(whole))
            self._stream = path.open("ab")
        except OSError as error:
            raise DataError(f"cannot use {path}: {error.strerror or error}.") from None
        self.found: dict[int, Record] = {}
        for i, line in enumerate(whole.splitlines(), start=1):
            record = self._read(line, i)
            self.found[record.number] = record

    def _read(self, line: bytes, i: int) -> Record:
        try:
            given = json.loads(line)
            record = Record(**{**given, "ranks": tuple(given["ranks"])})
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{self._path}, line {i}, cannot be read ({error}). Remove it."
            ) from None
        ranked = len(record.ranks) == (self._n if record.status == "ok" else 0)
        if not ranked or any(not 0 <= r <= self._largest for r in record.ranks):
            raise DataError(f"{self._path}, line {i}, is not of this study. Remove it.")
        return record

    def add(self, record: Record) -> None:
        """Append a record, and return when it is on disk.

        Raises
        ------
        DataError
            If it cannot be written.
        """
        line = json.dumps(asdict(record), separators=(",", ":"), allow_nan=False) + "\n"
        try:
            self._stream.write(line.encode())
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise DataError(f"cannot write {self._path}: {error.strerror or error}.") from None
        self.found[record.number] = record

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
