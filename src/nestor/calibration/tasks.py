"""The job and tasks of a study's workers, and the records that they return, in memory and on disk."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nestor.errors import DataError
from nestor.errors.text import short_repr

if TYPE_CHECKING:
    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.engines.protocol import SamplerConfig


Around = Literal["prior", "posterior"]
Kind = Literal["simulation", "fit"]
#: ok; draws too few for independent ranks; the engine failed; it took too long.
Status = Literal["ok", "unconverged", "failed", "timeout"]

#: Simulations around the posterior that take their parameters from one fit to the data.
FIT_BLOCK = 250
#: A run whose draws are too few goes on until it has this many times the draws asked for.
LONGEST = 8


@dataclass(frozen=True)
class StudyJob:
    """A study, as every worker process knows it.

    Parameters
    ----------
    problem : Problem
        The user's design, priors and outcome.
    contender : Contender
        The engine.
    config : SamplerConfig
        How hard it tries in each simulation; its seed is the study's.
    around : {"prior", "posterior"}
        Where parameters come from.
    ranked_draws : int
        Near-independent posterior draws among which parameters are ranked.
    fits : Path
        Folder of the fits to the data; only a study around the posterior makes any.
    """

    problem: Problem
    contender: Contender
    config: SamplerConfig
    around: Around
    ranked_draws: int
    fits: Path = Path("fits")


@dataclass(frozen=True)
class Task:
    """One simulation, or one fit to the data, by its number."""

    kind: Kind
    number: int


@dataclass(frozen=True)
class Record:
    """The result of a task.

    Parameters
    ----------
    number : int
        Of the simulation.
    status : {"ok", "unconverged", "failed", "timeout"}
        How it ended.
    message : str
        Why, where it did not end well.
    ranks : tuple of int
        Of each quantity, 0 to `StudyJob.ranked_draws`; empty where it did not end well.
    ess : float or None
        The smallest bulk or tail ESS of all quantities.
    draws : int
        Draws of each chain in the end.
    divergences : int
        Among them, all chains together.
    seconds : float
        It took, without compiling.
    """

    number: int
    status: Status
    message: str = ""
    ranks: tuple[int, ...] = ()
    ess: float | None = None
    draws: int = 0
    divergences: int = 0
    seconds: float = 0.0

    __repr__ = short_repr

    @property
    def final(self) -> bool:
        """Whether doing it again would give the same: crashes and timeouts may pass."""
        return self.status in ("ok", "unconverged")


class Records:
    """The finished simulations of a study in a file; later lines replace earlier ones.

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
