"""What the page shows of a table: scenarios, their tracks, and in each track its groups of cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from nestor.bench.groups import TIMES
from nestor.views.format import COLOURS, counted
from nestor.views.report.scenario import ScenarioInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from nestor.bench.bootstrap import MedianInterval
    from nestor.bench.groups import GroupKey, GroupSummary, Relative
    from nestor.bench.statistics import BenchStatistics

Speed = Literal["shown", "muted", "none"]

_COLOURS: Final = (*COLOURS, "#7F7F7F")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")


@dataclass(frozen=True)
class Pen:
    """Colour, and dash and marker for who cannot see colours."""

    colour: str
    dash: str
    symbol: str


@dataclass(frozen=True)
class GroupRow:
    """A group of cells that differ in their seed only.

    Attributes
    ----------
    summary : GroupSummary
        Its figures.
    relative : Relative
        Its time to the target, divided by the fastest one of its track and size.
    pen : Pen
        How its contender is drawn.
    detail : str
        Chains and cores, where they tell groups of one contender and size apart; else empty.
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
    """The groups of one track of a scenario, sorted by size."""

    name: str
    sweep: str
    rows: tuple[GroupRow, ...]

    @property
    def sizes(self) -> tuple[float | None, ...]:
        """The sizes that were asked for, from small to large."""
        return tuple(dict.fromkeys(row.key.sweep_value for row in self.rows))

    def of_size(self, size: float | None) -> tuple[GroupRow, ...]:
        """Return the groups of one size."""
        return tuple(row for row in self.rows if row.key.sweep_value == size)


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
        rows = [GroupRow(s, ratios[s.key], looks[s.key.contender], _detail(s, own)) for s in own]
        info = given.get(name, ScenarioInfo(name))
        made.append(
            Section(info, table[table["scenario"].fillna("") == name], _tracks(rows), statistics)
        )
    return made


def _by_name(scenarios: Sequence[ScenarioInfo]) -> dict[str, ScenarioInfo]:
    """One of each name; a scenario that ran in several places has the commands of all of them."""
    found: dict[str, ScenarioInfo] = {}
    for info in scenarios:
        known = found.setdefault(info.name, info)
        commands = dict.fromkeys((*known.command, *info.command))
        found[info.name] = replace(known, command=tuple(commands))
    return found


def _tracks(rows: Sequence[GroupRow]) -> tuple[Track, ...]:
    keys = dict.fromkeys((row.key.track, row.key.sweep) for row in rows)
    return tuple(
        Track(name, sweep, tuple(r for r in rows if (r.key.track, r.key.sweep) == (name, sweep)))
        for name, sweep in keys
    )


def _detail(summary: GroupSummary, own: Sequence[GroupSummary]) -> str:
    """Name chains and cores if the groups of a track and size differ in them."""
    peers = [s.key for s in own if s.key.place == summary.key.place]
    parts = []
    for n, noun in ((summary.key.chains, "chain"), (summary.key.cores, "core")):
        if n is not None and len({getattr(key, f"{noun}s") for key in peers}) > 1:
            parts.append(counted(n, noun))
    return ", ".join(parts)


def pens(contenders: Iterable[str]) -> dict[str, Pen]:
    """Give each contender its pen, by its place.

    Where there are more contenders than colours, a colour comes again with another dash and marker.
    """
    n = len(_COLOURS)
    return {
        name: Pen(
            _COLOURS[i % n],
            _DASHES[(i + i // n) % len(_DASHES)],
            _SYMBOLS[(i + i // n) % len(_SYMBOLS)],
        )
        for i, name in enumerate(dict.fromkeys(contenders))
    }
