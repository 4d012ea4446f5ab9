"""What the page shows of a table: scenarios, their tracks, and in these a line for each group of cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from nestor.bench.groups import TIMES
from nestor.views.report.palette import Pen, pens
from nestor.views.report.scenario import ScenarioInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from nestor.bench.bootstrap import MedianInterval
    from nestor.bench.groups import GroupKey, GroupSummary, Relative
    from nestor.bench.statistics import BenchStatistics

Speed = Literal["shown", "muted", "none"]


@dataclass(frozen=True)
class Line:
    """A group of cells that differ in their seed only.

    Attributes
    ----------
    summary : GroupSummary
        Its figures.
    relative : Relative
        Its time to the target over that of the quickest of its track and size.
    pen : Pen
        How its contender is drawn.
    detail : str
        Chains and cores, where they tell lines of one contender and size apart; else empty.
    """

    summary: GroupSummary
    relative: Relative
    pen: Pen
    detail: str

    @property
    def key(self) -> GroupKey:
        """What its cells share."""
        return self.summary.key

    @property
    def speed(self) -> Speed:
        """How its speeds are shown: a wrong answer has none, and one not judged right is muted."""
        if self.summary.verdict == "DISAGREE":
            return "none"
        return "shown" if self.summary.verdict == "AGREE" else "muted"

    @property
    def verdict(self) -> str:
        """The verdict in a word or two."""
        if self.summary.skipped:
            return "skipped"
        return self.summary.verdict or "not judged"

    def is_bound(self, metric: str) -> bool:
        """Whether a metric is an upper bound: a time, where warmup and sampling were not told apart."""
        return self.summary.time_is_bound and metric in TIMES

    def estimate(self, metric: str) -> MedianInterval:
        """Return the median of a metric."""
        return self.summary.estimates[metric]


@dataclass(frozen=True)
class Track:
    """The lines of one track of a scenario, sorted by size."""

    name: str
    sweep: str
    lines: tuple[Line, ...]

    @property
    def sizes(self) -> tuple[float | None, ...]:
        """The sizes that were asked for, from small to large."""
        return tuple(dict.fromkeys(line.key.sweep_value for line in self.lines))

    def of_size(self, size: float | None) -> tuple[Line, ...]:
        """Return the lines of one size."""
        return tuple(line for line in self.lines if line.key.sweep_value == size)


@dataclass(frozen=True)
class Section:
    """A scenario: what is said of it, its cells and its tracks; statistics are those of all scenarios."""

    info: ScenarioInfo
    cells: pd.DataFrame
    tracks: tuple[Track, ...]
    statistics: BenchStatistics


def sections(statistics: BenchStatistics, scenarios: Sequence[ScenarioInfo]) -> list[Section]:
    """Sort a table by scenario: in the order of `scenarios`, then those that only the table knows.

    Raises
    ------
    DataError
        If it is no table of benchmark results.
    """
    table, summaries = statistics.table, statistics.summaries
    ratios = {found.key: found for found in statistics.relatives}
    looks = pens(str(name) for name in table["contender"].fillna(""))
    given = _by_name(scenarios)
    names = dict.fromkeys([*given, *(s.key.scenario for s in summaries)])
    made = []
    for name in names:
        own = [s for s in summaries if s.key.scenario == name]
        lines = [Line(s, ratios[s.key], looks[s.key.contender], _detail(s, own)) for s in own]
        info = given.get(name, ScenarioInfo(name))
        cells = table[table["scenario"].fillna("") == name]
        made.append(Section(info, cells, _tracks(lines), statistics))
    return made


def _by_name(scenarios: Sequence[ScenarioInfo]) -> dict[str, ScenarioInfo]:
    """One of each name; a scenario that ran in several places has the commands of all of them."""
    found: dict[str, ScenarioInfo] = {}
    for info in scenarios:
        known = found.setdefault(info.name, info)
        commands = dict.fromkeys((*known.command, *info.command))
        found[info.name] = replace(known, command=tuple(commands))
    return found


def _tracks(lines: Sequence[Line]) -> tuple[Track, ...]:
    keys = dict.fromkeys((line.key.track, line.key.sweep) for line in lines)
    return tuple(
        Track(
            name, sweep, tuple(li for li in lines if (li.key.track, li.key.sweep) == (name, sweep))
        )
        for name, sweep in keys
    )


def _detail(summary: GroupSummary, own: Sequence[GroupSummary]) -> str:
    """Chains and cores, as far as the groups of one track and size differ in them."""
    peers = [s.key for s in own if s.key.place == summary.key.place]
    parts = []
    for count, noun in ((summary.key.chains, "chain"), (summary.key.cores, "core")):
        if count is not None and len({getattr(key, f"{noun}s") for key in peers}) > 1:
            parts.append(f"{count:,} {noun}{'' if count == 1 else 's'}")
    return ", ".join(parts)
