"""A simulation-based calibration: progress while simulations run, then the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from nestor.calibration.judge import Calibrated
from nestor.views.format import count
from nestor.views.sentences import cost_lines, power_lines
from nestor.views.terminal.layout import Column, Fitted, Prose
from nestor.views.terminal.progress import bars, shows_bars

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from nestor.calibration import Calibration, session

_STYLES = {
    Calibrated.CALIBRATED: "bold green",
    Calibrated.NOT_CALIBRATED: "bold red",
    Calibrated.INCONCLUSIVE: "bold yellow",
}
_SHOWN = 10


class StudyBar:
    """Shows how far a calibration is; a context manager that is also the listener.

    Parameters
    ----------
    console : Console
        Where to draw: a bar if it is a terminal or a notebook, else a line at every tenth.
    name : str
        The contender.
    """

    def __init__(self, console: Console, name: str) -> None:
        self._console, self._name = console, name
        self._tenth = -1
        self._bars = bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bars.add_task(name, total=None, count="", note="starting")
        self._begun = False

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def __call__(self, progress: session.Progress) -> None:
        """Show how far it is."""
        note = progress.doing or _failures(progress.failures)
        text = f"{count(progress.done)}/{count(progress.total)} simulations"
        if progress.doing:
            self._bars.update(self._task, note=note)
            self._line(f"{self._name}: {note}")
            return
        if not self._begun:
            # The time left is told from what this run does, not from what an earlier one left.
            self._bars.update(self._task, total=progress.total - progress.reused)
            self._begun = True
        self._bars.update(
            self._task, completed=progress.done - progress.reused, count=text, note=note
        )
        tenth = 10 * progress.done // progress.total
        if tenth != self._tenth:
            self._tenth = tenth
            of_before = f", {count(progress.reused)} of them before" if progress.reused else ""
            self._line(f"{self._name}: {text}{of_before}{', ' + note if note else ''}")

    def _line(self, text: str) -> None:
        if not shows_bars(self._console):
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _failures(n: int) -> str:
    return f"{count(n)} without ranks" if n else ""


def calibration_view(found: Calibration) -> RenderableType:
    """The verdict, why, the quantities that are wrong, what would have been found, and the cost."""
    judged = found.judgement
    head = Text(judged.verdict.value, _STYLES[judged.verdict])
    head.append(
        f"  {found.contender.name}, {count(len(found.records))} simulations from the {found.around}",
        style="not bold default",
    )
    parts: list[RenderableType] = [
        Prose(head, 2),
        *(Prose(f"{_upper(text)}.", 2) for text in judged.reasons),
    ]
    if judged.rejected:
        parts += [_table(found), Text("")]
    parts += [Prose(line, 2) for line in (*power_lines(found), *cost_lines(found))]
    return Group(*parts)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _table(found: Calibration) -> RenderableType:
    rejected = found.judgement.rejected
    headings = ("p, corrected", "ECDF off by", "at rank")
    columns = [Column("quantity", "name"), *map(Column, headings), Column("", "prose")]
    rows = [
        [
            one.label,
            f"{one.p_adjusted:.1e}",
            f"{one.difference:+.3f}",
            f"{one.at:.0%}",
            one.how,
        ]
        for one in rejected[:_SHOWN]
    ]
    more = len(rejected) - _SHOWN
    return Group(Fitted(columns, rows), *([Text(f"and {more} more")] if more > 0 else []))
