"""``nestor calibrate``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from nestor.cli.arguments import (
    Data,
    Family,
    Formula,
    Json,
    MaxTreeDepth,
    Missing,
    Offset,
    OneEngine,
    Out,
    PriorOption,
    ScaleOption,
    Seed,
    Spec,
    TargetAccept,
    Weights,
    make_config,
    make_console,
    make_problem,
)


def calibrate(
    data: Data,
    formula: Formula = None,
    *,
    engine: OneEngine,
    simulations: Annotated[
        int,
        typer.Option(
            help="Number of simulations; a later run with more goes on. About 110 to 300, by the number of "
            "quantities, are the fewest that can end in CALIBRATED."
        ),
    ] = 500,
    around: Annotated[
        Literal["prior", "posterior"],
        typer.Option(help="Where true parameters come from: the priors, or a fit to DATA."),
    ] = "prior",
    ranked_draws: Annotated[
        int, typer.Option(help="Independent posterior draws among which the truth is ranked.")
    ] = 63,
    spec: Spec = None,
    prior: PriorOption = None,
    family: Family = None,
    scale: ScaleOption = None,
    offset: Offset = None,
    weights: Weights = None,
    missing: Missing = "error",
    chains: Annotated[int, typer.Option(help="Chains of each simulation.")] = 2,
    warmup: Annotated[int, typer.Option(help="Iterations per chain that adapt.")] = 500,
    draws: Annotated[
        int, typer.Option(help="Iterations per chain that are kept; more where the ESS needs it.")
    ] = 500,
    seed: Seed = 1,
    target_accept: TargetAccept = None,
    max_tree_depth: MaxTreeDepth = None,
    jobs: Annotated[
        int | None, typer.Option(help="Simulations side by side; default: one for each core.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds that compiling, and each simulation, may take.")
    ] = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Does an engine find again what was simulated? Simulation-based calibration on DATA's design."""
    from nestor.calibration.api import check_study
    from nestor.cli.options import read_model
    from nestor.views.terminal.calibrating import calibrate_and_print

    model = read_model(formula, spec, prior, family, scale, offset, weights)
    config = make_config(chains, warmup, draws, seed, target_accept, max_tree_depth, None)
    problem = make_problem(model, data, missing)
    contender = check_study(
        problem, engine, config, simulations, around, ranked_draws, jobs, timeout
    )
    found = calibrate_and_print(
        problem,
        contender,
        config,
        simulations=simulations,
        around=around,
        ranked_draws=ranked_draws,
        jobs=jobs,
        timeout=timeout,
        out=out,
        printed=make_console(stderr=json),
        progress=make_console(stderr=True),
    )
    if json:
        typer.echo(found.to_json())
    raise typer.Exit(found.exit_code)
