"""``nestor loo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestor.cli.arguments import (
    MODEL,
    Data,
    Formula,
    Missing,
    ModelOptions,
    make_console,
    make_problem,
)
from nestor.cli.command import takes_groups


@takes_groups
def loo(
    data: Data,
    formula: Formula = None,
    *,
    draws: Annotated[
        Path,
        typer.Option(
            help="netCDF file that nestor wrote of this model and these data, with the same options."
        ),
    ],
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Leave out rows exactly, given the scales: gaussian outcomes with Normal priors.",
        ),
    ] = False,
    leaves: Annotated[
        bool,
        typer.Option(
            "--leaves",
            help="Leave out all rows of a leaf at a time, exactly: gaussian outcomes with Normal priors.",
        ),
    ] = False,
    model: ModelOptions = MODEL,
    missing: Missing = "error",
    in_batches: Annotated[
        bool,
        typer.Option("--in-batches", help="As of fit; for --leaves, which needs no rows."),
    ] = False,
) -> None:
    """Estimate how well a fitted model predicts each row, or leaf, from all others."""
    from nestor.api import leave_one_leaf_out, leave_one_row_out, loo
    from nestor.data.marginalization import not_marginalizable
    from nestor.errors import DataError, SpecError
    from nestor.runner import store
    from nestor.views.terminal.layout import Unpadded
    from nestor.views.terminal.loo import totals_view, unreliable_view

    if exact and leaves:
        raise SpecError(
            "give either --exact or --leaves, not both: leaves are always left out exactly."
        )
    problem = make_problem(model.model(formula), data, missing, in_batches=in_batches)
    fit = store.load_tree(draws)
    if fit is None:
        raise DataError(f"--draws {draws} is no netCDF file of draws that can be read.")
    leave_out = leave_one_leaf_out if leaves else leave_one_row_out if exact else loo
    found = leave_out(problem, fit, progress=True)
    console = make_console()
    console.print(Unpadded(totals_view(found)))
    if found.unreliable.size:
        may_be_exact = not (leaves or exact) and not_marginalizable(problem) is None
        advice = "--exact leaves them out exactly (in Python leave_one_row_out)"
        console.print(unreliable_view(found, advice if may_be_exact else ""))
