"""Two tables of one scenario, before and after: what has become worse.

A figure is worse where the whole 95% interval of its ratio lies beyond the threshold, and the medians are
further apart than what nobody would notice (`floor`). Simulated without the floor, with log-normal noise,
five runs a side and a threshold of 1.1, that is a false alarm in none of 6,000 comparisons at 5% noise (so
in fewer than 0.05%), in 0.1% at 10% and in 0.4% at 20%. At 5% noise a figure that really became 1.3 times as
large is found with 96%, one that became 1.2 times as large with 51%. Three runs a side are the fewest that
have an interval: a false alarm in none of 1,500 comparisons at 5% noise, in 1.1% at 10% and in 4% at 20%.

With fewer runs nothing is said of a figure, be it a time, a rate or memory: at 5% noise the ratio of one run
to another is beyond 1.1 in 9% of comparisons of equal programs (the normal tail beyond
log 1.1 / (0.05 sqrt 2)), at 10% noise in 25%.
"""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from nestor.bench.bootstrap import LEAST_RUNS, ratio
from nestor.bench.groups import METRICS, RATES, groups, runs, summarize
from nestor.errors import DataError, SpecError
from nestor.errors.arguments import number
from nestor.errors.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from nestor.bench.bootstrap import MedianInterval, Ratio
    from nestor.bench.groups import Group, GroupKey, GroupSummary


Word = Literal["worse", "better", ""]


class RegressionVerdict(enum.StrEnum):
    """What can be said of two tables."""

    REGRESSION = "REGRESSION"
    NO_REGRESSION = "NO REGRESSION"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Change:
    """One figure of one group, before and after.

    Parameters
    ----------
    key : GroupKey
        The group.
    metric : str
        The column.
    old, new : MedianInterval
        Its medians.
    ratio : Ratio
        New over old; for a rate old over new: above one is worse.
    word : {"worse", "better", ""}
        What can be told at the threshold; empty if nothing can, or the medians are closer than the
        metric's `floor`.
    has_interval : bool
        Whether both sides have the runs that an interval takes; without one the word is empty.
    judged : bool
        False where there is no interval although the group is ok before and after: more runs would tell.
    """

    key: GroupKey
    metric: str
    old: MedianInterval
    new: MedianInterval
    ratio: Ratio
    word: Word
    has_interval: bool
    judged: bool

    @property
    def missing(self) -> tuple[int, int]:
        """Number of runs that the old and the new side lack for an interval."""
        return max(LEAST_RUNS - self.old.n, 0), max(LEAST_RUNS - self.new.n, 0)


@dataclass(frozen=True)
class StatusChange:
    """A group whose status has changed.

    Parameters
    ----------
    key : GroupKey
        The group.
    was, now : str
        ok, DISAGREE, censored (its median run does not reach the target), failing (no run is ok) or
        skipped.
    reasons : tuple of str
        Why, in the words of the new runs: each different reason once.
    """

    key: GroupKey
    was: str
    now: str
    reasons: tuple[str, ...]

    @property
    def broken(self) -> bool:
        """Whether it was ok before and is not now; a skipped group counts as broken."""
        return self.was == "ok" and self.now != "ok"


