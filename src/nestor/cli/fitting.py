"""``nestor fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestor.cli.arguments import (
    Chains,
    Cores,
    Data,
    DrawsOption,
    Family,
    Formula,
    InBatches,
    MaxTreeDepth,
    Missing,
    Offset,
    OneEngine,
    PriorOption,
    ScaleOption,
    Seed,
    Spec,
    TargetAccept,
    Timeout,
    Warmup,
    Weights,
    make_config,
    make_console,
    make_problem,
)


def fit(
    data: Data,
    formula: Formula = None,
    *,
    engine: OneEngine,
    out: Annotated[Path | None, typer.Option(help="netCDF file to write the draws to.")] = None,
    spec: Spec = None,
    prior: PriorOption = None,
    family: Family = None,
    scale: ScaleOption = None,
    offset: Offset = None,
    weights: Weights = None,
    missing: Missing = "error",
    in_batches: InBatches = False,
    chains: Chains = 4,
    warmup: Warmup = 1000,
    draws: DrawsOption = 1000,
    seed: Seed = 1,
    target_accept: TargetAccept = None,
    max_tree_depth: MaxTreeDepth = None,
    cores: Cores = None,
    timeout: Timeout = None,
) -> None:
    """Sample a model with one engine and summarize the posterior.

    Exit code 3 says that the draws did not pass the convergence gates.
    """
    from nestor.cli.options import read_model
    from nestor.views.terminal.fitting import check_before_reading, fit_and_print

    model = read_model(formula, spec, prior, family, scale, offset, weights)
    config = make_config(chains, warmup, draws, seed, target_accept, max_tree_depth, cores)
    check_before_reading(model, engine, timeout, out)
    problem = make_problem(model, data, missing, in_batches=in_batches)
    row = fit_and_print(
        problem, engine, config, timeout, out, make_console(), make_console(stderr=True)
    )
    raise typer.Exit(0 if row.status == "ok" else 3)
