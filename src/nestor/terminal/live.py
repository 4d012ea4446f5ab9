"""Live progress of a comparison: a bar per chain in a terminal, one line per phase elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from nestor.events import DensityFinished, EngineFinished, Event, LookFinished, WorkerEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.console import Console

    from nestor.comparison import EngineRow


class LiveProgress:
    """Shows what the engines are doing; a context manager that is also the listener.

    Parameters
    ----------
    console : Console
        Where to draw; bars only if it is a terminal.
    contenders : sequence of str
        Names, in the order in which they run.
    """

    def __init__(self, console: Console, contenders: Sequence[str]) -> None:
        self._view: _Bars | _Lines = (
            _Bars(console, contenders) if console.is_terminal else _Lines(console)
        )

    def __enter__(self) -> Self:
        self._view.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._view.stop()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, WorkerEvent):
            self._view.worker(event)
        elif isinstance(event, DensityFinished):
            check = event.check
            self._view.density(check.contender, "same" if check.same else "DIFFERENT")
        elif isinstance(event, EngineFinished):
            self._view.finished(event.row)
        elif isinstance(event, LookFinished):
            self._view.look(event)


def status_text(row: EngineRow) -> str:
    """One line about how a contender ended."""
    if row.status == "ok":
        return "used again" if row.reused else f"done in {row.timings['total_s'] or 0:.1f} s"
    return f"{row.status.replace('_', ' ')}: {row.message}" if row.message else row.status


def look_text(event: LookFinished) -> str:
    """One line about a look after which chains go on."""
    names = ", ".join(event.going_on)
    return (
        f"look {event.look}: inconclusive at {event.draws} draws per chain; going on with {names}"
    )


class _Lines:
    """One line per phase, for output that is not a terminal: no bars, no control characters."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: set[tuple[str, str]] = set()

    def start(self) -> None:
        """Nothing to prepare."""

    def stop(self) -> None:
        """Nothing to clear away."""

    def worker(self, event: WorkerEvent) -> None:
        phase = str(event.event.get("phase", ""))
        if event.task == "density":
            phase = "log densities"
        if phase and (event.contender, phase) not in self._said:
            self._said.add((event.contender, phase))
            self._line(f"{event.contender}: {phase}")

    def density(self, contender: str, result: str) -> None:
        self._line(f"{contender}: log densities {result}")

    def finished(self, row: EngineRow) -> None:
        self._line(f"{row.name}: {status_text(row)}")

    def look(self, event: LookFinished) -> None:
        self._said = {said for said in self._said if said[0] not in event.going_on}
        self._line(look_text(event))

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class _TimeLeft(ProgressColumn):
    """Time left once it can be told; elapsed time while a total is not known."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        if task.finished or task.total is None or task.time_remaining is None:
            return Text("")
        minutes, seconds = divmod(int(task.time_remaining), 60)
        return Text(f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left", style="cyan")


class _Bars:
    """A bar per chain, a waiting line per contender still to come."""

    def __init__(self, console: Console, contenders: Sequence[str]) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.fields[contender]}", markup=False),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[note]}", markup=False),
            _TimeLeft(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._heads: dict[str, TaskID] = {
            name: self._add(name, "waiting", start=False) for name in contenders
        }
        self._chains: dict[tuple[str, int], TaskID] = {}

    def _add(
        self, contender: str, description: str, *, start: bool, total: int | None = None
    ) -> TaskID:
        return self._progress.add_task(
            description, start=start, total=total, contender=contender, count="", note=""
        )

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def worker(self, event: WorkerEvent) -> None:
        head = self._heads[event.contender]
        if event.event.get("event") == "progress":
            self._chain(event.contender, event.event)
            return
        phase = str(event.event.get("phase", ""))
        text = f"log densities ({phase})" if event.task == "density" else phase
        self._progress.start_task(head)
        self._progress.update(head, description=text)

    def _chain(self, contender: str, event: dict[str, Any]) -> None:
        key = (contender, int(event["chain"]))
        if key not in self._chains:
            self._progress.update(self._heads[contender], visible=False)
            label = f"chain {key[1] + 1}"
            first = not any(name == contender for name, _ in self._chains)
            task = self._add(contender if first else "", label, start=True, total=event["total"])
            self._chains[key] = task
        count = event["divergences"]
        divergences = f"{count} divergence{'' if count == 1 else 's'}"
        self._progress.update(
            self._chains[key],
            visible=True,
            total=event["total"],
            completed=event["done"],
            count=f"{event['done']}/{event['total']}",
            note=f"{event['phase']:<9} {divergences}",
        )

    def density(self, contender: str, result: str) -> None:
        head = self._heads[contender]
        self._progress.update(head, description=f"log densities {result}; waiting")

    def finished(self, row: EngineRow) -> None:
        for (name, _), task in self._chains.items():
            if name == row.name:
                self._progress.update(task, visible=False)
        head = self._heads[row.name]
        text = status_text(row)
        self._progress.update(head, description=text[:100], visible=True, total=1, completed=1)

    def look(self, event: LookFinished) -> None:
        self._progress.console.print(look_text(event), markup=False, highlight=False)
        for name in event.going_on:
            self._progress.update(self._heads[name], visible=False)
