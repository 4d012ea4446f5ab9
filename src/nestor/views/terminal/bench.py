"""The bench command: the grid before it runs, then tables of groups, failures, growth and crossovers.

The table of groups has a line per group, or a column where space is short. Names and quantities are folded
where a reader would, at ``@``, ``,`` and ``[``, and only where they must.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from rich import box
from rich.console import Group
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nestor.bench.plan import total
from nestor.bench.table import SKIPPED, load_note
from nestor.views.format import (
    MISSING,
    cores_text,
    count,
    counted,
    duration,
    exponent,
    interval_text,
    median_text,
    metric_text,
    number,
    size_number,
    size_text,
    sizes_text,
    status_text,
)
from nestor.views.sentences import reasons_text, sentence
from nestor.views.terminal.layout import STYLES, Column, Fitted, Prose, Unpadded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from nestor.bench.bootstrap import MedianInterval
    from nestor.bench.crossover import Crossover
    from nestor.bench.grid import Cell
    from nestor.bench.groups import GroupKey, GroupSummary
    from nestor.bench.growth import Growth
    from nestor.bench.plan import BenchPlan
    from nestor.bench.statistics import BenchStatistics

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


# --- before it runs -------------------------------------------------------------------------


def scenarios_view(titles: Mapping[str, str]) -> RenderableType:
    """Scenarios by name, with what each is about."""
    columns = [Column("scenario", "name"), Column("", "prose")]
    return Unpadded(Fitted(columns, list(titles.items())))


def print_plan(planned: BenchPlan, folder: Path, console: Console) -> None:
    """Print the grid, what of it is finished, and what the rest will cost."""
    console.print(Unpadded(_grid_view(planned)))
    console.print(Prose("\n".join(_cost_lines(planned, folder)), 2))


def print_start(planned: BenchPlan, folder: Path, console: Console) -> None:
    """Print the scenario's title, how many cells will run, and what they will cost."""
    scenario = planned.scenario
    console.print(Prose(Text(scenario.title or scenario.name, style="bold"), 2))
    console.print(Prose("\n".join(_cost_lines(planned, folder)).lstrip("\n"), 2))


def print_left(planned: BenchPlan, table: pd.DataFrame, console: Console, *, rerun: bool) -> None:
    """Print how many cells did not run within the budget, not counting skipped ones."""
    skipped = set(table["id"][table["status"] == SKIPPED])
    left = sum(cell.id not in skipped for cell in planned.left)
    if left:
        cells = "1 cell is" if left == 1 else f"{count(left)} cells are"
        command = "the same command without --rerun" if rerun else "the same command"
        console.print(Prose(f"{cells} left: {command} goes on from there.", 2))


def _grid_view(planned: BenchPlan) -> RenderableType:
    """A line for each contender and size: repetitions, finished ones, seconds of each."""
    estimate = planned.forecast
    sweep = planned.scenario.sweep
    columns = [
        Column(sweep.parameter if sweep else ""),
        Column("track"),
        Column("contender", "name"),
    ]
    headings = ("chains", "warmup", "draws", "cores", "seeds", "finished", "each, about")
    columns += map(Column, headings)
    rows: list[list[Text | str]] = []
    for cells in _alike(planned.cells):
        first = cells[0]
        finished = sum(cell.id in planned.finished for cell in cells)
        config = first.config
        numbers = (config.chains, config.warmup, config.draws, first.cores, len(cells), finished)
        cost = (
            Text("skipped", "yellow")
            if first.refusal
            else Text(_rough(estimate.seconds(first)).removeprefix("about "))
        )
        value = "" if first.value is None else size_number(first.value)
        rows.append([value, first.track, first.name, *(count(n) for n in numbers), cost])
    return Fitted(columns, rows)


