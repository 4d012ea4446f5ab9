"""``nestor compare``, and what it shares with ``nestor demo``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from nestor.cli.arguments import (
    MODEL,
    SAMPLER,
    Data,
    Engines,
    Formula,
    InBatches,
    Json,
    Margin,
    Missing,
    ModelOptions,
    Out,
    SamplerOptions,
    Timeout,
    UntilVerdict,
    make_console,
    make_problem,
)
from nestor.cli.command import takes_groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from nestor.agreement.comparison import Comparison
    from nestor.agreement.criteria import Criteria
    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.engines.protocol import SamplerConfig


@takes_groups
def compare(
    data: Data,
    formula: Formula = None,
    *,
    engine: Engines = None,
    model: ModelOptions = MODEL,
    missing: Missing = "error",
    in_batches: InBatches = False,
    sampler: SamplerOptions = SAMPLER,
    margin: Margin = 0.2,
    until_verdict: UntilVerdict = None,
    timeout: Timeout = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Run one model on several engines: do they agree, and what does each cost?

    "All in" is all that an engine takes to its last draw, compiling and warmup included, the import of its
    libraries not.
    """
    from nestor.agreement.criteria import Criteria
    from nestor.engines.contender import Contender

    spec, config = model.model(formula), sampler.config()
    criteria = Criteria(margin, until_verdict)
    # Before the data are read, which may take long.
    contenders = [Contender.parse_sampler(one, spec.level_names) for one in engine or []]
    problem = make_problem(spec, data, missing, in_batches=in_batches)
    compare_and_exit(problem, contenders, config, criteria, timeout, out, as_json=json)


def compare_and_exit(
    problem: Problem,
    engines: Sequence[str | Contender],
    config: SamplerConfig,
    criteria: Criteria,
    timeout: float | None,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Run a comparison, print it, write its pictures, and exit with the verdict's code."""
    from nestor.agreement.verdict import exit_code
    from nestor.api import run_comparison
    from nestor.runner import store
    from nestor.views.terminal.comparison import results_view
    from nestor.views.terminal.layout import Unpadded

    printed = make_console(stderr=as_json)
    folder = out or store.default_folder(problem)
    try:
        comparison = run_comparison(
            problem, engines, config, criteria, timeout=timeout, out=folder, console=printed
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"What is finished is kept in {folder}: the same command goes on from there."
        ) from None
    try:
        printed.print(Unpadded(results_view(comparison)))
        _write_pictures(comparison, folder, printed)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"The verdict and the draws are kept in {folder} (comparison.json and the files .nc); pictures "
            "are not all drawn: the same command draws them, and runs nothing again that is finished."
        ) from None
    if as_json:
        typer.echo(comparison.to_json())
    raise typer.Exit(exit_code(comparison.verdict, engine_failed=comparison.engine_failed))


def _write_pictures(comparison: Comparison, folder: Path, console: Console) -> None:
    """Write pictures, and print which files the run directory has."""
    from nestor.errors import Unsupported
    from nestor.views.terminal.layout import Prose

    names = ["comparison.json"]
    names += [f"{comparison.row(name).contender.file_stem}.nc" for name in comparison.draws]
    if comparison.draws:
        try:
            with _status("drawing pictures"):
                names += [path.name for path in comparison.save_plots()]
        except Unsupported as error:
            console.print(Prose(f"No pictures: {error}", 2))
    console.print(Prose(f"Written to {folder}/: {', '.join(names)}", 2))


@contextlib.contextmanager
def _status(what: str) -> Iterator[None]:
    """Say what is being done: a line that vanishes at its end, or stays where it cannot."""
    from nestor.views.terminal.progress import shows_bars

    console = make_console(stderr=True)
    if shows_bars(console):
        with console.status(what):
            yield
    else:
        console.print(what, markup=False, highlight=False, soft_wrap=True)
        yield
