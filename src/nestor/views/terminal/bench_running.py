"""The bench command: the grid before it runs, progress while it does, then tables and files."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from nestor.bench.plan import total
from nestor.bench.run import run_bench
from nestor.bench.statistics import BenchStatistics
from nestor.bench.store import TABLE
from nestor.bench.table import SKIPPED, load_note
from nestor.errors import Unsupported
from nestor.views.terminal.bench_progress import GridProgress
from nestor.views.terminal.lines import Unpadded
from nestor.views.terminal.narrow import Column, Fitted, Prose
from nestor.views.terminal.words import count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import pandas as pd
    from rich.console import Console, RenderableType

    from nestor.bench.grid import Cell
    from nestor.bench.plan import BenchPlan
    from nestor.bench.table import StoredResults


def print_plan(planned: BenchPlan, folder: Path, console: Console) -> None:
    """Print the grid, what of it is finished, and what the rest will cost."""
    console.print(Unpadded(_grid_view(planned)))
    console.print(Prose("\n".join(_cost_lines(planned, folder)), 2))


def plan_json(planned: BenchPlan) -> str:
    """Return the grid as JSON: a list of cells, with the seconds that each is thought to take."""
    estimate = planned.forecast
    found = [
        {
            "id": cell.id,
            "track": cell.track,
            "contender": cell.name,
            "seed": cell.seed,
            "sweep": cell.sweep,
            "sweep_value": cell.value,
            "finished": cell.id in planned.finished,
            "skipped": cell.refusal,
            "estimate_s": round(estimate.seconds(cell), 1),
        }
        for cell in planned.cells
    ]
    return json.dumps(found, indent=1)


def exit_code(table: pd.DataFrame) -> int:
    """Return 1 if a run disagrees, 4 if none returned draws although some were tried, else 0."""
    if (table["verdict"] == "DISAGREE").any():
        return 1
    tried = table["status"] != SKIPPED
    return 4 if tried.any() and not table["status"].isin(("ok", "gates_failed")).any() else 0


def scenarios_view(titles: Mapping[str, str]) -> RenderableType:
    """Scenarios by name, with what each is about."""
    columns = [Column("scenario", "name"), Column("", "prose")]
    return Unpadded(Fitted(columns, list(titles.items())))


def _grid_view(planned: BenchPlan) -> RenderableType:
    """A line for each contender and size: repetitions, finished ones, seconds of each."""
    estimate = planned.forecast
    sweep = planned.scenario.sweep
    columns = [
        Column(sweep.parameter if sweep else ""),
        Column("track"),
        Column("contender", "name"),
    ]
    headings = ("chains", "warmup", "draws", "cores", "seeds", "finished", "each, about")
    columns += map(Column, headings)
    rows: list[list[Text | str]] = []
    for cells in _alike(planned.cells):
        first = cells[0]
        finished = sum(cell.id in planned.finished for cell in cells)
        config = first.config
        numbers = (config.chains, config.warmup, config.draws, first.cores, len(cells), finished)
        cost = (
            Text("skipped", "yellow")
            if first.refusal
            else Text(_rough(estimate.seconds(first)).removeprefix("about "))
        )
        value = "" if first.value is None else f"{first.value:,g}"
        rows.append([value, first.track, first.name, *(count(n) for n in numbers), cost])
    return Fitted(columns, rows)


def _alike(cells: tuple[Cell, ...]) -> list[list[Cell]]:
    """Cells that differ in their seed only, in the order of their sizes."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        key = (cell.value, cell.track, cell.name, cell.config.chains, cell.config.draws, cell.cores)
        groups.setdefault(key, []).append(cell)
    return sorted(groups.values(), key=lambda g: (g[0].track == "yardstick", g[0].value or 0.0))


