"""Groups of cells that differ only in their seed, and the summary of each."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nestor.bench.bootstrap import MedianInterval, Ratio, Runs, estimate, median, ratio
from nestor.bench.table import COLUMNS, SKIPPED
from nestor.errors import DataError
from nestor.errors.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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


#: Seconds to the target; runs that did not reach it are censored.
TIMES: Final = ("time_to_ess_s", "time_to_ess_warm_s")
#: Effective draws, or gradients, per something: of runs that are ok alone.
RATES: Final = ("ess_per_s_sampling", "ess_per_s", "ess_per_gradient", "gradients_per_s")
#: Costs of every run that came to its end, whether its chains had converged or not.
COSTS: Final = (
    *("import_s", "upload_s", "compile_s", "warm_compile_s", "warmup_s", "sampling_s"),
    *("postprocess_s", "transfer_s", "total_s", "peak_bytes", "device_peak_bytes"),
)
METRICS: Final = (*TIMES, *RATES, *COSTS)
_ENDED = ("ok", "gates_failed")


def runs(group: Group, metric: str) -> Runs:
    """Return a group's runs of one of METRICS; those that do not count for it are left out."""
    found = []
    for row in group.rows:
        value = row[metric]
        if metric in TIMES and row["censored"] and row["status"] != SKIPPED:
            found.append((row["seed"], _bound(row, metric), True))
        elif value is not None and row["status"] in (_ENDED if metric in COSTS else ("ok",)):
            found.append((row["seed"], float(value), False))
    seeds, values, censored = zip(*found, strict=True) if found else ((), (), ())
    return Runs(seeds, values, censored)


def _bound(row: Row, metric: str) -> float:
    """Seconds that a censored run is known to need more than, 0 if none are known.

    Known are those with an empty cache; with a warm one, what compiling then takes less is taken off.
    """
    bound: float = row["censored_at_s"] or 0.0
    if metric == "time_to_ess_warm_s":
        if row["compile_s"] is None:
            return 0.0
        bound += (row["warm_compile_s"] or 0.0) - row["compile_s"]
    return max(0.0, bound)


@dataclass(frozen=True)
class FailureNote:
    """Why some runs of a group are not ok, or have no speed.

    Parameters
    ----------
    status, message : str
        What became of them, and why.
    seeds : tuple of int
        Which runs.
    """

    status: str
    message: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class GroupSummary:
    """What one line of a printed table says.

    Parameters
    ----------
    key : GroupKey
        What the cells share.
    engine, formulation, device, dtype, chain_method : str
        The contender's parts.
    target_ess : float or None
        Effective draws that the times are to.
    n, n_ok : int
        Cells, and how many of them are ok.
    statuses, verdicts : mapping of str to int
        How many cells have which; cells that were not judged are in no verdict.
    verdict : str
        DISAGREE if any run disagrees, AGREE if all runs that are ok and judged agree, empty if none was
        judged, else INCONCLUSIVE.
    against : str
        The contender that most were judged against.
    reasons : tuple of str
        The different reasons of the verdicts that are the group's own.
    estimates : mapping of str to MedianInterval
        Medians by metric, for each of `nestor.bench.groups.METRICS`.
    time_is_bound : bool
        Whether seconds to the target are upper bounds in any run.
    worst_quantity, worst_kind : str
        The quantity that most often had the smallest ESS, and which (bulk or tail) that mostly was.
    notes : tuple of FailureNote
        Why runs are not ok, or were skipped.
    """

    key: GroupKey
    engine: str
    formulation: str
    device: str
    dtype: str
    chain_method: str
    target_ess: float | None
    n: int
    n_ok: int
    statuses: Mapping[str, int]
    verdicts: Mapping[str, int]
    verdict: str
    against: str
    reasons: tuple[str, ...]
    estimates: Mapping[str, MedianInterval]
    time_is_bound: bool
    worst_quantity: str
    worst_kind: str
    notes: tuple[FailureNote, ...]

    @property
    def skipped(self) -> bool:
        """Whether nothing was run."""
        return set(self.statuses) == {SKIPPED}


@dataclass(frozen=True)
class Relative:
    """A group's time to the target over the baseline's.

    Parameters
    ----------
    key : GroupKey
        The group.
    baseline : GroupKey or None
        Whom it is compared to; None where none of its size has a time.
    ratio : Ratio or None
        Above one: the group takes longer. None without a baseline.
    """

    key: GroupKey
    baseline: GroupKey | None
    ratio: Ratio | None


