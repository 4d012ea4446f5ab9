"""Commands that only look: ``nestor index``, ``nestor backends``, ``nestor schema``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nestor.cli.arguments import (
    Data,
    Missing,
    make_console,
)

if TYPE_CHECKING:
    import pandas as pd


def index(
    data: Data,
    levels: Annotated[
        str,
        typer.Argument(
            metavar="FORMULA|LEVELS",
            help="A formula, or levels from the top down, such as degree/state/county.",
        ),
    ],
    missing: Missing = "error",
) -> None:
    """Show the tree that a formula or its levels make of the rows; with a formula, notes on the data too."""
    from nestor.cli.options import refuse_table
    from nestor.data.index import build_index
    from nestor.data.tables import read_table
    from nestor.model.formula import parse_formula
    from nestor.views.terminal.tables import index_view

    refuse_table(levels, data)
    formula = levels if "~" in levels else None
    if formula is None:
        names = [name.strip() for name in levels.split("/")]
    else:
        names = [level.name for level in parse_formula(formula).levels]
    table = read_table(data, levels=names)
    console = make_console()
    console.print(index_view(build_index(table, names, missing=missing)))
    if formula is not None:
        for line in _notes(formula, table, missing):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _notes(formula: str, table: pd.DataFrame, missing: Literal["error", "group"]) -> list[str]:
    """What the data cannot tell of a formula's model, or that nestor has no such model yet."""
    from nestor.data.problem import Problem
    from nestor.data.propriety import check_sigma
    from nestor.errors import Unsupported
    from nestor.model.spec import ModelSpec
    from nestor.views.terminal.words import note_lines

    try:
        model = ModelSpec.from_formula(formula)
    except Unsupported as error:
        return [f"note: {error}"]
    problem = Problem(model, table, missing=missing)
    check_sigma(problem)
    return note_lines(problem)


def backends() -> None:
    """List the backends: what is installed, and how to install what is not."""
    from nestor.views.terminal.backends import backends_view

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

    from nestor.agreement import schema as document
    from nestor.bench import record, scenario
    from nestor.model import spec

    of = {"comparison": document, "model": spec, "bench": record, "scenario": scenario}
    typer.echo(json_module.dumps(of[what].json_schema(), indent=2))
