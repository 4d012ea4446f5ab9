"""Commands that only look: ``nestor index``, ``nestor backends``, ``nestor schema``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from nestor.cli.arguments import (
    Data,
    Missing,
    make_console,
)


def index(
    data: Data,
    levels: Annotated[
        str, typer.Argument(help="Levels from the top down, such as degree/state/county.")
    ],
    missing: Missing = "error",
) -> None:
    """Show the tree that the levels make of the rows."""
    from nestor.index import build_index
    from nestor.tables import read_table
    from nestor.terminal.tables import index_view

    names = [name.strip() for name in levels.split("/")]
    make_console().print(
        index_view(build_index(read_table(data, levels=names), names, missing=missing))
    )


def backends() -> None:
    """List the backends: what is installed, and how to install what is not."""
    from nestor.terminal.backends import backends_view

    make_console().print(backends_view())


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

    from nestor import document, spec
    from nestor.bench import reading, record

    of = {"comparison": document, "model": spec, "bench": record, "scenario": reading}
    typer.echo(json_module.dumps(of[what].json_schema(), indent=2))