def summarize(group: Group, metrics: Sequence[str] = METRICS) -> GroupSummary:
    """Summarize one group; `metrics` are those that are estimated."""
    rows, first = group.rows, group.rows[0]
    verdicts = Counter(row["verdict"] for row in rows if row["verdict"])
    verdict = group_verdict(rows)
    quantity, kind = _worst(rows)
    return GroupSummary(
        key=group.key,
        **{k: first[k] for k in ("engine", "formulation", "device", "dtype", "chain_method")},
        target_ess=first["target_ess"],
        n=len(rows),
        n_ok=sum(row["status"] == "ok" for row in rows),
        statuses=dict(Counter(row["status"] for row in rows)),
        verdicts=dict(verdicts),
        verdict=verdict,
        against=_commonest(row["against"] for row in rows),
        reasons=_distinct(row["reason"] for row in rows if row["verdict"] == verdict),
        estimates={m: estimate(runs(group, m), f"{group.key.label}, {m}") for m in metrics},
        time_is_bound=any(row["time_is_bound"] and row["status"] == "ok" for row in rows),
        worst_quantity=quantity,
        worst_kind=kind,
        notes=_notes(rows),
    )


def relative(found: Sequence[Group], baseline: str | None = None) -> list[Relative]:
    """Compare the time to the target of each group with a baseline's of the same track and size.

    Parameters
    ----------
    found : sequence of Group
        All groups of a table.
    baseline : str or None
        A contender, whose group with as many chains and cores counts; None: of each track and size the
        quickest group that no run of which disagrees.

    Raises
    ------
    DataError
        If no row has the baseline.
    """
    names = dict.fromkeys(group.key.contender for group in found)
    if baseline is not None and baseline not in names:
        meant = did_you_mean(baseline, names)
        raise DataError(f"no contender is named {baseline!r}; there are {', '.join(names)}.{meant}")
    return [_relative(group, _baseline(group, found, baseline)) for group in found]


def _relative(group: Group, against: Group | None) -> Relative:
    if against is None:
        return Relative(group.key, None, None)
    over, under = runs(group, "time_to_ess_s"), runs(against, "time_to_ess_s")
    label = f"{group.key.label} over {against.key.label}"
    return Relative(group.key, against.key, ratio(over, under, label))


def _baseline(group: Group, found: Sequence[Group], name: str | None) -> Group | None:
    peers = [other for other in found if other.key.place == group.key.place]
    if name is not None:
        same = (name, group.key.chains, group.key.cores)
        return next(
            (p for p in peers if (p.key.contender, p.key.chains, p.key.cores) == same), None
        )
    timed = [
        (value, i)
        for i, peer in enumerate(peers)
        if group_verdict(peer.rows) != "DISAGREE"
        and (value := median(runs(peer, "time_to_ess_s"))) is not None
    ]
    return peers[min(timed)[1]] if timed else None


def group_verdict(rows: Iterable[Row]) -> str:
    """Return the verdict on a group from those on its runs; see `GroupSummary`."""
    judged = [(row["verdict"], row["status"]) for row in rows if row["verdict"]]
    if not judged:
        return ""
    if any(verdict == "DISAGREE" for verdict, _ in judged):
        return "DISAGREE"
    of_ok = {verdict for verdict, status in judged if status == "ok"}
    return "AGREE" if of_ok == {"AGREE"} else "INCONCLUSIVE"


def _worst(rows: Iterable[Row]) -> tuple[str, str]:
    found = [(row["ess_quantity"], row["ess_kind"]) for row in rows if row["ess_quantity"]]
    quantity = _commonest(name for name, _ in found)
    return quantity, _commonest(kind for name, kind in found if name == quantity)


def _notes(rows: Iterable[Row]) -> tuple[FailureNote, ...]:
    """Return a note for each different reason; of the logs, the first is named."""
    seeds: dict[tuple[str, str], tuple[str, list[int]]] = {}
    for row in rows:
        if row["status"] != "ok" or row["message"]:
            status = "no_speed" if row["status"] == "ok" else row["status"]
            why = row["message"].partition(" Its log: ")[0]
            seeds.setdefault((status, why), (row["message"], []))[1].append(row["seed"])
    return tuple(
        FailureNote(at[0], message, tuple(found)) for at, (message, found) in seeds.items()
    )


def _commonest(words: Iterable[str]) -> str:
    """The most frequent word, the alphabetically first of several; empty if there is none."""
    counts = Counter(word for word in words if word)
    return min(counts, key=lambda word: (-counts[word], word), default="")


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in words if word))
