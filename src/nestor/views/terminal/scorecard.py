"""One engine on every reference problem: progress while it runs, then a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from nestor.agreement.engine_result import EngineResult
from nestor.agreement.events import WorkerEvent
from nestor.views.format import MISSING, count, duration, number
from nestor.views.terminal.layout import STYLES, Column, Fitted, Prose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console, RenderableType

    from nestor.agreement.events import Event
    from nestor.references.verify import Score, Scorecard


class VerifyBar:
    """Shows which reference problem runs; a context manager with a listener for events and for scores.

    Parameters
    ----------
    console : Console
        Where to draw: a bar if it is a terminal, else a line for each problem.
    engine : str
        As it was asked for.
    problems : sequence of str
        Names of the reference problems, in the order in which they run.
    """

    def __init__(self, console: Console, engine: str, problems: Sequence[str]) -> None:
        self._console, self._problems = console, problems
        self._finished = 0
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[doing]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task(engine, total=len(problems), doing="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def hear(self, event: Event) -> None:
        """Show what the engine is doing."""
        if isinstance(event, WorkerEvent) and self._finished < len(self._problems):
            phase = event.event.get("phase", "")
            what = "log densities" if event.task == "density" else phase
            self._bars.update(self._task, doing=f"{self._problems[self._finished]}: {what}")

    def score(self, score: Score) -> None:
        """Show that a problem is finished."""
        self._finished += 1
        self._bars.advance(self._task)
        if not self._console.is_terminal:
            self._console.print(f"{score.problem}: {score.word}", markup=False)


def scorecard_view(card: Scorecard) -> RenderableType:
    """Show one line per problem, then the failures, then the totals."""
    rates = _rates(card)
    headings = ("margin needed", "detectable", "bulk ESS", "tail ESS", *rates.values(), "all in")
    columns = [Column("problem", "name"), Column("verdict"), *map(Column, headings)]
    table = Fitted(columns, [_cells(score, list(rates)) for score in card.scores])
    lines = [Prose(f"{score.problem}: {text}", 2) for score in card.scores for text in _why(score)]
    return Group(Prose(Text(card.engine, "bold")), table, Text(""), *lines, Prose(_sum(card), 2))


def _rates(card: Scorecard) -> dict[str, str]:
    """Return the ESS/s columns that are known: of sampling alone, or with warmup."""
    found = [s.row.efficiency for s in card.scores if isinstance(s.row, EngineResult)]
    rates = {"ess_per_s_sampling": "ESS/s"}
    if any(one["ess_per_s_sampling"] is None and one["ess_per_s"] is not None for one in found):
        rates["ess_per_s"] = "ESS/s incl. warmup"
        if all(one["ess_per_s_sampling"] is None for one in found):
            del rates["ess_per_s_sampling"]
    return rates


def _cells(score: Score, rates: Sequence[str]) -> list[Text | str]:
    pair = score.pair
    gates = score.row.gates if isinstance(score.row, EngineResult) else None
    values: tuple[tuple[float | None, Callable[[float], str]], ...] = (
        (None if pair is None else pair.smallest_margin, lambda v: f"{v:.3f}"),
        (None if pair is None else pair.detectable_shift, lambda v: f"{v:.2f} sd"),
        (None if gates is None else gates.ess_bulk_min, count),
        (None if gates is None else gates.ess_tail_min, count),
        *((score.row.efficiency[rate], number) for rate in rates),
        (score.row.timings["all_in_s"], duration),
    )
    cells = [MISSING if value is None else form(value) for value, form in values]
    return [score.problem, Text(score.word, STYLES.get(score.word, "")), *cells]


def _why(score: Score) -> list[str]:
    """Say why a score is not AGREE, or has no speed."""
    if score.pair is None or score.row.status not in ("ok", "gates_failed"):
        return [score.row.message]
    void = [score.row.speed_void] if score.row.speed_void else []
    return void if score.word == "AGREE" else [*score.pair.reasons, *void]


def _sum(card: Scorecard) -> Text:
    words = [score.word for score in card.scores]
    parts = [f"{words.count(w)} {w}" for w in (*STYLES, "unsupported") if w in words]
    line = Text(card.verdict.value, STYLES[card.verdict.value])
    line.append(
        f"  {card.engine} on {len(words)} reference posteriors: {', '.join(parts)}.",
        style="not bold default",
    )
    return line
