"""Progress on standard error: bars in a terminal and in a notebook, lines elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any, Self

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from nestor.agreement.engine_result import EngineResult
from nestor.agreement.events import (
    DensityFinished,
    EngineFinished,
    Event,
    LookFinished,
    WorkerEvent,
)
from nestor.views.format import clock, counted, status_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from nestor.agreement.engine_result import EngineRow

_PER_SECOND = {"terminal": 8.0, "notebook": 2.0}
_BAR, _SHORT_BAR, _NARROW = 20, 10, 100
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
#: Share of all iterations after which the time left is told.
_TELLING = 0.02


class LiveProgress:
    """Shows what the engines are doing; a context manager that is also the listener.

    Parameters
    ----------
    console : Console
        Where to draw; bars only if it is a terminal or a notebook.
    contenders : sequence of str
        Names, in the order in which they run.
    chains : int, optional
        Chains of each, which tells the time left before all of them have begun.
    """

    def __init__(
        self, console: Console, contenders: Sequence[str], chains: int | None = None
    ) -> None:
        self._view: _Bars | _Lines = (
            _Bars(console, contenders, chains) if shows_bars(console) else _Lines(console)
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


def shows_bars(console: Console) -> bool:
    """Return whether a bar can be redrawn in place: in a terminal and in a notebook."""
    return console.is_terminal or console.is_jupyter


def bars(*columns: ProgressColumn, console: Console) -> Progress:
    """Return rich progress bars that vanish when done; disabled where they cannot be redrawn in place."""
    made = Progress(*columns, console=console, transient=True, disable=not shows_bars(console))
    made.live = _live(console, made.get_renderable, transient=True)
    return made


@contextlib.contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how much of some work is done; a `nestor.posterior.progress.Progress`.

    Yields
    ------
    callable
        To be called with the number that is done.
    """
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with bars(*columns, console=Console(stderr=True, emoji=False)) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)


