"""``nestor schema``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def schema(
    what: Annotated[
        Literal["comparison", "model", "bench", "scenario"],
        typer.Argument(
            help="comparison: of comparison.json. model: of a description in TOML. bench: of a "
            "benchmark's records. scenario: of what a benchmark runs."
        ),
    ],
) -> None:
    """Print a JSON Schema."""
    import json as json_module

    from nestor.agreement import schema as comparison
    from nestor.bench import record, scenario
    from nestor.model import spec

    of = {"comparison": comparison, "model": spec, "bench": record, "scenario": scenario}
    typer.echo(json_module.dumps(of[what].json_schema(), indent=2))
