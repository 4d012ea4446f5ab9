"""``nestor verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from nestor.cli.arguments import (
    Chains,
    Cores,
    DrawsOption,
    Json,
    MaxTreeDepth,
    Seed,
    TargetAccept,
    Timeout,
    Warmup,
    make_config,
    make_console,
)


def verify(
    engine: Annotated[
        str,
        typer.Argument(
            help="Contender such as numpyro, or pymc:nutpie@centered; auto, unless words say otherwise, "
            "chooses a formulation for each problem."
        ),
    ],
    *,
    problem: Annotated[
        list[str] | None, typer.Option(help="A reference problem; default: all. Repeatable.")
    ] = None,
    chains: Chains = 4,
    warmup: Warmup = 1000,
    draws: DrawsOption = 2000,
    seed: Seed = 1,
    target_accept: TargetAccept = None,
    max_tree_depth: MaxTreeDepth = None,
    cores: Cores = None,
    timeout: Timeout = None,
    json: Json = False,
) -> None:
    """Run one engine on the reference posteriors that come with nestor, and print a scorecard."""
    from nestor.agreement.verdict import exit_code
    from nestor.views.terminal.verifying import verify_and_print

    config = make_config(chains, warmup, draws, seed, target_accept, max_tree_depth, cores)
    card = verify_and_print(
        engine, problem, config, timeout, make_console(stderr=json), make_console(stderr=True)
    )
    if json:
        typer.echo(card.to_json())
    raise typer.Exit(exit_code(card.verdict, engine_failed=card.engine_failed))
