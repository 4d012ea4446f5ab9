"""Tables and sentences about a problem and a comparison, for a terminal."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nestor.document import engine_document
from nestor.printing import printable
from nestor.terminal.words import (
    MISSING,
    chosen_lines,
    count,
    duration,
    index_lines,
    number,
    pair_sentences,
    prior_lines,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.agreement.density import DensityCheck
    from nestor.agreement.verdict import PairResult
    from nestor.comparison import Comparison, EngineRow
    from nestor.contender import Contender
    from nestor.index import TreeIndex
    from nestor.problem import Problem

STYLES = {"AGREE": "bold green", "DISAGREE": "bold red", "INCONCLUSIVE": "bold yellow"}

#: Heading, where the value stands in the engine's document, and how it is written.
_COLUMNS = (
    ("compile", "timings", "compile_s", duration),
    ("warmup", "timings", "warmup_s", duration),
    ("sampling", "timings", "sampling_s", duration),
    ("all in", "timings", "total_s", duration),
    ("peak MB", "efficiency", "peak_bytes", lambda v: count(v / 1e6)),
    ("R-hat", "diagnostics", "rhat_max", lambda v: f"{v:.3f}"),
    ("bulk ESS", "diagnostics", "ess_bulk_min", count),
    ("tail ESS", "diagnostics", "ess_tail_min", count),
    ("divergences", "diagnostics", "divergences", count),
    ("ESS/s", "efficiency", "ess_per_s_sampling", number),
    ("ESS/s all in", "efficiency", "ess_per_s_total", number),
)


def index_view(index: TreeIndex) -> RenderableType:
    """Nodes per level, rows per leaf, and labels that occur under several parents."""
    return Group(*(Text(line) for line in index_lines(index)))


def problem_view(problem: Problem) -> RenderableType:
    """What is sampled: formula, tree and priors."""
    head = Text(printable(problem.spec.to_formula()), style="bold")
    head.append(f"   {problem.spec.family}, {count(problem.n_rows)} rows", style="not bold")
    priors = (Text(line) for line in prior_lines(problem))
    return Group(head, index_view(problem.index), *priors, Text(""))


def chosen_view(contenders: Sequence[Contender]) -> list[RenderableType]:
    """What auto chose for the contenders whose formulation was not named; empty if there is none."""
    lines = chosen_lines(contenders)
    return [Group(*(Text(line) for line in lines), Text(""))] if lines else []


def density_view(checks: Sequence[DensityCheck]) -> RenderableType:
    """Step 0, one line per contender."""
    return _density_table(checks, "Log densities against the reference at {} points")


def sampled_view(rows: Sequence[EngineRow]) -> RenderableType:
    """The density that each contender really sampled, one line for each that reports it."""
    checks = [row.sampled_density for row in rows if row.sampled_density is not None]
    return _density_table(checks, "The density that was sampled, at {} draws")


def _density_table(checks: Sequence[DensityCheck], heading: str) -> RenderableType:
    if not checks:
        return Text("")
    table = Table(box=None, pad_edge=False, show_edge=False)
    points = len(checks[0].reference)
    table.add_column(heading.format(points), overflow="fold")
    table.add_column("largest relative difference", justify="right")
    table.add_column("")
    for check in checks:
        word = Text("same", "green") if check.same else Text("DIFFERENT", "bold red")
        table.add_row(Text(f"  {printable(check.contender)}"), f"{check.largest:.0e}", word)
    return Padding(table, (0, 0, 1, 0))


class EngineView:
    """Seconds, diagnostics and efficiency of each contender; turned on its side where space is short.

    Parameters
    ----------
    rows : sequence of EngineRow
        The contenders.
    """

    def __init__(self, rows: Sequence[EngineRow]) -> None:
        self._names, self._headings, self._cells = engine_cells(rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = self._wide()
        needed = Measurement.get(console, options.update(max_width=10_000), wide).maximum
        fits = needed <= options.max_width
        yield Padding(wide if fits else self._tall(), (0, 0, 1, 0))

    def _wide(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("", no_wrap=True)
        for heading in self._headings:
            table.add_column(heading, justify="right")
        for name, cells in zip(self._names, self._cells, strict=True):
            table.add_row(Text(name), *cells)
        return table

    def _tall(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("")
        for name in self._names:
            table.add_column(Text(name), justify="right", overflow="fold")
        for j, heading in enumerate(self._headings):
            table.add_row(heading, *(cells[j] for cells in self._cells))
        return table


def engine_cells(rows: Sequence[EngineRow]) -> tuple[list[str], list[str], list[list[str]]]:
    """Names of contenders, headings, and for each contender what stands below them."""
    documents = [engine_document(row) for row in rows]
    cells = [[_cell(d, *column[1:]) for column in _COLUMNS] for d in documents]
    return [printable(row.name) for row in rows], [heading for heading, *_ in _COLUMNS], cells


def _cell(document: dict[str, dict[str, float | None]], group: str, key: str, form: object) -> str:
    value = document[group][key]
    return MISSING if value is None else str(form(value))  # type: ignore[operator]


def pair_view(pair: PairResult, comparison: Comparison) -> RenderableType:
    """The verdict of a pair and why."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    verdict = pair.verdict.value
    words = Text(pair.word.replace(" (", "\n("), STYLES[verdict])
    table.add_row(words, Text(printable(" ".join(pair_sentences(pair, comparison)))))
    return table


