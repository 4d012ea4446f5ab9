"""Two tables of one scenario, before and after: what has become worse.

A figure is worse where the whole 95% interval of its ratio lies beyond the threshold. Simulated with
log-normal noise, five runs a side and a threshold of 1.1, that is a false alarm in none of 6,000
comparisons at 5% noise (so in fewer than 0.05%), in 0.1% at 10% and in 0.4% at 20%. At 5% noise a figure
that really became 1.3 times as large is found with 96%, one that became 1.2 times as large with 51%.
With fewer than three runs the ratio alone decides, which at 5% noise is a false alarm in 9% of
comparisons of one run with one (the normal tail beyond log 1.1 / (0.05 sqrt 2)).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from nestor.bench.aggregate import summarize
from nestor.bench.bootstrap import LEAST_RUNS, Estimate, Ratio, ratio
from nestor.bench.counting import METRICS, RATES, runs
from nestor.bench.grouping import Group, GroupKey, groups
from nestor.errors import DataError, SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from nestor.bench.aggregate import GroupSummary

DEFAULT_METRICS: Final = (
    "time_to_ess_s",
    "time_to_ess_warm_s",
    "ess_per_s_sampling",
    "compile_s",
    "peak_bytes",
)
#: Columns that say where a cell ran, and what they are in words.
_PLACE: Final = {"cpu": "CPU", "gpu": "GPU", "machine_cores": "cores of the machine"}

Word = Literal["worse", "better", ""]


@dataclass(frozen=True)
class Change:
    """One figure of one group, before and after.

    Parameters
    ----------
    key : GroupKey
        The group.
    metric : str
        The column.
    old, new : Estimate
        Its medians.
    ratio : Ratio
        New over old; for a rate old over new: above one is worse.
    word : {"worse", "better", ""}
        What can be told at the threshold.
    has_interval : bool
        Whether both sides have the runs that an interval takes; else the ratio alone decided.
    """

    key: GroupKey
    metric: str
    old: Estimate
    new: Estimate
    ratio: Ratio
    word: Word
    has_interval: bool


@dataclass(frozen=True)
class Ending:
    """A group that ends otherwise than before.

    Parameters
    ----------
    key : GroupKey
        The group.
    was, now : str
        ok, DISAGREE, censored (its median run does not reach the target), failing (no run is ok) or
        skipped.
    message : str
        Why, in the words of the new runs.
    """

    key: GroupKey
    was: str
    now: str
    message: str

    @property
    def broken(self) -> bool:
        """Whether it was ok and gives no right answer in time any more."""
        return self.was == "ok" and self.now not in ("ok", "skipped")


@dataclass(frozen=True)
class Regressions:
    """What differs between two tables.

    Parameters
    ----------
    threshold : float
        Ratio beyond which a figure is worse.
    changes : tuple of Change
        Every figure that both tables have.
    endings : tuple of Ending
        Groups that end otherwise than before.
    only_old, only_new : tuple of GroupKey
        Groups of one table alone.
    warnings : tuple of str
        Why the tables may not be comparable.
    """

    threshold: float
    changes: tuple[Change, ...]
    endings: tuple[Ending, ...]
    only_old: tuple[GroupKey, ...]
    only_new: tuple[GroupKey, ...]
    warnings: tuple[str, ...]

    @property
    def worse(self) -> tuple[Change, ...]:
        """Figures that have become worse."""
        return tuple(change for change in self.changes if change.word == "worse")

    @property
    def broken(self) -> tuple[Ending, ...]:
        """Groups that were ok and are no more."""
        return tuple(ending for ending in self.endings if ending.broken)

    @property
    def any(self) -> bool:
        """Whether there is a regression."""
        return bool(self.worse or self.broken)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain values, for JSON."""
        return {**asdict(self), "any": self.any}


