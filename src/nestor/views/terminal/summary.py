"""Posterior summary of everything but the nodes' coefficients, for terminals of any width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from nestor.views.format import estimate
from nestor.views.terminal.layout import FirstThatFits, Prose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from nestor.data.problem import Problem
    from nestor.stats.diagnostics import Summaries

_HEADINGS = ("mean", "sd", "5%", "50%", "95%", "MCSE mean", "R-hat", "bulk ESS")
_QUANTILES = ("5%", "50%", "95%")


def summary_view(problem: Problem, found: Summaries) -> RenderableType:
    """Return one line per scalar; in narrow terminals the name goes above it and quantiles are dropped."""
    rows = [int(i) for i in (~problem.scalars.is_node).nonzero()[0]]
    labels = [problem.scalars.label(i) for i in rows]
    cells = [_cells(found, i) for i in rows]
    few = tuple(heading for heading in _HEADINGS if heading not in _QUANTILES)
    return FirstThatFits(
        [
            _table(labels, cells),
            _Stacked(labels, cells, _HEADINGS, gap=2),
            _Stacked(labels, cells, _HEADINGS, gap=1),
            _Stacked(labels, cells, few, gap=1),
            _Stacked(labels, cells, ("mean", "sd", "R-hat"), gap=1),
        ]
    )


def _cells(found: Summaries, i: int) -> dict[str, str]:
    values = [
        estimate(value, error)
        for value, error in zip(found.estimate[:, i], found.mcse[:, i], strict=True)
    ]
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


class _Stacked:
    """Each name on a line of its own, above its numbers; headings of two words take two lines."""

    def __init__(
        self,
        labels: Sequence[str],
        cells: Sequence[dict[str, str]],
        headings: Sequence[str],
        gap: int,
    ) -> None:
        self._labels, self._gap = labels, gap
        heads = [(" " + heading).rsplit(" ", 1) for heading in headings]
        self._widths = [
            max(len(text.strip()) for text in (*head, *(of[heading] for of in cells)))
            for head, heading in zip(heads, headings, strict=True)
        ]
        self._head = [self._line([head[k] for head in heads]) for k in (0, 1)]
        self._lines = [self._line([of[heading] for heading in headings]) for of in cells]

    def _line(self, texts: Sequence[str]) -> str:
        pairs = zip(texts, self._widths, strict=True)
        return (" " * self._gap).join(["", *(f"{text.strip():>{width}}" for text, width in pairs)])

    @property
    def _width(self) -> int:
        return max(map(len, (*self._head, *self._lines)))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self._width, self._width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from (Text(line) for line in self._head if line.strip())
        yield Text("─" * self._width)
        for label, line in zip(self._labels, self._lines, strict=True):
            yield Prose(label, 2)
            yield Text(line)
