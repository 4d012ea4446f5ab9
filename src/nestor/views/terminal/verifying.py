"""The verify command: one engine on every reference problem, a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from nestor.agreement.engine_result import EngineResult
from nestor.agreement.events import WorkerEvent
from nestor.references.problems import NAMES
from nestor.references.verify import verify
from nestor.views.terminal.lines import Unpadded
from nestor.views.terminal.narrow import Column, Fitted, Prose
from nestor.views.terminal.tables import STYLES
from nestor.views.terminal.words import MISSING, count, duration, number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console, RenderableType

    from nestor.agreement.events import Event
    from nestor.engines.protocol import SamplerConfig
    from nestor.references.verify import Score, Scorecard


def verify_and_print(
    engine: str,
    problems: Sequence[str] | None,
    config: SamplerConfig,
    timeout: float | None,
    printed: Console,
    progress: Console,
) -> Scorecard:
    """Verify an engine; show which problem runs, then print the scorecard."""
    names = list(NAMES if problems is None else problems)
    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[doing]}", markup=False),
        TimeElapsedColumn(),
        console=progress,
        transient=True,
        disable=not progress.is_terminal,
    )
    task = bars.add_task(engine, total=len(names), doing="")
    finished: list[Score] = []

    def listen(event: Event) -> None:
        if isinstance(event, WorkerEvent) and len(finished) < len(names):
            phase = event.event.get("phase", "")
            what = "log densities" if event.task == "density" else phase
            bars.update(task, doing=f"{names[len(finished)]}: {what}")

    def note(score: Score) -> None:
        finished.append(score)
        bars.advance(task)
        if not progress.is_terminal:
            progress.print(f"{score.problem}: {score.word}", markup=False)

    with bars:
        card = verify(
            engine, problems, config=config, timeout=timeout, listener=listen, on_score=note
        )
    printed.print(Unpadded(scorecard_view(card)))
    return card


def scorecard_view(card: Scorecard) -> RenderableType:
    """A line per problem, then what did not end well, then the sum."""
    rates = _rates(card)
    headings = ("margin needed", "detectable", "bulk ESS", "tail ESS", *rates.values(), "all in")
    columns = [Column("problem", "name"), Column("verdict"), *map(Column, headings)]
    table = Fitted(columns, [_cells(score, list(rates)) for score in card.scores])
    lines = [Prose(f"{score.problem}: {text}", 2) for score in card.scores for text in _why(score)]
    return Group(Prose(Text(card.engine, "bold")), table, Text(""), *lines, Prose(_sum(card), 2))


def _rates(card: Scorecard) -> dict[str, str]:
    """Which effective draws per second are known, and their headings: of sampling, or with warmup too."""
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