@contextlib.contextmanager
def reading_bar(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show how many rows are read; yields the `progress` of `Problem.from_parquet`."""
    columns = (
        TextColumn("reading rows"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
        TimeRemainingColumn(),
    )
    with bars(*columns, console=console) as bar:
        task = bar.add_task("", total=None, visible=False)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield progress


def ending_text(row: EngineRow) -> str:
    """One line about how a contender ended."""
    if row.status == "ok":
        again = isinstance(row, EngineResult) and row.reused
        return "used again" if again else f"done in {row.timings['total_s'] or 0:.1f} s"
    return f"{status_text(row.status)}: {row.message}" if row.message else row.status


def look_text(event: LookFinished) -> str:
    """One line about a look after which chains go on."""
    parts = [f"look {event.look}: inconclusive at {event.draws} draws per chain"]
    if event.going_on:
        parts.append(f"going on with {', '.join(event.going_on)}")
    parts += [f"starting {name} anew with {draws}" for name, draws in event.anew]
    return "; ".join(parts)


def _live(
    console: Console, get_renderable: Callable[[], RenderableType], *, transient: bool
) -> Live:
    if console.is_jupyter:
        return _NotebookLive(console, get_renderable, transient=transient)
    return Live(
        console=console,
        get_renderable=get_renderable,
        transient=transient,
        refresh_per_second=_PER_SECOND["terminal"],
    )


class _NotebookLive(Live):
    """A live display in one output of a notebook cell; rich's own would need ipywidgets.

    Parameters
    ----------
    console : Console
        Tells how wide the output is.
    get_renderable : callable
        What to show.
    transient : bool
        Whether nothing is left at the end.
    """

    def __init__(
        self, console: Console, get_renderable: Callable[[], RenderableType], *, transient: bool
    ) -> None:
        super().__init__(console=console, get_renderable=get_renderable, auto_refresh=False)
        self._is_transient = transient
        self._handle: Any = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, refresh: bool = False) -> None:  # noqa: ARG002, FBT - rich's signature
        """Show it, and renew it until it is stopped."""
        from IPython.display import HTML, display

        if self._started:
            return
        self._started = True
        self._handle = display(HTML(self._html()), display_id=True)
        self._thread = threading.Thread(target=self._tick, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Show the last state, or nothing."""
        if not self._started:
            return
        self._started = False
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._show("" if self._is_transient else self._html())

    def refresh(self) -> None:
        """Do nothing: a thread redraws twice a second, and events come far more often."""

    def _tick(self) -> None:
        while not self._ended.wait(1 / _PER_SECOND["notebook"]):
            self._show(self._html())

    def _show(self, html: str) -> None:
        from IPython.display import HTML

        self._handle.update(HTML(html))

    def _html(self) -> str:
        page = Console(file=StringIO(), record=True, width=self.console.width, force_jupyter=False)
        page.print(self.get_renderable())
        style = "margin: 0; white-space: pre; overflow-x: auto; line-height: normal"
        return page.export_html(
            inline_styles=True, code_format=f'<pre style="{style}">{{code}}</pre>'
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
        self._line(f"{row.name}: {ending_text(row)}")

    def look(self, event: LookFinished) -> None:
        again = {*event.going_on, *dict(event.anew)}
        self._said = {said for said in self._said if said[0] not in again}
        self._line(look_text(event))

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


@dataclass
class _Engine:
    """What one engine is doing.

    Parameters
    ----------
    name : str
        The contender.
    doing : str
        The phase in words; at the end how it ended.
    state : {"waiting", "running", "done", "failed"}
        Where it stands.
    begun, drawing_since : float or None
        Times of a monotonic clock.
    chains : dict of int to dict
        Last report of each chain: done, total, phase, divergences.
    """

    name: str
    doing: str = "waiting"
    state: str = "waiting"
    begun: float | None = None
    drawing_since: float | None = None
    chains: dict[int, dict[str, Any]] = field(default_factory=dict)

    def run(self, doing: str) -> None:
        self.doing, self.state, self.chains = doing, "running", {}
        self.drawing_since = None
        if self.begun is None:
            self.begun = time.monotonic()

    def rest(self, doing: str) -> None:
        self.doing, self.state, self.chains, self.begun = doing, "waiting", {}, None

    def draw(self, report: dict[str, Any]) -> None:
        if self.drawing_since is None:
            self.run(self.doing)
            self.drawing_since = time.monotonic()
        self.chains[int(report["chain"])] = report
        phases = [one["phase"] for one in self.chains.values()]
        self.doing = "warmup" if "warmup" in phases else phases[-1]

    def end(self, doing: str, *, failed: bool) -> None:
        self.doing, self.state, self.chains = doing, "failed" if failed else "done", {}


class _Bars:
    """A line per engine, with a bar while it draws."""

    def __init__(self, console: Console, contenders: Sequence[str], chains: int | None) -> None:
        self._engines = {name: _Engine(name) for name in contenders}
        self._n_chains = chains
        self._live = _live(console, lambda: self, transient=False)

    def start(self) -> None:
        self._live.start(refresh=True)

    def stop(self) -> None:
        for engine in self._engines.values():
            if engine.state == "running":
                engine.end("did not finish", failed=True)
        self._live.stop()

    def worker(self, event: WorkerEvent) -> None:
        engine = self._engines[event.contender]
        if event.event.get("event") == "progress":
            engine.draw(event.event)
            return
        phase = str(event.event.get("phase", ""))
        if phase:
            engine.run(f"log densities ({phase})" if event.task == "density" else phase)

    def density(self, contender: str, result: str) -> None:
        self._engines[contender].rest(f"log densities {result}; waiting")

    def finished(self, row: EngineRow) -> None:
        self._engines[row.name].end(ending_text(row), failed=row.status != "ok")

    def look(self, event: LookFinished) -> None:
        for name in event.going_on:
            self._engines[name].rest(f"inconclusive at {event.draws:,} draws per chain; going on")
        for name, draws in event.anew:
            self._engines[name].rest(
                f"inconclusive at {event.draws:,} draws per chain; anew with {draws:,}"
            )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widest = max((cell_len(name) for name in self._engines), default=0)
        for engine in self._engines.values():
            yield _line(engine, widest, self._n_chains, options)


def _line(engine: _Engine, widest: int, n_chains: int | None, options: ConsoleOptions) -> Text:
    """Return one line that fits the width: the least important parts are dropped, a long message is cut."""
    ascii_only = options.ascii_only
    line = Text(no_wrap=True, overflow="ellipsis", end="")
    line.append(*_mark(engine, ascii_only=ascii_only))
    line.append(f" {engine.name}").append(" " * max(0, widest - cell_len(engine.name)))
    line.append(f"  {engine.doing}", "red" if engine.state == "failed" else "")
    room = options.max_width - line.cell_len
    # In the order of the line, with the rank by which each stays.
    size = _SHORT_BAR if options.max_width < _NARROW else _BAR
    parts = _drawing(engine, n_chains, size, ascii_only=ascii_only)
    if engine.state == "running" and engine.begun is not None:
        parts.append((4, Text(clock(time.monotonic() - engine.begun), "yellow")))
    kept: set[int] = set()
    for rank, part in sorted(parts, key=lambda one: one[0]):
        if part.cell_len + 2 <= room:
            kept.add(rank)
            room -= part.cell_len + 2
    for rank, part in parts:
        if rank in kept:
            line.append("  ").append_text(part)
    line.truncate(options.max_width, overflow="ellipsis")
    line.end = "\n"
    return line


def _mark(engine: _Engine, *, ascii_only: bool) -> tuple[str, str]:
    if ascii_only:
        return {"waiting": " ", "running": "*", "done": "+", "failed": "!"}[engine.state], ""
    if engine.state == "running":
        return _SPINNER[int(10 * time.monotonic()) % len(_SPINNER)], "green"
    return {"waiting": (" ", ""), "done": ("✓", "green"), "failed": ("✗", "red")}[engine.state]


def _drawing(
    engine: _Engine, n_chains: int | None, size: int, *, ascii_only: bool
) -> list[tuple[int, Text]]:
    """Return bar, iterations, divergences and time left, each with its rank: low ranks are kept longest."""
    if not engine.chains or engine.drawing_since is None:
        return []
    reports = list(engine.chains.values())
    done = sum(one["done"] for one in reports)
    total = max(one["total"] for one in reports) * max(len(reports), n_chains or 0)
    divergences = sum(one["divergences"] for one in reports)
    share = min(1.0, done / total) if total else 0.0
    filled = round(share * size)
    full, empty = ("#", "-") if ascii_only else ("━", "━")
    bar = Text.assemble((full * filled, "green"), (empty * (size - filled), "bright_black"))
    parts = [(1, bar), (0, Text(f"{done:,}/{total:,}"))]
    if divergences:
        parts.append((2, Text(f"{counted(divergences, 'divergence')}")))
    if _TELLING <= share < 1:
        left = (time.monotonic() - engine.drawing_since) * (1 - share) / share
        parts.append((3, Text(f"{clock(left)} left", "cyan")))
    return parts
