"""The problem and the contenders' formulations, as printed before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from nestor.errors.text import printable
from nestor.views.format import count
from nestor.views.sentences import chosen_lines, index_lines, note_lines, prior_lines
from nestor.views.terminal.layout import Prose, Unpadded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

    from nestor.data.index import TreeIndex
    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender


def print_problem(problem: Problem, contenders: Sequence[Contender], console: Console) -> None:
    """Print the problem, and what auto chose for the contenders whose formulation was not named."""
    console.print(Unpadded(Group(problem_view(problem, contenders), *chosen_view(contenders))))


def print_notes(problem: Problem, contenders: Sequence[Contender], console: Console) -> None:
    """Print only the notes about the problem, and what auto chose."""
    if lines := [*note_lines(problem, contenders), *chosen_lines(contenders)]:
        # In one call, since each print is an output of its own in a notebook.
        console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def index_view(index: TreeIndex) -> RenderableType:
    """Nodes per level, rows per leaf, and labels that occur under several parents."""
    return Group(*(Prose(line, 4) for line in index_lines(index)))


def problem_view(problem: Problem, contenders: Sequence[Contender] = ()) -> RenderableType:
    """Show formula, tree and priors, with notes on the data and on each contender's formulation."""
    head = Text(printable(problem.spec.to_formula()), style="bold")
    head.append(f"   {problem.spec.family}, {count(problem.n_rows)} rows", style="not bold")
    priors = (Prose(line, 4) for line in prior_lines(problem))
    notes = (Prose(line, 2) for line in note_lines(problem, contenders))
    return Group(Prose(head, 2), index_view(problem.index), *priors, *notes, Text(""))


def chosen_view(contenders: Sequence[Contender]) -> list[RenderableType]:
    """What auto chose for the contenders whose formulation was not named; empty if there is none."""
    lines = chosen_lines(contenders)
    return [Group(*(Prose(line, 2) for line in lines), Text(""))] if lines else []
