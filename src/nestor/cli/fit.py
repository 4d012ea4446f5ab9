"""``nestor fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestor.cli.arguments import (
    MODEL,
    SAMPLER,
    Data,
    Formula,
    InBatches,
    Missing,
    ModelOptions,
    OneEngine,
    SamplerOptions,
    Timeout,
    make_console,
    make_problem,
)
from nestor.cli.command import takes_groups


@takes_groups
def fit(
    data: Data,
    formula: Formula = None,
    *,
    engine: OneEngine,
    out: Annotated[Path | None, typer.Option(help="netCDF file to write the draws to.")] = None,
    model: ModelOptions = MODEL,
    missing: Missing = "error",
    in_batches: InBatches = False,
    sampler: SamplerOptions = SAMPLER,
    timeout: Timeout = None,
) -> None:
    """Sample a model with one engine and summarize the posterior.

    Exit code 3 says that the draws did not pass the convergence gates.
    """
    from rich.console import Group
    from rich.text import Text

    from nestor.agreement.arguments import check_timeout
    from nestor.api import advice, fit_engine
    from nestor.engines.contender import Contender
    from nestor.runner import store
    from nestor.views.terminal.comparison import engine_view, row_notes
    from nestor.views.terminal.layout import Prose, Unpadded
    from nestor.views.terminal.summary import summary_view

    spec, config = model.model(formula), sampler.config()
    # Before the data are read, which may take long.
    check_timeout(timeout)
    contender = Contender.parse_sampler(engine, spec.level_names)
    _check_target(out)
    problem = make_problem(spec, data, missing, in_batches=in_batches)
    console = make_console()
    row = fit_engine(problem, contender, config, timeout=timeout, console=console)
    console.print(Unpadded(engine_view([row])))
    console.print(Unpadded(summary_view(problem, row.summaries)))
    if row.status == "gates_failed":
        console.print(Unpadded(Group(Text(""), row_notes([row]), Prose(advice(row, config)))))
    if out is not None:
        store.save_tree(row.tree, out, run_key="")
        console.print(Prose(f"Written to {out}", 2))
    raise typer.Exit(0 if row.status == "ok" else 3)


def _check_target(out: Path | None) -> None:
    """Find out before sampling, not after, that the file cannot or should not be written."""
    from nestor.errors import DataError
    from nestor.runner import store

    if out is None:
        return
    if out.suffix != ".nc":
        raise DataError(f"--out {out}: fit writes one netCDF file, so its name must end in .nc.")
    if out.is_dir():
        raise DataError(f"--out {out} is a directory; fit writes one netCDF file.")
    if out.exists() and not store.is_ours(out):
        raise DataError(f"--out {out} exists and was not written by nestor. Choose another name.")
    if not out.parent.is_dir():
        raise DataError(f"--out {out}: the directory {out.parent} does not exist.")
    store.check_writable(out.parent)
