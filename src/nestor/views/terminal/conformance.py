"""Conformance of a backend: a bar while checks run, then what failed, what was excluded and the counts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from nestor.views.format import count, duration
from nestor.views.terminal.layout import Column, Fitted, Prose

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, RenderableType

    from nestor.conformance import ConformanceReport, Result
    from nestor.conformance.check import Tier
    from nestor.conformance.kit import Progress as Event

_STYLES = {"failed": "bold red", "error": "bold red", "unexpected pass": "bold red"}
_STYLES |= {"passed": "green", "expected failure": "yellow", "skipped": "yellow"}
_STYLES |= {"out of time": "yellow"}


class ConformanceBar:
    """A bar in a terminal; elsewhere a line for each check that does not pass.

    Parameters
    ----------
    console : Console
        Where to draw.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task("starting", total=None)
        self._total = 0
        self._outcomes: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    @property
    def so_far(self) -> str:
        """How many checks have run, and their outcomes."""
        outcomes = ", ".join(f"{number} {outcome}" for outcome, number in self._outcomes.items())
        done = f"{count(self._outcomes.total())} of {count(self._total)} checks had run"
        return f"{done}: {outcomes}." if outcomes else f"{done}."

    def __call__(self, event: Event) -> None:
        """Show that a check begins, or has its result."""
        done, self._total = event.number - (event.result is None), event.total
        if event.result is not None:
            self._outcomes[event.result.outcome] += 1
        self._bars.update(
            self._task, description=event.check[:100], completed=done, total=event.total
        )
        if event.result is not None and event.result.outcome not in ("passed", "skipped"):
            self._console.print(
                f"{event.check}: {event.result.outcome}", markup=False, highlight=False
            )


def report_view(report: ConformanceReport) -> RenderableType:
    """What failed, what was expected to, what was not checked and why, and the counts by tier."""
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    head = Text(report.backend, style="bold")
    head.append(f"   {versions}" if versions else "", style="not bold")
    parts: list[RenderableType] = [Prose(head, 2)]
    skipped = [r for r in report.results if r.outcome == "skipped"]
    expected = [r for r in report.results if r.outcome == "expected failure"]
    for title, rows in (
        ("Failed", report.bad),
        ("Out of time", report.out_of_time),
        ("Expected failures", expected),
        ("Not checked", skipped),
    ):
        if rows:
            parts += [Text(""), _table(title, rows)]
    parts += [Text(""), *map(_tier_line, [report] * len(report.tiers), report.tiers)]
    total = f": {count(report.n_run)} checks run in {duration(report.seconds)}"
    return Group(*parts, Text.assemble((report.backend, "bold"), " ", _verdict(report), total))


def _verdict(report: ConformanceReport) -> Text:
    if report.ok:
        return Text("conforms", "bold green")
    if report.out_of_time and not report.bad:
        return Text("is not shown to conform", "bold yellow")
    return Text("does not conform", "bold red")


def _table(title: str, rows: Iterable[Result]) -> RenderableType:
    columns = [Column(title, "name"), Column(""), Column("reason", "prose")]
    return Fitted(
        columns,
        [[row.id, Text(row.outcome, _STYLES[row.outcome]), row.reason] for row in rows],
    )


def _tier_line(report: ConformanceReport, tier: Tier) -> Text:
    line = Text(f"{tier:<10}")
    counts = [(f"{n} {outcome}", _STYLES[outcome]) for outcome, n in report.counts(tier).items()]
    for k, (text, style) in enumerate(counts):
        line.append(", " if k else "")
        line.append(text, style)
    return line
