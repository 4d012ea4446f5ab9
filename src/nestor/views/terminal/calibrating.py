"""The calibrate command: progress while simulations run, then the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from nestor.calibration.judge import Calibrated, foregone
from nestor.calibration.run import run_study
from nestor.errors import Unsupported
from nestor.posterior.quantities import Quantities
from nestor.runner import store
from nestor.views.terminal.lines import Unpadded
from nestor.views.terminal.live import bars, shows_bars
from nestor.views.terminal.narrow import Column, Fitted, Prose
from nestor.views.terminal.tables import chosen_view, problem_view
from nestor.views.terminal.words import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console, RenderableType

    from nestor.calibration import Calibration
    from nestor.calibration.run import StudyProgress
    from nestor.calibration.tasks import Around
    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.engines.protocol import SamplerConfig

_STYLES = {
    Calibrated.CALIBRATED: "bold green",
    Calibrated.NOT_CALIBRATED: "bold red",
    Calibrated.INCONCLUSIVE: "bold yellow",
}
_SHOWN = 10


class Bar:
    """Shows how far a study is: a listener, and `bars` to be entered while it runs.

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
        self.bars = bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self.bars.add_task(name, total=None, count="", note="starting")
        self._begun = False

    def __call__(self, progress: StudyProgress) -> None:
        """Show how far it is."""
        note = progress.doing or _failures(progress.failures)
        text = f"{count(progress.done)}/{count(progress.total)} simulations"
        if progress.doing:
            self.bars.update(self._task, note=note)
            self._line(f"{self._name}: {note}")
            return
        if not self._begun:
            # The time left is told from what this run does, not from what an earlier one left.
            self.bars.update(self._task, total=progress.total - progress.reused)
            self._begun = True
        self.bars.update(
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


def calibrate_and_print(
    problem: Problem,
    contender: Contender,
    config: SamplerConfig,
    *,
    simulations: int,
    around: Around,
    ranked_draws: int,
    jobs: int | None,
    timeout: float | None,
    out: Path | None,
    printed: Console,
    progress: Console,
) -> Calibration:
    """Calibrate an engine; print the problem, progress, the verdict and what was written."""
    folder = out or store.default_folder(problem)
    store.claim(folder, problem)
    printed.print(Unpadded(Group(problem_view(problem, [contender]), *chosen_view([contender]))))
    print_foregone(problem, simulations, ranked_draws, progress)
    try:
        bar = Bar(progress, contender.name)
        with bar.bars:
            found = run_study(
                problem,
                contender,
                config,
                simulations=simulations,
                around=around,
                ranked_draws=ranked_draws,
                jobs=jobs,
                timeout=timeout,
                out=folder,
                on_progress=bar,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"What is finished is kept in {folder}: the same command goes on from there."
        ) from None
    printed.print(Unpadded(calibration_view(found)))
    _print_files(found, printed)
    return found


def print_foregone(problem: Problem, simulations: int, ranked_draws: int, console: Console) -> None:
    """Say before anything runs that so few simulations cannot end in CALIBRATED, where that is so."""
    if text := foregone(simulations, ranked_draws, len(Quantities(problem))):
        console.print(f"note: {text}", markup=False, highlight=False, soft_wrap=True)


def _print_files(found: Calibration, console: Console) -> None:
    names = ["calibration.json"]
    if len(found.judgement.p_values):
        try:
            names += [path.name for path in found.save_plots()]
        except Unsupported as error:
            console.print(Prose(f"No pictures: {error}", 2))
    console.print(Prose(f"Written to {found.folder}/: {', '.join(names)}", 2))


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


def power_lines(found: Calibration) -> Iterator[str]:
    """What a study of this size would have found."""
    power = found.judgement.detectable
    if power is None:
        return
    parts = []
    if power.shift is not None:
        parts.append(f"a posterior mean off by {power.shift:.2f} posterior sd")
    if power.narrow is not None:
        parts.append(f"an sd too small by {1 - power.narrow:.0%}")
    if power.wide is not None:
        parts.append(f"an sd too large by {power.wide - 1:.0%}")
    if parts:
        listed = ", ".join(parts[:-1]) + f" or {parts[-1]}" if len(parts) > 1 else parts[0]
        yield f"In any one quantity {listed} would have been found with 90% probability."
    else:
        yield "So few simulations would find no fault with 90% probability."
    if found.around == "posterior":
        yield (
            "The parameters came from the engine's own fit: a fault that it has there and here alike shows "
            "only in part, so calibrate it around the prior too."
        )


def cost_lines(found: Calibration) -> Iterator[str]:
    """What the study took."""
    good = [record for record in found.records if record.status == "ok"]
    if good:
        divergences = sum(record.divergences for record in good)
        longer = sum(record.draws > found.config.draws for record in good)
        middle = sorted(record.seconds for record in good)[len(good) // 2]
        yield (
            f"Median {duration(middle)} a simulation on one core; {count(divergences)} divergences in all; "
            f"{count(longer)} simulations took more than the {count(found.config.draws)} draws asked for."
        )
    if found.reuses is not None:
        once = "once for each process" if found.reuses else "for every simulation"
        yield f"Compiled {once}."
    if found.failures and found.judgement.verdict is not Calibrated.INCONCLUSIVE:
        yield (
            f"Simulations without ranks: {count(len(found.failures))}, few enough "
            f"(up to {count(found.judgement.failures_allowed)}) not to move the result."
        )
    if found.log is not None:
        yield f"Simulations crashed or ran out of time. Their log: {found.log}"
