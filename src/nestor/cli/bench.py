"""``nestor bench``: run a scenario; show, draw and compare results."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from nestor.cli.arguments import Directories, Json, make_console
from nestor.cli.command import Once

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from rich.console import Console

    from nestor.bench.plan import BenchPlan
    from nestor.bench.statistics import BenchStatistics
    from nestor.bench.table import StoredResults


class _ScenarioFirst(TyperGroup):
    """Lets ``nestor bench SCENARIO`` stand for ``nestor bench run SCENARIO``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ScenarioFirst,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Benchmark engines on a scenario: nestor bench SCENARIO [OPTIONS], the same as run.",
)


@app.command(cls=Once)
def run(
    scenario: Annotated[
        str,
        typer.Argument(metavar="SCENARIO", help="A TOML file, or a name from nestor bench list."),
    ],
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="The scenario's quick form: minutes.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Results directory; default nestor-out/bench/NAME (or NAME-quick)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the grid and what it will cost; run nothing.")
    ] = False,
    rerun: Annotated[bool, typer.Option("--rerun", help="Measure again what is finished.")] = False,
    device: Annotated[
        Literal["cpu", "gpu"] | None,
        typer.Option(help="Run what is for this device; if nothing is, run everything on it."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Stop after so long; the same command goes on."),
    ] = None,
    json: Json = False,
) -> None:
    """Run a scenario's grid, or what is left of it: table, Parquet file and HTML report.

    Times to a target ESS are all in: compiling and warmup included, the import of an engine's libraries not.
    """
    from nestor.bench.plan import plan
    from nestor.bench.run import check_budget
    from nestor.bench.scenario import load_scenario
    from nestor.views.terminal.bench import print_plan

    found, text = load_scenario(scenario, quick=quick)
    check_budget(budget)
    folder = out or Path("nestor-out") / "bench" / (f"{found.name}-quick" if quick else found.name)
    printed = make_console(stderr=json)
    planned = plan(found, quick=quick, folder=folder, rerun=rerun, device=device)
    if dry_run:
        if json:
            typer.echo(_plan_json(planned))
        else:
            print_plan(planned, folder, printed)
        return
    table = _run(planned, text, folder, budget_s=budget, printed=printed)
    if json:
        typer.echo(table.to_json(orient="records", indent=1))
    raise typer.Exit(_exit_code(table))


def _run(
    planned: BenchPlan, text: str, folder: Path, *, budget_s: float | None, printed: Console
) -> pd.DataFrame:
    """Run what was planned; print progress, tables and what was written."""
    from nestor.bench.run import run_bench
    from nestor.bench.statistics import BenchStatistics
    from nestor.views.terminal.bench import print_left, print_results, print_start
    from nestor.views.terminal.bench_progress import GridProgress

    print_start(planned, folder, printed)
    try:
        listener = GridProgress(make_console(stderr=True), planned.scenario.name, planned.forecast)
        with listener.bars:
            finished = run_bench(
                planned,
                text,
                folder,
                command=shlex.join(["nestor", *sys.argv[1:]]),
                budget_s=budget_s,
                listener=listener,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"What is finished is kept in {folder}: the same command"
            f"{' without --rerun' if planned.rerun else ''} goes on from there."
        ) from None
    table = finished.table
    statistics = BenchStatistics(table)
    if len(table):
        print_results(statistics, printed)
    print_left(finished.plan, table, printed, rerun=planned.rerun)
    if len(table):
        _write_report(finished.results, statistics, printed)
    return table


def _write_report(results: StoredResults, statistics: BenchStatistics, console: Console) -> None:
    """Write pictures and the page, and print which files the results directory has."""
    from nestor.bench.store import TABLE
    from nestor.errors import Unsupported
    from nestor.views.plots import save_bench_plots
    from nestor.views.report import write_report
    from nestor.views.report.scenario import scenario_info
    from nestor.views.terminal.layout import Prose

    names, folder = [TABLE, "cells/"], results.folder
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


def _plan_json(planned: BenchPlan) -> str:
    """Return the grid as JSON: a list of cells, with the seconds that each is thought to take."""
    from json import dumps

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
            "estimate_s": round(planned.forecast.seconds(cell), 1),
        }
        for cell in planned.cells
    ]
    return dumps(found, indent=1)


def _exit_code(table: pd.DataFrame) -> int:
    """Return 1 if a run disagrees, 4 if none returned draws although some were tried, else 0."""
    from nestor.bench.table import SKIPPED

    if (table["verdict"] == "DISAGREE").any():
        return 1
    tried = table["status"] != SKIPPED
    return 4 if tried.any() and not table["status"].isin(("ok", "gates_failed")).any() else 0


@app.command("list", cls=Once)
def list_scenarios() -> None:
    """List the scenarios that come with nestor."""
    from nestor.bench.scenario import load_scenario, shipped
    from nestor.views.terminal.bench import scenarios_view

    titles = {name: load_scenario(name)[0].title for name in shipped()}
    make_console().print(scenarios_view(titles))


@app.command(cls=Once)
def table(
    directories: Directories,
    *,
    json: Annotated[
        bool, typer.Option("--json", help="Print the flat table, one object for each cell.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the flat table as CSV.")] = False,
    parquet: Annotated[
        Path | None, typer.Option(help="Write the flat table to a Parquet file.")
    ] = None,
) -> None:
    """Print the table of results; records merged from several places are one table."""
    from nestor.bench.statistics import BenchStatistics
    from nestor.bench.table import read_tables, write_table
    from nestor.errors import SpecError
    from nestor.views.terminal.bench import print_results

    if json and csv:
        raise SpecError("give either --json or --csv, not both.")
    found = read_tables(directories)
    if parquet is not None:
        write_table(found, parquet)
    if json:
        typer.echo(found.to_json(orient="records", indent=1))
    elif csv:
        typer.echo(found.to_csv(index=False), nl=False)
    else:
        print_results(BenchStatistics(found), make_console())


@app.command(cls=Once)
def plot(
    directories: Directories,
    *,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pictures; default: the results directory.")
    ] = None,
) -> None:
    """Draw the results: time to target ESS, growth, phases, cores."""
    from nestor.bench.statistics import BenchStatistics
    from nestor.bench.table import join_tables, read_results
    from nestor.errors import DataError
    from nestor.views.plots import save_bench_plots

    found = read_results(directories)
    statistics = BenchStatistics(join_tables(found))
    folder = out or found[0].folder
    if not folder.is_dir():
        raise DataError(f"the folder {folder} does not exist.")
    for path in save_bench_plots(statistics, folder):
        typer.echo(str(path))


@app.command(cls=Once)
def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="Results directory.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Results directory.")],
    *,
    threshold: Annotated[
        float, typer.Option(help="Ratios beyond this, with their interval, are regressions.")
    ] = 1.1,
    json: Json = False,
) -> None:
    """Compare two sets of results: ratios with bootstrap intervals.

    Exit code 1 on a regression, 3 while a figure has too few runs for an interval.
    """
    from nestor.bench.regression import compare_tables
    from nestor.bench.table import read_tables
    from nestor.views.terminal.bench_regression import regression_view

    found = compare_tables(read_tables([old]), read_tables([new]), threshold=threshold)
    if json:
        import json as json_module

        typer.echo(json_module.dumps(found.to_dict(), indent=1, allow_nan=False))
    else:
        make_console().print(regression_view(found))
    raise typer.Exit(found.exit_code)