def _alike(cells: tuple[Cell, ...]) -> list[list[Cell]]:
    """Group cells that differ only in their seed, ordered by size."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        key = (cell.value, cell.track, cell.name, cell.config.chains, cell.config.draws, cell.cores)
        groups.setdefault(key, []).append(cell)
    return sorted(groups.values(), key=lambda g: (g[0].track == "yardstick", g[0].value or 0.0))


def _cost_lines(planned: BenchPlan, folder: Path) -> list[str]:
    left = [cell for cell in planned.left if not cell.refusal]
    refused = Counter((cell.name, cell.refusal) for cell in planned.cells if cell.refusal)
    lines = [f"{name}: skipped, {sentence(why)}" for name, why in refused]
    estimate = planned.forecast
    told = sum(estimate.from_records(cell) for cell in left)
    # A cell's process may take the limit three times: densities, the run, and compiling again.
    most = sum(3 * cell.timeout_s for cell in left)
    cost = f"{count(len(planned.cells))} cells, {count(len(left))} to be run"
    if left:
        source = f"finished cells tell of {count(told)}" if told else "to an order of magnitude"
        cost += f": {_rough(total(estimate, left))} ({source}), {_rough(most)} at most"
    cost += f". Results: {folder}/"
    return [*lines, "", cost]


def _rough(seconds: float) -> str:
    """Write seconds as a rough figure: about 40 s, about 5 min."""
    if seconds < 90:
        return f"about {max(10, round(seconds, -1)):.0f} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {count(seconds / 3600)} h"


# --- groups ---------------------------------------------------------------------------------


def print_results(statistics: BenchStatistics, console: Console) -> None:
    """Print the groups of a table, what did not end well, growth and crossovers."""
    print_figures(statistics, console)
    console.print(growth_view(statistics.growth), crossover_view(statistics.crossovers))


def print_figures(statistics: BenchStatistics, console: Console) -> None:
    """Print the groups of a table, and what did not end well."""
    summaries = statistics.summaries
    if note := load_note(statistics.table):
        console.print(Text(note, "yellow"), soft_wrap=True)
    # A group of which nothing ran has no figures: the notes say why.
    run = [summary for summary in summaries if not summary.skipped]
    console.print(groups_view(run or summaries), notes_view(summaries))


def groups_view(summaries: Sequence[GroupSummary]) -> RenderableType:
    """Verdicts, times, rates and memory of each group: one table per scenario and track."""
    return Unpadded(GroupsView(summaries))


class GroupsView:
    """Verdicts, times, rates and memory: one table per scenario and track, sorted by size.

    Where a table is wider than the terminal its names are folded; where that does not do it is turned on its
    side, a table for each size. What is too wide even then becomes several tables for each size, of as many
    groups as there is room for.

    Parameters
    ----------
    summaries : sequence of GroupSummary
        Groups in the order of `nestor.bench.aggregate.aggregate`.
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
            size = [Text(_number(one.key))] if self._swept else []
            extra = [Text(str(getattr(one.key, name))) for name in self._varies]
            cells = [cell for _, cell in _cells(one, fold)]
            table.add_row(*size, Text(fold(one.key.contender)), *extra, *cells)
        return table

    def _tall(self, members: Sequence[GroupSummary]) -> Table:
        """A column per group of one size."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column(
            Text(size_text(members[0].key.sweep, members[0].key.sweep_value)), no_wrap=True
        )
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


def _number(key: GroupKey) -> str:
    return MISSING if key.sweep_value is None else size_number(key.sweep_value)


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
        text = MISSING if wrong else time_lines(one.estimates[metric], bound=one.time_is_bound)
        cells.append((f"to {target} ESS,\n{heading}", Text(text, style)))
    for heading, metric, form, speed in _FIGURES:
        hidden = wrong and speed
        text = MISSING if hidden else median_text(one.estimates[metric], form)
        cells.append((heading, Text(text, style if speed else "")))
    worst = f"{fold(one.worst_quantity)}\n({one.worst_kind})" if one.worst_quantity else MISSING
    return [*cells, ("smallest ESS of", Text(worst))]


def time_lines(found: MedianInterval, *, bound: bool = False) -> str:
    """A time on one line and its interval on the next."""
    if found.n and found.value is None and found.at_least is None:
        return "not reached"
    text = median_text(found, duration, bound=bound)
    interval = "" if found.value is None else interval_text(found.low, found.high, duration)
    return f"{text}\n({interval})" if interval else text


# --- what is not as it should be ------------------------------------------------------------


class _Noted(NamedTuple):
    """Runs of a group that failed or do not agree: their status, the reasons and their number."""

    one: GroupSummary
    word: str
    reasons: tuple[str, ...]
    runs: int


def notes_view(summaries: Sequence[GroupSummary]) -> RenderableType:
    """Show one line per contender and problem: failed, skipped or disagreeing runs."""
    lines: dict[tuple[str, str], list[_Noted]] = {}
    for one in summaries:
        for noted in _notes(one):
            lines.setdefault((one.key.contender, noted.word), []).append(noted)
    return Unpadded(Group(*(_line(*at, found) for at, found in lines.items())))


def _notes(one: GroupSummary) -> Iterator[_Noted]:
    for note in one.notes:
        yield _Noted(one, status_text(note.status), (note.message,), len(note.seeds))
    if one.verdict == "DISAGREE":
        yield _Noted(one, one.verdict, one.reasons, one.verdicts[one.verdict])
    elif one.verdict == "INCONCLUSIVE":
        yield from _inconclusive(one)


def _inconclusive(one: GroupSummary) -> Iterator[_Noted]:
    """Yield runs that passed their gates but were not shown to agree; failed gates have their own line."""
    runs = one.verdicts.get(one.verdict, 0) - one.statuses.get("gates_failed", 0)
    if runs > 0:
        told = tuple(note.message for note in one.notes if note.message)
        name = f"{one.key.contender}: "  # stands before each reason why a run cannot be judged
        reasons = (why for why in one.reasons if not why.replace(name, "").endswith(told))
        yield _Noted(one, one.verdict, tuple(reasons), runs)


def _line(contender: str, word: str, found: Sequence[_Noted]) -> RenderableType:
    why = reasons_text([reason for noted in found for reason in noted.reasons])
    keys = [noted.one.key for noted in found]
    tracks = ", ".join(dict.fromkeys(key.track for key in keys))
    runs = sum(noted.runs for noted in found)
    line = Text(f"{contender}  ", "bold")
    line.append(word, STYLES.get(word, "not bold"))
    line.append(f": {why}  " if why else "  ", "not bold")
    where = "; ".join(filter(None, (tracks, sizes_text(keys), counted(runs, "run"))))
    return Prose(line.append(f"({where})", "dim not bold"), 2)


# --- growth and crossovers ------------------------------------------------------------------


def growth_view(found: Sequence[Growth]) -> RenderableType:
    """Growth exponents: one table per scenario, track and sweep, contenders beside each other."""
    parts = [
        _growth_table(*name, list(members))
        for name, members in groupby(found, lambda one: (one.scenario, one.track, one.sweep))
    ]
    return Unpadded(Group(*parts))


def _growth_table(
    scenario: str, track: str, sweep: str, members: Sequence[Growth]
) -> RenderableType:
    head = Text(f"{scenario}, {track}: cost grows as {sweep} to the power of", "bold")
    headings = ("exponent", "95% interval", "two largest\nsizes", "up to", "runs", "left out")
    settings = _varying(members)
    rows: list[list[Text | str]] = []
    for metric in dict.fromkeys(one.metric for one in members):
        rows.append([metric_text(metric), *[""] * len(headings)])
        rows += [_growth_cells(one, settings) for one in members if one.metric == metric]
    table = Fitted([Column("", "name"), *map(Column, headings)], rows)
    return Group(Prose(head, 2), table, Text(""))


def _varying(members: Sequence[Growth]) -> list[str]:
    """Return the settings (chains, cores) that vary although the contender's name is the same."""
    return [
        name for name in ("chains", "cores") if len({getattr(one, name) for one in members}) > 1
    ]