def _cost_lines(planned: BenchPlan, folder: Path) -> list[str]:
    left = [cell for cell in planned.left if not cell.refusal]
    refused = Counter((cell.name, cell.refusal) for cell in planned.cells if cell.refusal)
    lines = [f"{name}: skipped, {_dotted(why)}" for name, why in refused]
    estimate = planned.forecast
    told = sum(estimate.from_records(cell) for cell in left)
    # A cell's process may take the limit three times: densities, the run, and compiling again.
    most = sum(3 * cell.timeout_s for cell in left)
    cost = f"{count(len(planned.cells))} cells, {count(len(left))} to be run"
    if left:
        source = f"finished cells tell of {count(told)}" if told else "to an order of magnitude"
        cost += f": {_rough(total(estimate, left))} ({source}), {_rough(most)} at most"
    cost += f". Results: {folder}/"
    return [*lines, "", cost]


def _rough(seconds: float) -> str:
    """Seconds as one says them of what is not known well."""
    if seconds < 90:
        return f"about {max(10, round(seconds, -1)):.0f} s"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min"
    return f"about {count(seconds / 3600)} h"


def _dotted(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def bench_and_print(
    planned: BenchPlan,
    text: str,
    folder: Path,
    *,
    command: str,
    budget_s: float | None,
    printed: Console,
    progress: Console,
) -> pd.DataFrame:
    """Run a scenario; print progress, tables and what was written."""
    scenario, rerun = planned.scenario, planned.rerun
    head = Text(scenario.title or scenario.name, style="bold")
    printed.print(Prose(head, 2))
    printed.print(Prose("\n".join(_cost_lines(planned, folder)).lstrip("\n"), 2))
    try:
        listener = GridProgress(progress, scenario.name, planned.forecast)
        with listener.bars:
            finished = run_bench(
                planned,
                text,
                folder,
                command=command,
                budget_s=budget_s,
                listener=listener,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"What is finished is kept in {folder}: the same command"
            f"{' without --rerun' if rerun else ''} goes on from there."
        ) from None
    table = finished.table
    statistics = BenchStatistics(table)
    if len(table):
        print_results(statistics, printed)
    _print_left(finished.plan, table, printed, rerun=rerun)
    if len(table):
        _print_files(finished.results, statistics, printed)
    return table


def _print_left(planned: BenchPlan, table: pd.DataFrame, console: Console, *, rerun: bool) -> None:
    """Say how many cells a budget has left; those that cannot be run here are not among them."""
    skipped = set(table["id"][table["status"] == "skipped"])
    left = sum(cell.id not in skipped for cell in planned.left)
    if left:
        cells = "1 cell is" if left == 1 else f"{count(left)} cells are"
        command = "the same command without --rerun" if rerun else "the same command"
        text = f"{cells} left: {command} goes on from there."
        console.print(Prose(text, 2))


def print_results(statistics: BenchStatistics, console: Console) -> None:
    """Print the groups of a table, what did not end well, growth and crossovers."""
    from nestor.views.terminal.benching import crossover_view, growth_view

    print_figures(statistics, console)
    console.print(growth_view(statistics.growth), crossover_view(statistics.crossovers))


def print_figures(statistics: BenchStatistics, console: Console) -> None:
    """Print the groups of a table, and what did not end well."""
    from nestor.views.terminal.benching import groups_view, notes_view

    summaries = statistics.summaries
    if note := load_note(statistics.table):
        console.print(Text(note, "yellow"), soft_wrap=True)
    # A group of which nothing ran has no figures: the notes say why.
    run = [summary for summary in summaries if not summary.skipped]
    console.print(groups_view(run or summaries), notes_view(summaries))


def _print_files(results: StoredResults, statistics: BenchStatistics, console: Console) -> None:
    from nestor.bench.reporting import scenario_info
    from nestor.views.plots import save_bench_plots
    from nestor.views.report import write_report

    folder = results.folder
    names = [TABLE, "cells/"]
    writers: tuple[Callable[[], list[Path]], ...] = (
        lambda: save_bench_plots(statistics, folder),
        lambda: [write_report(statistics, [scenario_info(results)], folder / "report.html")],
    )
    for write in writers:
        try:
            names += [path.name for path in write()]
        except Unsupported as error:
            console.print(Prose(f"Left out: {error}", 2))
    console.print(Prose(f"Written to {folder}/: {', '.join(names)}", 2))