@dataclass(frozen=True)
class Regressions:
    """What differs between two tables.

    Parameters
    ----------
    threshold : float
        Ratio beyond which a figure is worse.
    changes : tuple of Change
        Every figure that both tables have.
    endings : tuple of StatusChange
        Groups that end otherwise than before.
    only_old, only_new : tuple of GroupKey
        Groups of one table alone; they are not judged.
    warnings : tuple of str
        Why the tables may not be comparable.
    """

    threshold: float
    changes: tuple[Change, ...]
    endings: tuple[StatusChange, ...]
    only_old: tuple[GroupKey, ...]
    only_new: tuple[GroupKey, ...]
    warnings: tuple[str, ...]

    @property
    def worse(self) -> tuple[Change, ...]:
        """Figures that have become worse."""
        return tuple(change for change in self.changes if change.word == "worse")

    @property
    def broken(self) -> tuple[StatusChange, ...]:
        """Groups that were ok before and are not now."""
        return tuple(ending for ending in self.endings if ending.broken)

    @property
    def unjudged(self) -> tuple[Change, ...]:
        """Figures of which too few runs can tell anything."""
        return tuple(change for change in self.changes if not change.judged)

    @property
    def missing(self) -> tuple[int, int]:
        """Number of runs per group that the old and the new table lack for intervals of all figures."""
        lacks = [change.missing for change in self.unjudged]
        return max((old for old, _ in lacks), default=0), max((new for _, new in lacks), default=0)

    @property
    def unsure(self) -> tuple[Change, ...]:
        """Figures that are not worse, but whose interval reaches beyond the threshold."""
        broken = {end.key for end in self.broken}
        return tuple(
            change
            for change in self.changes
            if change.has_interval
            and change.word != "worse"
            and change.key not in broken
            and (change.ratio.high is None or change.ratio.high > self.threshold)
        )

    @property
    def any(self) -> bool:
        """Whether there is a regression."""
        return bool(self.worse or self.broken)

    @property
    def outcome(self) -> RegressionVerdict:
        """REGRESSION; else INCONCLUSIVE while a figure is not judged; else NO REGRESSION."""
        if self.any:
            return RegressionVerdict.REGRESSION
        return RegressionVerdict.INCONCLUSIVE if self.unjudged else RegressionVerdict.NO_REGRESSION

    @property
    def exit_code(self) -> int:
        """1 with a regression, 3 inconclusive, else 0."""
        return {
            RegressionVerdict.REGRESSION: 1,
            RegressionVerdict.INCONCLUSIVE: 3,
            RegressionVerdict.NO_REGRESSION: 0,
        }[self.outcome]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain values, for JSON."""
        old, new = self.missing
        return {
            **asdict(self),
            "any": self.any,
            "verdict": self.outcome.value,
            "runs_needed": LEAST_RUNS,
            "runs_missing": {"old": old, "new": new},
        }


DEFAULT_METRICS: Final = (
    "time_to_ess_s",
    "time_to_ess_warm_s",
    "ess_per_s_sampling",
    "compile_s",
    "peak_bytes",
)
#: Columns that say where a cell ran, and what they are in words.
_PLACE: Final = {"cpu": "CPU", "gpu": "GPU", "machine_cores": "cores of the machine"}
_FLOOR_S = 0.05
_FLOOR_BYTES = 5_000_000


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
        Columns to compare, of `nestor.bench.groups.METRICS`.

    Raises
    ------
    SpecError
        If the threshold is not a finite number above one, or a metric is unknown.
    DataError
        If the tables share no group, one has the quick form of a scenario and the other the full one, or one
        is no table of benchmark results.
    """
    _check(threshold, metrics)
    before = {group.key: group for group in groups(old)}
    after = {group.key: group for group in groups(new)}
    _check_forms(before.values(), after.values())
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
            for pair, summaries, end in zip(pairs, told, ends, strict=True)
            for change in _changes(pair, summaries, end, threshold, metrics)
        ),
        tuple(end for end in ends if end.was != end.now),
        tuple(key for key in before if key not in after),
        tuple(key for key in after if key not in before),
        tuple(_warnings(pairs)),
    )


def _check(threshold: float, metrics: Sequence[str]) -> None:
    number("the threshold", threshold, above=1.0, what="a finite ratio")
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown:
        meant = did_you_mean(unknown[0], METRICS)
        raise SpecError(f"unknown metric {unknown[0]!r}; there are {', '.join(METRICS)}.{meant}")


def _check_forms(before: Iterable[Group], after: Iterable[Group]) -> None:
    """A table has one form of a scenario, which `groups` has seen to."""
    words = {False: "the full form", True: "the quick form"}
    old, new = (
        {group.key.scenario: bool(group.rows[0]["quick"]) for group in found}
        for found in (before, after)
    )
    for scenario in old:
        if scenario in new and old[scenario] != new[scenario]:
            raise DataError(
                f"scenario {scenario!r}: the old table has {words[old[scenario]]}, the new one "
                f"{words[new[scenario]]}. They are different problems: compare results of one form."
            )


def floor(metric: str) -> float:
    """Difference of two medians below which a figure is neither worse nor better, in the metric's unit.

    0.05 s of a time and 5 MB of memory, however large their ratio is; none for a rate, which is a ratio
    itself.
    """
    if metric in RATES:
        return 0.0
    return _FLOOR_BYTES if metric.endswith("_bytes") else _FLOOR_S


def _changes(
    pair: tuple[Group, Group],
    summaries: tuple[GroupSummary, GroupSummary],
    end: StatusChange,
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
        has_interval = found.n >= LEAST_RUNS
        word = _word(found, threshold) if has_interval and not _close(old, new, metric) else ""
        # A group that fails has runs too few for its rates whatever is added: its ending is judged.
        judged = has_interval or (end.was, end.now) != ("ok", "ok")
        changes.append(Change(key, metric, old, new, found, word, has_interval, judged))
    return changes


def _close(old: MedianInterval, new: MedianInterval, metric: str) -> bool:
    """Whether both medians are known and closer than the floor."""
    if old.value is None or new.value is None:
        return False
    return abs(new.value - old.value) < floor(metric)


def _word(found: Ratio, threshold: float) -> Word:
    if found.low is not None and found.low > threshold:
        return "worse"
    if found.high is not None and found.high < 1 / threshold:
        return "better"
    return ""


def _ending(old: GroupSummary, new: GroupSummary) -> StatusChange:
    reasons = tuple(dict.fromkeys(note.message for note in new.notes if note.message))
    if _state(new) == "DISAGREE":
        reasons = new.reasons
    return StatusChange(old.key, _state(old), _state(new), reasons)


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
    return found


def _seen(found: Sequence[Group], column: str) -> set[str]:
    return {str(row[column]) for group in found for row in group.rows if row[column]}


def _listed(words: set[str]) -> str:
    return ", ".join(sorted(words)) or "none"
