"""One summary for each group of cells: how its runs ended, whether they agree, medians of their figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nestor.bench.bootstrap import Estimate, Ratio, estimate, median, ratio
from nestor.bench.columns import SKIPPED
from nestor.bench.counting import METRICS, runs
from nestor.bench.grouping import Group, GroupKey, Row, groups
from nestor.errors import DataError
from nestor.errors.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd


@dataclass(frozen=True)
class Note:
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
    estimates : mapping of str to Estimate
        Medians by metric, for each of `nestor.bench.counting.METRICS`.
    time_is_bound : bool
        Whether seconds to the target are upper bounds in any run.
    worst_quantity, worst_kind : str
        The quantity that most often had the smallest ESS, and which (bulk or tail) that mostly was.
    notes : tuple of Note
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
    estimates: Mapping[str, Estimate]
    time_is_bound: bool
    worst_quantity: str
    worst_kind: str
    notes: tuple[Note, ...]

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


def aggregate(table: pd.DataFrame) -> list[GroupSummary]:
    """Summarize each group of a table, in the order of `nestor.bench.grouping.groups`.

    Raises
    ------
    DataError
        If it is no table of benchmark results.
    """
    return [summarize(group) for group in groups(table)]


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


def relative(table: pd.DataFrame, baseline: str | None = None) -> list[Relative]:
    """Compare the time to the target of each group with a baseline's of the same track and size.

    Parameters
    ----------
    table : DataFrame
        Results.
    baseline : str or None
        A contender, whose group with as many chains and cores counts; None: of each track and size the
        quickest group that no run of which disagrees.

    Raises
    ------
    DataError
        If no row has the baseline, or it is no table of benchmark results.
    """
    found = groups(table)
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
    """Return the word for all runs of a group; see `GroupSummary`."""
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


def _notes(rows: Iterable[Row]) -> tuple[Note, ...]:
    """One for each way in which runs are not ok, or have no speed; their logs differ, the first is named."""
    seeds: dict[tuple[str, str], tuple[str, list[int]]] = {}
    for row in rows:
        if row["status"] != "ok" or row["message"]:
            status = "no_speed" if row["status"] == "ok" else row["status"]
            why = row["message"].partition(" Its log: ")[0]
            seeds.setdefault((status, why), (row["message"], []))[1].append(row["seed"])
    return tuple(Note(at[0], message, tuple(found)) for at, (message, found) in seeds.items())


def _commonest(words: Iterable[str]) -> str:
    """The word that occurs most often, of several the first in the alphabet; empty if there is none."""
    counts = Counter(word for word in words if word)
    return min(counts, key=lambda word: (-counts[word], word), default="")


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in words if word))
