"""The results directory of a benchmark: its owner, its records, and atomic writes."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from nestor.bench.record import SCHEMA_VERSION, BenchRecord
from nestor.bench.scenario import Scenario
from nestor.errors import DataError
from nestor.runner import store
from nestor.stats.diagnostics.summaries import Summaries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nestor.bench.scenario import Scenario


MANIFEST: Final = "bench.json"
_KIND: Final = "nestor benchmark"


class ManifestDocument(BaseModel):
    """The manifest of a results directory: scenario, form and command."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1]
    kind: str
    name: str
    quick: bool
    command: str
    scenario: Scenario
    toml: str


def write_manifest(
    folder: Path, scenario: Scenario, text: str, command: str, *, quick: bool
) -> None:
    """Write the manifest of a results directory."""
    document = ManifestDocument(
        schema_version=SCHEMA_VERSION,
        kind=_KIND,
        name=scenario.name,
        quick=quick,
        command=command,
        scenario=scenario,
        toml=text,
    )
    store.write_json(folder / MANIFEST, document.model_dump(mode="json"))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a results directory.

    Raises
    ------
    DataError
        If there is none, or it is of another schema.
    """
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{folder} is no results directory: it has no {MANIFEST}.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}). Choose another directory.") from None
    if not isinstance(found, dict) or found.get("kind") != _KIND:
        raise DataError(f"{path} is not the manifest of a benchmark. Choose another directory.")
    if found.get("schema_version") != SCHEMA_VERSION:
        raise DataError(
            f"the results in {folder} have schema {found.get('schema_version')!r}; this nestor "
            f"reads and writes {SCHEMA_VERSION}. Choose another directory."
        )
    try:
        ManifestDocument.model_validate(found)
    except ValidationError:
        raise DataError(
            f"{path} has been damaged, and says no more which scenario this is. Choose another "
            "directory, or put the file back."
        ) from None
    return found


def check_owner(folder: Path, scenario: Scenario, *, quick: bool) -> None:
    """Refuse an existing directory that holds anything but results of this scenario.

    Raises
    ------
    DataError
        If that is so.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"the results directory {folder} is a file. Choose another directory.")
    if not (folder / MANIFEST).exists():
        if any(p.name != ".lock" for p in folder.iterdir()):
            raise DataError(
                f"the directory {folder} is not empty and holds no benchmark. Choose another directory."
            )
        return
    found = read_manifest(folder)
    if (found.get("name"), found.get("quick")) != (scenario.name, quick):
        form = " (quick)" if found.get("quick") else ""
        raise DataError(
            f"the results in {folder} are those of {found.get('name')}{form}. Choose another directory."
        )


TABLE: Final = "results.parquet"
_VERDICTS: Final = "verdicts.json"
_WORK: Final = ".work"
_SUPERSEDED: Final = "superseded"
#: Bytes that must fit on the disk for a failure to be the engine's.
_SPACE: Final = 1_000_000
_ARRAYS = ("estimate", "mcse", "ess", "rhat", "ess_bulk", "ess_tail", "finite", "constant")


