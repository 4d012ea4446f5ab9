"""``nestor index``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nestor.cli.arguments import Data, Missing, make_console

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
    from nestor.views.terminal.problem import index_view

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
    """Return notes on what the data do not identify, or that nestor lacks the model."""
    from nestor.data.problem import Problem
    from nestor.data.propriety import check_sigma
    from nestor.errors import Unsupported
    from nestor.model.spec import ModelSpec
    from nestor.views.sentences import note_lines

    try:
        model = ModelSpec.from_formula(formula)
    except Unsupported as error:
        return [f"note: {error}"]
    problem = Problem(model, table, missing=missing)
    check_sigma(problem)
    return note_lines(problem)
