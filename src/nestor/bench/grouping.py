"""The cells of a table, sorted into groups that differ in their seed only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nestor.bench.columns import COLUMNS
from nestor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

type Row = Mapping[str, Any]
#: Scenario, track, sweep, contender, chains and cores.
type SeriesKey = tuple[str, str, str, str, int | None, int | None]


@dataclass(frozen=True)
class GroupKey:
    """What all cells of a group share.

    Parameters
    ----------
    scenario, track : str
        Which scenario, and which of its tracks.
    sweep : str
        What is swept; empty if nothing.
    sweep_value : float or None
        Its value; None if nothing is swept.
    contender : str
        The engine with every choice resolved.
    chains, cores : int or None
        Number of chains, and of cores that a cell may use.
    """

    scenario: str
    track: str
    sweep: str
    sweep_value: float | None
    contender: str
    chains: int | None
    cores: int | None

    @property
    def label(self) -> str:
        """The key in words, different for different keys."""
        size = "" if self.sweep_value is None else f"{self.sweep} {self.sweep_value:,.12g}"
        parts = (
            self.scenario,
            self.track,
            size,
            self.contender,
            "" if self.chains is None else f"chains {self.chains:,}",
            "" if self.cores is None else f"cores {self.cores}",
        )
        return ", ".join(part for part in parts if part)

    @property
    def place(self) -> tuple[str, str, str, float | None]:
        """Scenario, track and size: groups that share them ran on the same problem."""
        return self.scenario, self.track, self.sweep, self.sweep_value


@dataclass(frozen=True)
class Group:
    """The cells of one key.

    Parameters
    ----------
    key : GroupKey
        What they share.
    rows : tuple of mapping
        Cells by seed: each column's value as a Python object. Missing numbers, and those that are not
        finite, are None; missing text is empty.
    """

    key: GroupKey
    rows: tuple[Row, ...]


def groups(table: pd.DataFrame) -> list[Group]:
    """Sort a table into groups: by scenario and track as they first occur, size, then as they first occur.

    Raises
    ------
    DataError
        If columns are missing, a group has two cells of one seed, or a scenario's quick form and its full
        one are in one table: they are different problems.
    """
    found: dict[GroupKey, list[Row]] = {}
    for row in read_rows(table):
        found.setdefault(_key(row), []).append(row)
    _check_one_form(found)
    order = {name: i for i, name in reversed(list(enumerate((k.scenario, k.track) for k in found)))}
    keys = sorted(found, key=lambda k: (order[k.scenario, k.track], k.sweep, k.sweep_value or 0.0))
    return [Group(key, _by_seed(key, found[key])) for key in keys]


def series(found: Sequence[Group]) -> dict[SeriesKey, list[Group]]:
    """Groups of a sweep by scenario, track, sweep, contender, chains and cores, in increasing size.

    Chains or cores are no part of the key where they are what is swept.
    """
    by_key: dict[SeriesKey, list[Group]] = {}
    for group in found:
        key = group.key
        if not key.sweep or not key.sweep_value or key.sweep_value < 0:
            continue
        chains = None if key.sweep == "chains" else key.chains
        cores = None if key.sweep == "cores" else key.cores
        at = (key.scenario, key.track, key.sweep, key.contender, chains, cores)
        by_key.setdefault(at, []).append(group)
    return by_key


def read_rows(table: pd.DataFrame) -> list[Row]:
    """Return each cell as a mapping from column to a plain Python object.

    Raises
    ------
    DataError
        If columns are missing.
    """
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise DataError(
            f"this is no table of benchmark results: it lacks {', '.join(missing[:5])}"
            f"{f' and {len(missing) - 5} more columns' if len(missing) > 5 else ''}."
        )
    columns = [_plain(table[name].tolist(), kind) for name, (kind, _) in COLUMNS.items()]
    return [dict(zip(COLUMNS, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain(values: Sequence[Any], kind: str) -> list[Any]:
    import pandas as pd

    if kind == "str":
        return ["" if pd.isna(value) else str(value) for value in values]
    convert = {"Int64": int, "Float64": float, "boolean": bool}[kind]
    return [
        None if pd.isna(value) or not math.isfinite(value) else convert(value) for value in values
    ]


def _key(row: Row) -> GroupKey:
    return GroupKey(**{name: row[name] for name in GroupKey.__dataclass_fields__})


def _by_seed(key: GroupKey, rows: Sequence[Row]) -> tuple[Row, ...]:
    seeds = [row["seed"] for row in rows]
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise DataError(
            f"{key.label}: seed {twice} occurs {seeds.count(twice)} times. Its rows come from two forms of "
            "the scenario or from two directories: give one of them, or compare them by "
            "nestor bench compare."
        )
    return tuple(sorted(rows, key=lambda row: -1 if row["seed"] is None else row["seed"]))


def _check_one_form(found: Mapping[GroupKey, Sequence[Row]]) -> None:
    forms: dict[str, set[bool]] = {}
    for key, rows in found.items():
        forms.setdefault(key.scenario, set()).update(bool(row["quick"]) for row in rows)
    mixed = [scenario for scenario, seen in forms.items() if len(seen) > 1]
    if mixed:
        raise DataError(
            f"scenario {mixed[0]!r}: the table has cells of its quick form and of its full one. "
            "They are different problems: give them one at a time."
        )