class VerdictDocument(BaseModel):
    """The verdict on a cell; it stands as long as the cell's record is the one that was judged."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    verdict: Literal["AGREE", "DISAGREE", "INCONCLUSIVE"]
    against: str
    margin_needed: float | None
    reason: str
    started: str


_VERDICT_FILE = TypeAdapter(dict[str, VerdictDocument])


class Results:
    """A results directory.

    Parameters
    ----------
    folder : Path
        An existing directory that `claim` has made or accepted.

    Attributes
    ----------
    damaged : list of Path
        Records that could not be read when they were looked for: cut short, or no records at all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: list[Path] = []

    @property
    def cells(self) -> Path:
        """Where the records are."""
        return self.folder / "cells"

    @property
    def work(self) -> Path:
        """Where files live that matter only while a cell runs."""
        return self.folder / _WORK

    def log(self, cell_id: str) -> Path:
        """File that receives what a cell's engine prints."""
        return self.folder / "logs" / f"{cell_id}.log"

    def require_space(self) -> None:
        """Refuse to go on where nothing can be written: what failed then is no engine's fault.

        Raises
        ------
        DataError
            If the disk is full.
        """
        try:
            with tempfile.TemporaryFile(dir=self.work) as stream:
                stream.write(bytes(_SPACE))
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise DataError(
                f"the disk with {self.folder} is full ({error.strerror}). Free some space, and give the "
                "same command again: it goes on from there."
            ) from None

    def prepare(self) -> None:
        """Make the folders, and remove what a killed run left half done."""
        shutil.rmtree(self.work, ignore_errors=True)
        for folder in (self.cells, self.folder / "logs", self.folder / "summaries", self.work):
            folder.mkdir(exist_ok=True)
            for leftover in folder.glob(".*"):
                leftover.unlink()

    def files(self) -> frozenset[tuple[str, int]]:
        """Return name and modification time (ns) of each record's file, to see whether any has changed."""
        paths = self.cells.glob("*.json")
        return frozenset((path.name, path.stat().st_mtime_ns) for path in paths)

    def records(self) -> dict[str, BenchRecord]:
        """Return the records by their cells' ids; what cannot be read is put into `damaged`.

        Raises
        ------
        DataError
            If a record has another schema: figures of two schemas are not put into one table.
        """
        self.damaged = []
        found = {}
        for path in sorted(self.cells.glob("*.json")):
            record = self._read(path)
            if record is not None:
                found[record.cell.id] = record
        return found

    def _read(self, path: Path) -> BenchRecord | None:
        try:
            fields = json.loads(path.read_bytes())
            if isinstance(fields, dict) and fields.get("schema_version") != SCHEMA_VERSION:
                raise DataError(
                    f"{path} has schema {fields.get('schema_version')!r}; this nestor reads "
                    f"{SCHEMA_VERSION}. Choose another directory, or remove it."
                )
            record = BenchRecord.model_validate(fields)
        except (ValueError, ValidationError, OSError):
            self.damaged.append(path)
            return None
        if record.cell.id != path.stem:
            self.damaged.append(path)
            return None
        return record

    def add(
        self,
        record: BenchRecord,
        summary: Summaries | None = None,
        labels: Sequence[str] = (),
    ) -> None:
        """Write a record, its summaries first; when this returns both are on disk, whole.

        Parameters
        ----------
        record : BenchRecord
            What became of a cell.
        summary : Summaries, optional
            Of its draws.
        labels : sequence of str
            The summaries' scalars.

        Raises
        ------
        DataError
            If they cannot be written.
        """
        if summary is not None:
            arrays = {name: getattr(summary, name) for name in _ARRAYS}
            sizes = {"n_chain": np.array(summary.n_chain), "n_draw": np.array(summary.n_draw)}
            # As bytes, since arrays of text take four bytes for each character of the longest.
            names = np.frombuffer(json.dumps(list(labels)).encode(), dtype=np.uint8)

            def write(path: Path) -> None:
                with path.open("wb") as stream:
                    np.savez_compressed(stream, allow_pickle=False, **arrays, **sizes, labels=names)

            store.write_atomically(self._summary(record.cell.id), write)
        text = json.dumps(record.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
        store.write_atomically(
            self.cells / f"{record.cell.id}.json", lambda path: _write_durably(path, text)
        )

    def put_aside(self, ids: Iterable[str]) -> None:
        """Move the records of cells into superseded/."""
        for cell_id in ids:
            self._move(cell_id, self.folder, self.folder / _SUPERSEDED)

    def bring_back(self, ids: Iterable[str]) -> dict[str, BenchRecord]:
        """Take records that were put aside back where there are none in their place, and return them."""
        found = {}
        for cell_id in ids:
            name = f"{cell_id}.json"
            aside = self.folder / _SUPERSEDED / "cells" / name
            if aside.exists() and not (self.cells / name).exists():
                self._move(cell_id, self.folder / _SUPERSEDED, self.folder)
                record = self._read(self.cells / name)
                if record is not None:
                    found[cell_id] = record
        return found

    def retire(self, ids: Iterable[str]) -> None:
        """Put aside records for good, under other names, so that their cells are measured again."""
        for cell_id in ids:
            if (self.cells / f"{cell_id}.json").exists():
                name = f"{cell_id}-{time.time_ns()}"
                self._move(cell_id, self.folder, self.folder / _SUPERSEDED, name)

    def _move(self, cell_id: str, source: Path, target: Path, name: str = "") -> None:
        # The summaries first: a record is the sign that all is there.
        for folder, suffix in (("summaries", ".npz"), ("cells", ".json")):
            path = source / folder / f"{cell_id}{suffix}"
            if path.exists():
                (target / folder).mkdir(parents=True, exist_ok=True)
                path.replace(target / folder / f"{name or cell_id}{suffix}")

    def _summary(self, cell_id: str) -> Path:
        return self.folder / "summaries" / f"{cell_id}.npz"

    def summary(self, cell_id: str) -> tuple[Summaries, tuple[str, ...]] | None:
        """Return the summaries of a cell's draws and the scalars' names; None if there are none."""
        path = self._summary(cell_id)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                fields: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
                sizes: dict[str, Any] = {name: int(arrays[name]) for name in ("n_chain", "n_draw")}
                labels = tuple(json.loads(arrays["labels"].tobytes()))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None
        return Summaries(**fields, **sizes), labels

    def verdicts(self) -> dict[str, dict[str, Any]]:
        """Return the verdict on each cell that was judged, by its id; see `VerdictDocument`.

        Raises
        ------
        DataError
            If the file cannot be read.
        """
        path = self.folder / _VERDICTS
        try:
            found = _VERDICT_FILE.validate_json(path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            raise DataError(
                f"{path} cannot be read. Remove it: verdicts are given again by the next run."
            ) from None
        return {cell_id: verdict.model_dump() for cell_id, verdict in found.items()}

    def save_verdicts(self, verdicts: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the verdicts, in place of those that there are."""
        store.write_json(self.folder / _VERDICTS, verdicts)


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def claimed(
    folder: Path, scenario: Scenario, text: str, command: str, *, quick: bool
) -> Iterator[Results]:
    """Make `folder` the results directory of a scenario, and keep other runs out of it.

    Raises
    ------
    DataError
        If it cannot be made, is in use, or holds something else.
    """
    check_owner(folder, scenario, quick=quick)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the results directory {folder}: {error.strerror}.") from None
    store.check_writable(folder)
    with store.locked(folder):
        results = Results(folder)
        results.prepare()
        write_manifest(folder, scenario, text, command, quick=quick)
        try:
            yield results
        finally:
            shutil.rmtree(results.work, ignore_errors=True)