def _growth_cells(one: Growth, settings: Sequence[str]) -> list[Text | str]:
    name = ", ".join([one.contender, *(f"{name} {getattr(one, name)}" for name in settings)])
    return [
        Text(f"  {name}"),
        exponent(one.exponent),
        f"{exponent(one.low)} to {exponent(one.high)}",
        exponent(one.last),
        count(one.sizes[-1]),
        count(one.n),
        count(one.left_out) if one.left_out else MISSING,
    ]


def crossover_view(found: Sequence[Crossover]) -> RenderableType:
    """Say for each CPU/GPU pair from which size on the GPU is faster, and by how much."""
    return Unpadded(Group(*(Prose(_sentence(one), 2) for one in found)))


def _sentence(one: Crossover) -> str:
    where = f"{one.scenario}, {one.track}, {metric_text(one.metric)}"
    gpu, cpu = (
        f"{one.gpu}{cores_text(one, one.gpu_cores)}",
        f"{one.cpu}{cores_text(one, one.cpu_cores)}",
    )
    answer = f"{gpu} against {cpu}: {_answer(one)}."
    several = f" The quicker one changes {one.changes} times." if one.changes > 1 else ""
    return f"{where}: {answer} {_ratios(one)}{several}".rstrip()


def _answer(one: Crossover) -> str:
    if one.answer == "never":
        return f"never quicker up to {one.sweep} = {count(one.sizes[-1])}"
    if one.answer == "always":
        return f"quicker from the smallest size on ({one.sweep} = {count(one.sizes[0])})"
    low, high = one.between or (one.sizes[0], one.sizes[-1])
    if one.size is None:
        return f"quicker from somewhere between {one.sweep} = {count(low)} and {count(high)} on"
    size = count(float(f"{one.size:.2g}"))
    return (
        f"quicker from about {one.sweep} = {size} on (measured at {count(low)} and {count(high)})"
    )


def _ratios(one: Crossover) -> str:
    """How much quicker or slower the GPU is at the smallest and at the largest size."""
    ends = [(one.sizes[i], one.ratios[i]) for i in (0, -1)]
    parts = [f"{_times(ratio)} at {count(size)}" for size, ratio in ends if ratio is not None]
    return f"It is {', '.join(parts)}." if parts else ""


def _times(ratio: float) -> str:
    return f"{number(ratio)} times as fast" if ratio >= 1 else f"{number(1 / ratio)} times as slow"
