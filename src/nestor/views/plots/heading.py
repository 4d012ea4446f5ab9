"""Titles, legends and notes: the words around the panels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from nestor.views.plots.canvas import MUTED, SUBTITLE, TITLE, Pen, Picture
from nestor.views.plots.text import columns, label, literal, one_line, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nestor.data.problem import Problem

_MARGIN, _TITLE_LINE, _LINE, _LEGEND_LINE = 0.14, 0.29, 0.2, 0.21
_COLUMN = 0.07  # inches that a character takes, on average


@dataclass(frozen=True)
class Heading:
    """Title, lines below it and legend, at the top left of a picture.

    Parameters
    ----------
    title : str
        In plain words, like the lines without escapes.
    lines : sequence of str
        What else is to be known; empty ones are left out, long ones cut to the picture's width.
    handles : sequence
        Entries of the legend.
    """

    title: str
    lines: Sequence[str]
    handles: Sequence[Any]

    def height(self, width: float) -> float:
        """Inches that it takes on a picture of `width` inches."""
        rows = -(-len(self.handles) // self._ncols(width)) if self.handles else 0
        lines = sum(bool(line) for line in self.lines)
        return _MARGIN + _TITLE_LINE + _LINE * lines + _LEGEND_LINE * rows + 0.14

    def draw(self, picture: Picture) -> None:
        """Write it; layouts of the panels do not move it."""
        width, height = picture.get_size_inches()
        left, below = _MARGIN / width, _MARGIN
        text = picture.text(
            left, 1 - below / height, literal(self.title), size=TITLE, weight="bold", va="top"
        )
        text.set_in_layout(False)
        below += _TITLE_LINE
        fit = int((width - 2 * _MARGIN) / _COLUMN)
        for line in filter(None, self.lines):
            words = literal(shorten(line, fit))
            text = picture.text(
                left, 1 - below / height, words, size=SUBTITLE, color=MUTED, va="top"
            )
            text.set_in_layout(False)
            below += _LINE
        if self.handles:
            self._legend(picture, (_MARGIN / width, 1 - (below + 0.03) / height))

    def _legend(self, picture: Picture, corner: tuple[float, float]) -> None:
        legend = picture.legend(
            handles=list(self.handles),
            loc="upper left",
            bbox_to_anchor=corner,
            ncols=self._ncols(picture.get_size_inches()[0]),
            borderaxespad=0,
            borderpad=0,
            columnspacing=2,
            labelspacing=0.4,
            handlelength=2.4,
        )
        legend.set_in_layout(False)

    def _ncols(self, width: float) -> int:
        widths = [0.75 + _COLUMN * columns(str(h.get_label())) for h in self.handles]
        room = width - 2 * _MARGIN
        if sum(widths) <= room:
            return len(widths)
        return max(1, int(room / max(widths)))


def describe(problem: Problem) -> str:
    """Say which model and how many rows."""
    return f"{shorten(one_line(problem.spec.to_formula()), 90)},  {problem.n_rows:,} rows"


def note_not_finite(found: Mapping[str, int]) -> str:
    """Say how many draws could not be drawn; empty if all could."""
    parts = [f"{n:,} of {one_line(engine)}" for engine, n in found.items()]
    return f"Left out: draws with values that are not finite, {', '.join(parts)}." if parts else ""


def pen_handles(pens: Mapping[str, Pen], *, marker: bool) -> list[Any]:
    """Legend entries of the engines."""
    return [
        Line2D(
            [],
            [],
            color=pen.colour,
            lw=2,
            ls="-" if marker else pen.line,
            marker=pen.marker if marker else None,
            ms=5,
            label=label(name, 60),
        )
        for name, pen in pens.items()
    ]
