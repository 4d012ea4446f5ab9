"""Progress of a benchmark: one bar over the whole grid, or one line for each cell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from nestor.bench.environment import is_loaded
from nestor.bench.metrics import metrics_of
from nestor.views.format import clock, count, duration, status_text
from nestor.views.sentences import chosen_lines

if TYPE_CHECKING:
    from rich.console import Console

    from nestor.bench.grid import Cell
    from nestor.bench.plan import CostForecast
    from nestor.bench.record import BenchRecord
    from nestor.bench.run import BenchEvent
    from nestor.engines.formulation import Formulation


class GridProgress:
    """Shows how far a grid is: a listener, and `bars`, a context manager to enter while it runs.

    Parameters
    ----------
    console : Console
        Where to draw: a bar if it is a terminal, else a line for each cell.
    name : str
        The scenario.
    estimate : CostForecast
        Tells how long cells will take.
    """

    def __init__(self, console: Console, name: str, estimate: CostForecast) -> None:
        self._console, self._estimate = console, estimate
        self._left: dict[str, float] = {}
        self._said: set[tuple[str, Formulation]] = set()
        self._noted: set[str] = set()
        self._total, self._done = 0, 0
        self._loaded = False
        self._spent = self._foreseen = self._begun = 0.0
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", markup=False),
            _Left(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[doing]}", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self.bars.add_task(name, total=None, count="", doing="", left=None)

    def __call__(self, event: BenchEvent) -> None:
        """Show an event."""
        if event.kind == "planned":
            self._planned(event)
        elif event.kind == "noted":
            self._notes(event)
        elif event.kind == "checking":
            self.bars.update(self._task, doing=f"checking the data {event.doing}".rstrip())
        elif event.kind == "judging":
            self.bars.update(self._task, doing="verdicts", left=0.0)
        elif event.cell is not None and event.kind == "begin":
            self._begun = time.monotonic()
            self.bars.update(self._task, doing=event.cell.label, left=self._seconds_left())
        elif event.cell is not None and event.kind == "settled":
            self._settled(event.cell)
        elif event.cell is not None and event.kind == "doing":
            text = f"{event.cell.label}: {_doing(event.doing, event.worker)}"
            self.bars.update(self._task, doing=text, left=self._seconds_left())
        elif event.cell is not None and event.record is not None:
            self._ended(event.cell, event.record)

    def _notes(self, event: BenchEvent) -> None:
        """Print what was not printed before: sizes of one sweep often have the same notes."""
        for note in event.notes:
            if note not in self._noted:
                self._noted.add(note)
                self._console.print(f"note: {note}", markup=False, soft_wrap=True)

    def _planned(self, event: BenchEvent) -> None:
        self._notes(event)
        self._left = {cell.id: self._estimate.seconds(cell) for cell in event.cells}
        self._total = len(event.cells)
        self.bars.update(self._task, total=sum(self._left.values()) or 1.0, count=self._count())

    def _settled(self, cell: Cell) -> None:
        """Say what auto chose for an engine, once for each choice."""
        contender = cell.contender
        if contender is not None and (said := (cell.name, contender.formulation)) not in self._said:
            self._said.add(said)
            for line in chosen_lines([contender]):
                self.bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _ended(self, cell: Cell, record: BenchRecord) -> None:
        self._done += 1
        if not self._loaded and is_loaded(record.load, record.environment.get("machine_cores")):
            self._loaded = True
            self.bars.console.print(
                f"note: other processes are busy: the load is {record.load:.1f} on "
                f"{record.environment['machine_cores']} cores. Times may be too long; runs that begin like "
                "this are counted beside the figures.",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        foreseen = self._left.pop(cell.id, 0.0)
        if record.status != "skipped":
            self._spent += time.monotonic() - self._begun
            self._foreseen += foreseen
        self.bars.update(self._task, advance=foreseen, count=self._count())
        line = f"[{self._done}/{self._total}] {cell.label}: {outcome_text(record)}"
        if not self._console.is_terminal or record.status not in ("ok", "skipped"):
            self.bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _count(self) -> str:
        return f"{count(self._done)}/{count(self._total)} cells"

    def _seconds_left(self) -> float:
        """Return the seconds left: the estimate, scaled by actual over estimated time so far."""
        factor = self._spent / self._foreseen if self._foreseen else 1.0
        running = time.monotonic() - self._begun if self._begun else 0.0
        return max(0.0, factor * sum(self._left.values()) - running)


def outcome_text(record: BenchRecord) -> str:
    """One line about how a cell ended."""
    if record.status != "ok":
        return f"{status_text(record.status)}: {record.message}"
    found = metrics_of(record, record.cell.target_ess)
    spent = 0.0 if record.seconds is None else record.seconds.elapsed_s
    text = f"ok in {duration(spent)}"
    return text if found.ess_min is None else f"{text}, ESS {count(found.ess_min)}"


def _doing(doing: str, worker: Any) -> str:
    if worker.get("event") == "progress":
        return f"{worker['phase']} {worker['done']}/{worker['total']}, chain {worker['chain'] + 1}"
    return doing


class _Left(ProgressColumn):
    """Time left, as the grid's own estimate has it."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        left = task.fields.get("left")
        if left is None:
            return Text("")
        return Text(f"about {clock(left)} left", style="cyan")