def group_view(pair: PairResult) -> RenderableType:
    """A pair's tests by group, so that thousands of nodes are a line."""
    if not pair.groups:
        return Text("")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    for heading in ("scalars", "outside", "not shown", "differ", "shape"):
        table.add_column(heading, justify="right")
    table.add_column("hardest to show equal", overflow="fold")
    table.add_column("by", justify="right")
    table.add_column("margin\nneeded", justify="right")
    for group in pair.groups:
        counts = (group.scalars, group.outside, group.not_shown, group.different, group.shape)
        cells = [MISSING if value is None else count(value) for value in counts]
        size = MISSING if group.size is None else f"{group.size:+.3f}"
        needed = MISSING if group.margin_needed is None else f"{group.margin_needed:.3f}"
        table.add_row(
            Text(printable(group.group)), *cells, Text(group.worst or MISSING), size, needed
        )
    return Padding(Group(Text(printable(f"{pair.a} and {pair.b}")), table), (1, 0, 1, 0))


def row_notes(rows: Sequence[EngineRow]) -> RenderableType:
    """One line for each contender that did not end well."""
    lines = []
    for row in rows:
        if row.status != "ok":
            line = Text(f"{printable(row.name)}  ", style="bold")
            message = printable(row.message)
            line.append(f"{row.status.replace('_', ' ')}: {message}", style="not bold")
            lines.append(line)
    return Group(*lines, *([Text("")] if lines else []))


def results_view(comparison: Comparison) -> RenderableType:
    """Densities, engines and verdicts of a comparison."""
    return Group(
        density_view(comparison.densities),
        sampled_view(comparison.rows),
        EngineView(comparison.rows),
        row_notes(comparison.rows),
        *(
            view
            for pair in comparison.pairs
            for view in (group_view(pair), pair_view(pair, comparison))
        ),
    )


def comparison_view(comparison: Comparison) -> RenderableType:
    """Everything about a comparison, from the problem to the verdicts."""
    chosen = chosen_view([row.contender for row in comparison.rows])
    return Group(problem_view(comparison.problem), *chosen, results_view(comparison))


def as_text(comparison: Comparison, width: int = 120) -> str:
    """Everything about a comparison as plain text of so many columns, for ``print``."""
    stream = StringIO()
    console = Console(file=stream, width=width, highlight=False, emoji=False, color_system=None)
    console.print(comparison_view(comparison))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())