def compare_tables(
    old: pd.DataFrame,
    new: pd.DataFrame,
    *,
    threshold: float = 1.1,
    metrics: Sequence[str] = DEFAULT_METRICS,
) -> Regressions:
    """Compare the groups that two tables share.

    Parameters
    ----------
    old, new : DataFrame
        Results before and after.
    threshold : float
        Ratio beyond which a figure is worse; above one.
    metrics : sequence of str
        Columns to compare, of `nestor.bench.counting.METRICS`.

    Raises
    ------
    SpecError
        If the threshold is not above one, or a metric is unknown.
    DataError
        If the tables share no group, or one is no table of benchmark results.
    """
    _check(threshold, metrics)
    before = {group.key: group for group in groups(old)}
    after = {group.key: group for group in groups(new)}
    both = [key for key in before if key in after]
    if not both:
        raise DataError(
            "the two tables have no group in common: none of "
            f"{', '.join(sorted({key.scenario for key in before})) or 'no scenario'} has the same track, "
            "size, contender, chains and cores in both. Compare results of one scenario."
        )
    pairs = [(before[key], after[key]) for key in both]
    wanted = list(dict.fromkeys(("time_to_ess_s", *metrics)))
    told = [(summarize(a, wanted), summarize(b, wanted)) for a, b in pairs]
    ends = [_ending(a, b) for a, b in told]
    return Regressions(
        threshold,
        tuple(
            change
            for pair, summaries in zip(pairs, told, strict=True)
            for change in _changes(pair, summaries, threshold, metrics)
        ),
        tuple(end for end in ends if end.was != end.now),
        tuple(key for key in before if key not in after),
        tuple(key for key in after if key not in before),
        tuple(_warnings(pairs)),
    )


def _check(threshold: float, metrics: Sequence[str]) -> None:
    if not threshold > 1:
        raise SpecError(f"the threshold is a ratio above 1, such as 1.1, not {threshold!r}.")
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown:
        raise SpecError(f"unknown metric {unknown[0]!r}; there are {', '.join(METRICS)}.")


def _changes(
    pair: tuple[Group, Group],
    summaries: tuple[GroupSummary, GroupSummary],
    threshold: float,
    metrics: Sequence[str],
) -> list[Change]:
    if "DISAGREE" in (summaries[0].verdict, summaries[1].verdict):
        return []  # a wrong answer has no speed
    changes, key = [], pair[0].key
    for metric in metrics:
        old, new = (summary.estimates[metric] for summary in summaries)
        if not (old.n and new.n):
            continue
        under, over = (runs(group, metric) for group in pair)
        if metric in RATES:
            under, over = over, under
        found = ratio(over, under, f"{key.label}, {metric}, new over old")
        changes.append(Change(key, metric, old, new, found, *_word(found, threshold)))
    return changes


def _word(found: Ratio, threshold: float) -> tuple[Word, bool]:
    has_interval = found.n >= LEAST_RUNS
    low, high = (found.low, found.high) if has_interval else (found.value, found.value)
    if not has_interval and found.value is None:
        low, high = found.at_least, found.at_most
    if low is not None and low > threshold:
        return "worse", has_interval
    if high is not None and high < 1 / threshold:
        return "better", has_interval
    return "", has_interval


def _ending(old: GroupSummary, new: GroupSummary) -> Ending:
    message = "; ".join(note.message for note in new.notes if note.message)
    if _state(new) == "DISAGREE":
        message = "; ".join(new.reasons)
    return Ending(old.key, _state(old), _state(new), message)


def _state(summary: GroupSummary) -> str:
    if summary.verdict == "DISAGREE":
        return "DISAGREE"
    if summary.skipped:
        return "skipped"
    if not summary.n_ok:
        return "failing"
    time = summary.estimates["time_to_ess_s"]
    return "censored" if time.value is None and time.n_censored else "ok"


def _warnings(pairs: Sequence[tuple[Group, Group]]) -> list[str]:
    found = []
    for column, words in _PLACE.items():
        before, after = (_seen([p[side] for p in pairs], column) for side in (0, 1))
        if before != after:
            found.append(f"{words}: {_listed(before)} before, {_listed(after)} after.")
    forms: Mapping[bool, str] = {False: "full", True: "quick"}
    quick = [{forms[bool(row["quick"])] for p in pairs for row in p[i].rows} for i in (0, 1)]
    if quick[0] != quick[1]:
        found.append(
            f"Form of the scenario: {_listed(quick[0])} before, {_listed(quick[1])} after."
        )
    return found


def _seen(found: Sequence[Group], column: str) -> set[str]:
    return {str(row[column]) for group in found for row in group.rows if row[column]}


def _listed(words: set[str]) -> str:
    return ", ".join(sorted(words)) or "none"
