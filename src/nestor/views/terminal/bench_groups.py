"""The table of a benchmark: a line per group of runs, or a column where space is short.

Names and quantities are folded where a reader would, at ``@``, ``,`` and ``[``, and only where they must.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nestor.views.terminal.bench_words import size_number, size_words, time_words, value_words
from nestor.views.terminal.narrow import Prose
from nestor.views.terminal.tables import STYLES
from nestor.views.terminal.words import MISSING, count, duration, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

    from nestor.bench.groups import GroupKey, GroupSummary

_LINE = 14  # characters up to which a name is not folded: those of an interval of seconds
#: Heading, metric and form of what follows the times; a wrong answer has no speed but costs what it costs.
_FIGURES = (
    ("compile", "compile_s", duration, False),
    ("ESS/s", "ess_per_s_sampling", number, True),
    ("ESS/s incl.\nwarmup", "ess_per_s", number, True),
    ("ESS per\ngradient", "ess_per_gradient", number, True),
    ("gradients/s", "gradients_per_s", number, True),
    ("peak MB", "peak_bytes", lambda v: count(v / 1e6), False),
)


class GroupsView:
    """Verdicts, times, rates and memory: one table per scenario and track, sorted by size.

    Where a table is wider than the terminal its names are folded; where that does not do it is turned on its
    side, a table for each size. What is too wide even then becomes several tables for each size, of as many
    groups as there is room for.

    Parameters
    ----------
    summaries : sequence of GroupSummary
        Groups in the order of `nestor.bench.statistics.BenchStatistics.summaries`.
    """

    def __init__(self, summaries: Sequence[GroupSummary]) -> None:
        self._tracks = [
            _Track(name, list(members))
            for name, members in groupby(summaries, lambda s: (s.key.scenario, s.key.track))
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        def fits(table: Table) -> bool:
            needed = Measurement.get(console, options.update(max_width=10_000), table).maximum
            return needed <= options.max_width

        for track in self._tracks:
            yield Prose(Text(", ".join(track.name), style="bold"), 2)
            for table in track.tables(fits):
                yield Padding(table, (0, 0, 1, 0))
            if track.against:
                yield Padding(Prose(f"Verdicts against {track.against}.", 2), (0, 0, 1, 0))


class _Track:
    """The groups of one table, and which columns it takes."""

    def __init__(self, name: tuple[str, str], members: Sequence[GroupSummary]) -> None:
        self.name = name
        self._members = members
        keys = [one.key for one in members]
        self._swept = any(key.sweep_value is not None for key in keys)
        self._varies = [
            name
            for name in ("chains", "cores")
            if len({getattr(key, name) for key in keys if key.sweep != name}) > 1
        ]
        self.against = ", ".join(sorted({one.against for one in members if one.against}))

    def tables(self, fits: Callable[[Table], bool]) -> Sequence[Table]:
        """The tables of the first layout that fits."""
        sizes = [
            list(found) for _, found in groupby(self._members, lambda one: one.key.sweep_value)
        ]
        layouts: tuple[Callable[[], list[Table]], ...] = (
            lambda: [self._wide(folded=False)],
            lambda: [self._wide(folded=True)],
            lambda: [self._tall(members) for members in sizes],
        )
        for layout in layouts:
            tables = layout()
            if all(fits(table) for table in tables):
                return tables
        return [table for members in sizes for table in self._split(members, fits)]

    def _split(
        self, members: Sequence[GroupSummary], fits: Callable[[Table], bool]
    ) -> Iterator[Table]:
        """Tables of as many groups as fit, at least one."""
        start = 0
        while start < len(members):
            end = len(members)
            while end > start + 1 and not fits(self._tall(members[start:end])):
                end -= 1
            yield self._tall(members[start:end])
            start = end

    def _wide(self, *, folded: bool) -> Table:
        """A line per group."""
        fold = _folded if folded else str
        table = Table(
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            show_edge=False,
            padding=(0, 1, 0, 0 if folded else 1),
        )
        if self._swept:
            table.add_column(Text(self._members[0].key.sweep), justify="right")
        table.add_column("", overflow="fold")
        for heading in self._varies:
            table.add_column(heading, justify="right")
        for heading, _ in _cells(self._members[0], fold):
            left = heading in ("verdict", "smallest ESS of")
            table.add_column(heading, justify="left" if left else "right", overflow="fold")
        for one in self._members:
            size = [Text(size_number(one.key))] if self._swept else []
            extra = [Text(str(getattr(one.key, name))) for name in self._varies]
            cells = [cell for _, cell in _cells(one, fold)]
            table.add_row(*size, Text(fold(one.key.contender)), *extra, *cells)
        return table

    def _tall(self, members: Sequence[GroupSummary]) -> Table:
        """A column per group of one size."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column(Text(size_words(members[0].key)), no_wrap=True)
        for one in members:
            name = Text(self._name(one.key))
            table.add_column(name, justify="right", overflow="fold")
        columns = [_cells(one, _folded) for one in members]
        for row in zip(*columns, strict=True):
            table.add_row(row[0][0].replace("\n", " "), *(cell for _, cell in row))
        return table

    def _name(self, key: GroupKey) -> str:
        extra = [f"{name} {getattr(key, name)}" for name in self._varies]
        return "\n".join([_folded(key.contender), *extra])


def _folded(name: str) -> str:
    """Break a contender's or a quantity's name before ``@`` and ``[`` and after ``,``, where it is long."""
    first, *rest = re.split(r"(?<=.)(?=[@\[])|(?<=,)(?! )|(?<=, )", name)
    lines = [first]
    for piece in rest:
        if len(lines[-1] + piece.rstrip()) <= _LINE:
            lines[-1] += piece
        else:
            lines.append(piece)
    return "\n".join(line.rstrip() for line in lines)


def _cells(one: GroupSummary, fold: Callable[[str], str]) -> list[tuple[str, Text]]:
    """Heading and text of everything but the name; `fold` is for the quantity's name."""
    wrong = one.verdict == "DISAGREE"
    style = "" if one.verdict == "AGREE" else "dim"
    target = MISSING if one.target_ess is None else count(one.target_ess)
    cells = [
        ("verdict", Text(one.verdict or MISSING, STYLES.get(one.verdict, ""))),
        ("runs ok", Text(f"{one.n_ok}/{one.n}")),
    ]
    for heading, metric in (("cold", "time_to_ess_s"), ("warm", "time_to_ess_warm_s")):
        text = MISSING if wrong else time_words(one.estimates[metric], bound=one.time_is_bound)
        cells.append((f"to {target} ESS,\n{heading}", Text(text, style)))
    for heading, metric, form, speed in _FIGURES:
        hidden = wrong and speed
        text = MISSING if hidden else value_words(one.estimates[metric], form)
        cells.append((heading, Text(text, style if speed else "")))
    worst = f"{fold(one.worst_quantity)}\n({one.worst_kind})" if one.worst_quantity else MISSING
    return [*cells, ("smallest ESS of", Text(worst))]
