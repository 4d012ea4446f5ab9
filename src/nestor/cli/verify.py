"""``nestor verify``."""

from __future__ import annotations

from typing import Annotated

import typer

from nestor.cli.arguments import Json, SamplerOptions, Timeout, make_console
from nestor.cli.command import takes_groups

_SAMPLER = SamplerOptions(draws=2000)


@takes_groups
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
    sampler: SamplerOptions = _SAMPLER,
    timeout: Timeout = None,
    json: Json = False,
) -> None:
    """Run one engine on the reference posteriors that come with nestor, and print a scorecard."""
    from nestor.agreement.verdict import exit_code
    from nestor.references.problems import NAMES
    from nestor.references.verify import verify
    from nestor.views.terminal.layout import Unpadded
    from nestor.views.terminal.scorecard import VerifyBar, scorecard_view

    with VerifyBar(make_console(stderr=True), engine, problem or NAMES) as bar:
        card = verify(
            engine,
            problem,
            config=sampler.config(),
            timeout=timeout,
            listener=bar.hear,
            on_score=bar.score,
        )
    make_console(stderr=json).print(Unpadded(scorecard_view(card)))
    if json:
        typer.echo(card.to_json())
    raise typer.Exit(exit_code(card.verdict, engine_failed=card.engine_failed))
