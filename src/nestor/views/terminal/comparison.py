"""A comparison: densities, what each engine costs, estimates, and the verdict of each pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from nestor.agreement.engine_result import EngineResult
from nestor.agreement.schema import engine_document
from nestor.engines.clock import noticeable
from nestor.errors.text import printable
from nestor.views.format import MISSING, and_list, count, duration, number, status_text
from nestor.views.sentences import ESTIMATES, SHOWN_QUANTITIES, estimate_rows, pair_sentences
from nestor.views.terminal.layout import STYLES, Column, Fitted, Prose
from nestor.views.terminal.problem import chosen_view, problem_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from nestor.agreement.comparison import Comparison
    from nestor.agreement.density import DensityCheck
    from nestor.agreement.engine_result import EngineRow
    from nestor.agreement.verdict import PairResult

    type _Document = Mapping[str, Any]


class _Figure(NamedTuple):
    """A column of the table of engines: its heading, where the value stands, and how it is written."""

    heading: str
    group: str
    key: str
    form: Callable[[float], str]


_IMPORT = _Figure("import", "timings", "import_s", duration)
_COMPILE = _Figure("compile", "timings", "compile_s", duration)
_WARMUP = _Figure("warmup", "timings", "warmup_s", duration)
_SAMPLING = _Figure("sampling", "timings", "sampling_s", duration)
_TOGETHER = _Figure("warmup+sampling", "timings", "warmup_and_sampling_s", duration)
_NO_PHASE = _Figure(
    "no phase", "timings", "unaccounted_s", lambda v: f"{'-' if v < 0 else ''}{duration(abs(v))}"
)
_COSTS = (
    _Figure("all in", "timings", "all_in_s", duration),
    _Figure("peak MB", "efficiency", "peak_bytes", lambda v: count(v / 1e6)),
    _Figure("R-hat", "diagnostics", "rhat_max", lambda v: f"{v:.3f}"),
    _Figure("bulk ESS", "diagnostics", "ess_bulk_min", count),
    _Figure("tail ESS", "diagnostics", "ess_tail_min", count),
    _Figure("divergences", "diagnostics", "divergences", count),
)
_RATE = _Figure("ESS/s", "efficiency", "ess_per_s_sampling", number)
_RATE_TOGETHER = _Figure("ESS/s incl. warmup", "efficiency", "ess_per_s", number)
_RATE_ALL_IN = _Figure("ESS/s all in", "efficiency", "ess_per_s_total", number)


def density_view(checks: Sequence[DensityCheck]) -> RenderableType:
    """Step 0, one line per contender."""
    return _density_table(checks, "Log densities against the reference at {} points")


def sampled_view(rows: Sequence[EngineRow]) -> RenderableType:
    """The density that each contender really sampled, one line for each that reports it."""
    results = [row for row in rows if isinstance(row, EngineResult)]
    checks = [row.sampled_density for row in results if row.sampled_density is not None]
    return _density_table(checks, "The density that was sampled, at {} draws")


def _density_table(checks: Sequence[DensityCheck], heading: str) -> RenderableType:
    if not checks:
        return Text("")
    head = Text(heading.format(len(checks[0].reference)))
    columns = [Column("", "name"), Column("largest relative difference"), Column("")]
    rows: list[list[Text | str]] = []
    for check in checks:
        word = Text("same", "green") if check.same else Text("DIFFERENT", "bold red")
        rows.append([printable(check.contender), f"{check.largest:.0e}", word])
    return Group(head, Fitted(columns, rows), Text(""))


def engine_view(rows: Sequence[EngineRow]) -> RenderableType:
    """Seconds, diagnostics and efficiency of each contender; on its side where space is short.

    Where some sampler knows warmup and sampling only together, everyone's are shown together too.
    """
    headings, cells, notes = engine_cells(rows)
    columns = [Column("", "name"), *map(Column, headings)]
    named: list[list[Text | str]] = [
        [printable(row.name), *values] for row, values in zip(rows, cells, strict=True)
    ]
    below = [Prose(printable(note), 2) for note in notes]
    return Group(Fitted(columns, named, sideways=True), *below, Text(""))


def engine_cells(rows: Sequence[EngineRow]) -> tuple[list[str], list[list[str]], list[str]]:
    """Return headings, the cells of each contender, and notes on missing timings."""
    documents = {row.name: engine_document(row) for row in rows}
    figures = _figures(list(documents.values()))
    cells = [[_cell(found, figure) for figure in figures] for found in documents.values()]
    return [figure.heading for figure in figures], cells, list(_phases_not_told_apart(documents))


def _figures(documents: Sequence[_Document]) -> list[_Figure]:
    """Choose the columns: a phase or rate is shown if some contender has it."""

    def known(figure: _Figure) -> bool:
        return any(found[figure.group][figure.key] is not None for found in documents)

    phases, rates = [_WARMUP, _SAMPLING], [_RATE]
    if any(_only_together(found) for found in documents):
        phases = [*filter(known, phases), _TOGETHER]
        rates = [*filter(known, rates), _RATE_TOGETHER]
    if any(noticeable(found["timings"]) for found in documents):
        phases.append(_NO_PHASE)
    return [_IMPORT, _COMPILE, *phases, *_COSTS, *rates, _RATE_ALL_IN]


def _only_together(document: _Document) -> bool:
    """Return whether only the sum of warmup and sampling is known."""
    seconds = document["timings"]
    apart = seconds["warmup_s"] is not None and seconds["sampling_s"] is not None
    return seconds["warmup_and_sampling_s"] is not None and not apart


def _phases_not_told_apart(documents: Mapping[str, _Document]) -> Iterator[str]:
    """Say why a contender with draws lacks its warmup or sampling time."""
    together = [name for name, found in documents.items() if _only_together(found)]
    if together:
        yield (
            f"Warmup and sampling of {and_list(together)} cannot be told apart: see warmup+sampling and "
            "ESS/s incl. warmup."
        )
    silent = [
        name
        for name, found in documents.items()
        if found["timings"]["all_in_s"] is not None
        and found["timings"]["sampling_s"] is None
        and found["timings"]["warmup_and_sampling_s"] is None
    ]
    if silent:
        yield f"{and_list(silent)} does not report the seconds of its sampling: only all in is known."


def _cell(document: _Document, figure: _Figure) -> str:
    value = document[figure.group][figure.key]
    return MISSING if value is None else figure.form(value)


def estimates_view(comparison: Comparison) -> RenderableType:
    """What each engine estimates of the population, scales and family parameters, one under the other."""
    table = estimate_rows(comparison)
    if not table:
        return Text("")
    columns = [Column("", "name"), *(Column(heading) for heading in ESTIMATES)]
    cells: list[list[Text | str]] = []
    for quantity, by_engine in list(table.items())[:SHOWN_QUANTITIES]:
        cells.append([Text(quantity, "bold"), *[""] * len(ESTIMATES)])
        cells += [[f"  {printable(engine)}", *figures] for engine, figures in by_engine.items()]
    parts: list[RenderableType] = [Text("Estimates"), Fitted(columns, cells)]
    if (more := len(table) - SHOWN_QUANTITIES) > 0:
        parts.append(
            Prose(f"{count(more)} more are in comparison.json and Comparison.estimates().")
        )
    return Group(*parts, Text(""))


def pair_view(pair: PairResult, comparison: Comparison) -> RenderableType:
    """The verdict of a pair, and why: a line for each sentence."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    words = Text(pair.word.replace(" (", "\n("), STYLES[pair.verdict.value])
    sentences = (Prose(printable(text), 2) for text in pair_sentences(pair, comparison))
    table.add_row(words, Group(*sentences))
    return Group(table, Text(""))


def group_view(pair: PairResult) -> RenderableType:
    """Show a pair's tests by group of quantities, and the worst quantity of each group."""
    if not pair.groups:
        return Text("")
    headings = ("scalars", "outside", "not shown", "differ", "shape", "by", "margin needed")
    rows = []
    for group in pair.groups:
        counts = (group.scalars, group.outside, group.not_shown, group.different, group.shape)
        cells = [MISSING if value is None else count(value) for value in counts]
        size = MISSING if group.size is None else f"{group.size:+.3f}"
        needed = MISSING if group.margin_needed is None else f"{group.margin_needed:.3f}"
        rows.append([printable(group.group), *cells, size, needed])
    worst = [
        Prose(printable(f"  {group.group}: {group.worst}"), 4)
        for group in pair.groups
        if group.worst
    ]
    head = [Text("Hardest to show equal")] if worst else []
    columns = [Column("", "name"), *map(Column, headings)]
    title = Prose(printable(f"{pair.a} and {pair.b}"), 2)
    return Group(title, Fitted(columns, rows), *head, *worst, Text(""))


def row_notes(rows: Sequence[EngineRow]) -> RenderableType:
    """One line for each contender that did not end well, or has no speed."""
    lines: list[RenderableType] = []
    for row in rows:
        if row.status != "ok":
            line = Text(f"{printable(row.name)}  ", style="bold")
            message = printable(row.message)
            line.append(f"{status_text(row.status)}: {message}", style="not bold")
            lines.append(Prose(line, 2))
        if row.speed_void:
            line = Text.assemble((f"{printable(row.name)}  ", "bold"), row.speed_void)
            lines.append(Prose(line, 2))
    return Group(*lines, *([Text("")] if lines else []))


def results_view(comparison: Comparison) -> RenderableType:
    """Densities, engines and verdicts of a comparison."""
    return Group(
        density_view(comparison.densities),
        sampled_view(comparison.rows),
        engine_view(comparison.rows),
        row_notes(comparison.rows),
        estimates_view(comparison),
        *(
            view
            for pair in comparison.pairs
            for view in (group_view(pair), pair_view(pair, comparison))
        ),
    )


def comparison_view(comparison: Comparison) -> RenderableType:
    """Everything about a comparison, from the problem to the verdicts."""
    chosen = chosen_view([row.contender for row in comparison.rows])
    problem = problem_view(comparison.problem, [row.contender for row in comparison.rows])
    return Group(problem, *chosen, results_view(comparison))
