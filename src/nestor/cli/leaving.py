"""``nestor loo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestor.cli.arguments import (
    Data,
    Family,
    Formula,
    Missing,
    Offset,
    PriorOption,
    ScaleOption,
    Spec,
    Weights,
    make_console,
    make_problem,
    read_in_batches,
)


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
    spec: Spec = None,
    prior: PriorOption = None,
    family: Family = None,
    scale: ScaleOption = None,
    offset: Offset = None,
    weights: Weights = None,
    missing: Missing = "error",
    in_batches: Annotated[
        bool,
        typer.Option("--in-batches", help="As of fit; for --leaves, which needs no rows."),
    ] = False,
) -> None:
    """Estimate how well a fitted model predicts each row, or leaf, from all others."""
    from nestor.cli.options import read_model
    from nestor.errors import SpecError
    from nestor.views.terminal.leaving import loo_and_print

    if exact and leaves:
        raise SpecError(
            "give either --exact or --leaves, not both: leaves are always left out exactly."
        )
    model = read_model(formula, spec, prior, family, scale, offset, weights)
    problem = (read_in_batches if in_batches else make_problem)(model, data, missing)
    loo_and_print(problem, draws, make_console(), leaves=leaves, exact=exact)
