"""The posterior of all that is not a node's coefficient, for terminals of any width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from nestor.terminal.narrow import FirstThatFits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from nestor.diagnostics import Summaries
    from nestor.problem import Problem

_HEADINGS = ("mean", "sd", "5%", "50%", "95%", "MCSE mean", "R-hat", "bulk ESS")
_QUANTILES = ("5%", "50%", "95%")


def summary_view(problem: Problem, found: Summaries) -> RenderableType:
    """Return a line per scalar; where space is short its name is above it, then quantiles are left out."""
    rows = [int(i) for i in (~problem.scalars.is_node).nonzero()[0]]
    labels = [problem.scalars.label(i) for i in rows]
    cells = [_cells(found, i) for i in rows]
    few = tuple(heading for heading in _HEADINGS if heading not in _QUANTILES)
    return FirstThatFits(
        [
            _table(labels, cells),
            _stacked(labels, cells, _HEADINGS, gap=2),
            _stacked(labels, cells, _HEADINGS, gap=1),
            _stacked(labels, cells, few, gap=1),
            _stacked(labels, cells, ("mean", "sd", "R-hat"), gap=1),
        ]
    )


def _cells(found: Summaries, i: int) -> dict[str, str]:
    values = [f"{value:.4g}" for value in found.estimate[:, i]]
    values += [f"{found.mcse[0, i]:.2g}", f"{found.rhat[i]:.3f}", f"{found.ess_bulk[i]:,.0f}"]
    return dict(zip(_HEADINGS, values, strict=True))


def _table(labels: Sequence[str], cells: Sequence[dict[str, str]]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for label, of in zip(labels, cells, strict=True):
        table.add_row(Text(label), *of.values())
    return table


def _stacked(
    labels: Sequence[str], cells: Sequence[dict[str, str]], headings: Sequence[str], gap: int
) -> RenderableType:
    """Each name on a line of its own, above its numbers; headings of two words take two lines."""
    heads = [(" " + heading).rsplit(" ", 1) for heading in headings]
    widths = [
        max(len(text.strip()) for text in (*head, *(of[heading] for of in cells)))
        for head, heading in zip(heads, headings, strict=True)
    ]

    def line(texts: Sequence[str]) -> str:
        pairs = zip(texts, widths, strict=True)
        return (" " * gap).join(["", *(f"{text.strip():>{width}}" for text, width in pairs)])

    lines = [line([head[0] for head in heads]), line([head[1] for head in heads])]
    rule = "─" * max(len(text) for text in lines)
    for label, of in zip(labels, cells, strict=True):
        lines += [label, line([of[heading] for heading in headings])]
    return Text("\n".join(text for text in (*lines[:2], rule, *lines[2:]) if text.strip()))
