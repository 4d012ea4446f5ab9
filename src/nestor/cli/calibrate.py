"""``nestor calibrate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nestor.cli.arguments import (
    MODEL,
    Data,
    Formula,
    Json,
    MaxTreeDepth,
    Missing,
    ModelOptions,
    OneEngine,
    Out,
    Seed,
    TargetAccept,
    make_console,
    make_problem,
)
from nestor.cli.command import takes_groups

if TYPE_CHECKING:
    from rich.console import Console

    from nestor.calibration import Calibration


@takes_groups
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
    model: ModelOptions = MODEL,
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
    from nestor.api import run_calibration
    from nestor.engines.protocol import SamplerConfig
    from nestor.runner import store
    from nestor.views.terminal.calibration import calibration_view
    from nestor.views.terminal.layout import Unpadded

    spec = model.model(formula)
    config = SamplerConfig(chains, warmup, draws, seed, target_accept, max_tree_depth)
    problem = make_problem(spec, data, missing)
    printed = make_console(stderr=json)
    folder = out or store.default_folder(problem)
    try:
        found = run_calibration(
            problem,
            engine,
            config,
            simulations=simulations,
            around=around,
            ranked_draws=ranked_draws,
            jobs=jobs,
            timeout=timeout,
            out=folder,
            console=printed,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"What is finished is kept in {folder}: the same command goes on from there."
        ) from None
    printed.print(Unpadded(calibration_view(found)))
    _write_pictures(found, printed)
    if json:
        typer.echo(found.to_json())
    raise typer.Exit(found.exit_code)


def _write_pictures(found: Calibration, console: Console) -> None:
    """Write pictures, and print which files the study's folder has."""
    from nestor.errors import Unsupported
    from nestor.views.terminal.layout import Prose

    names = ["calibration.json"]
    if len(found.judgement.p_values):
        try:
            names += [path.name for path in found.save_plots()]
        except Unsupported as error:
            console.print(Prose(f"No pictures: {error}", 2))
    console.print(Prose(f"Written to {found.folder}/: {', '.join(names)}", 2))
