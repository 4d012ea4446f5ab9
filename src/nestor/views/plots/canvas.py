"""Figures that belong to nobody's pyplot, their headings, and the one look that all pictures share."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from nestor.views.format import COLOURS, columns, one_line, shorten
from nestor.views.plots.text import label, literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from matplotlib.axis import Axis

    from nestor.data.problem import Problem

DPI = 130
INK, MUTED, FAINT = "#222222", "#666666", "#f3f3f3"
TITLE, SUBTITLE, PANEL, TICK = 12.5, 9.0, 9.0, 8.0

_MARGIN, _TITLE_LINE, _LINE, _LEGEND_LINE = 0.14, 0.29, 0.2, 0.21
_COLUMN = 0.07  # inches that a character takes, on average
_COLOURS = (*COLOURS, "#000000")
_LINES = ("-", (0, (4, 1.6)), (0, (1, 1.2)), (0, (5, 1.4, 1, 1.4)))
_MARKERS = ("o", "s", "D", "^", "v", "P", "X")
# DejaVu, which comes with matplotlib, lacks East Asian scripts; the first of these that is there helps.
_FALLBACK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Hiragino Sans",
    "Yu Gothic",
    "Microsoft YaHei",
    "WenQuanYi Zen Hei",
    "Noto Emoji",
)
# Settings of the user's session rather than of the look.
_NOT_STYLE = ("backend", "interactive", "toolbar", "timezone", "date.epoch", "webagg", "tk.")
_LOOK = {
    "font.size": TICK,
    "axes.edgecolor": "#999999",
    "axes.linewidth": 0.7,
    "axes.labelcolor": INK,
    "axes.labelsize": TICK + 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": PANEL,
    "axes.titlecolor": INK,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": PANEL,
    "text.color": INK,
    "xtick.color": "#999999",
    "xtick.labelcolor": INK,
    "xtick.labelsize": TICK,
    "ytick.color": "#999999",
    "ytick.labelcolor": INK,
    "ytick.labelsize": TICK,
    "figure.dpi": 100,
}


class Picture(Figure):
    """A matplotlib figure that notebooks show, although pyplot does not know of it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


@contextlib.contextmanager
def look() -> Iterator[None]:
    """Draw as nestor does, whatever the user's style is, and give that back afterwards."""
    defaults = {k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith(_NOT_STYLE)}
    families = ["DejaVu Sans", *_installed(_FALLBACK_FONTS)]
    with mpl.rc_context({**defaults, **_LOOK, "font.family": families}):
        yield


def _installed(families: Iterable[str]) -> list[str]:
    known = {font.name for font in font_manager.fontManager.ttflist}
    return [family for family in families if family in known]


def new_picture(width: float, height: float, *, panels_below: float | None = None) -> Picture:
    """Return an empty figure of so many inches.

    With `panels_below`, matplotlib lays out the panels, that many inches below the top edge; without it
    they stay where they are put.
    """
    layout = None
    if panels_below is not None:
        rect = (0.0, 0.0, 1.0, 1 - panels_below / height)
        layout = ConstrainedLayoutEngine(rect=rect, w_pad=0.1, hspace=0.06, wspace=0.02)
    picture = Picture(figsize=(width, height), facecolor="white", layout=layout)
    FigureCanvasAgg(picture)
    return picture


@dataclass(frozen=True)
class Pen:
    """How one engine is drawn: colour, and line style and marker for who cannot see colours."""

    colour: str
    line: object
    marker: str

    def shades(self, n: int) -> list[tuple[float, float, float]]:
        """Return `n` shades of the colour, from dark to light: one for each chain."""
        steps = [0.0] if n == 1 else [-0.3 + 0.75 * i / (n - 1) for i in range(n)]
        return [tint(self.colour, step) for step in steps]


def pens(names: Iterable[str]) -> dict[str, Pen]:
    """Give each engine its pen, by its place."""
    return {
        name: Pen(_COLOURS[i % len(_COLOURS)], _LINES[i % len(_LINES)], _MARKERS[i % len(_MARKERS)])
        for i, name in enumerate(names)
    }


def tint(colour: str, amount: float) -> tuple[float, float, float]:
    """Mix a colour with white (amount up to 1) or black (down to -1)."""
    towards = 1.0 if amount > 0 else 0.0
    red, green, blue = (c + (towards - c) * abs(amount) for c in to_rgb(colour))
    return red, green, blue


def number_axis(axis: Axis, ticks: int = 5) -> None:
    """Write plain numbers on an axis: few, without an offset, powers of ten only far from one."""
    formatter = ScalarFormatter(useOffset=False, useMathText=False)
    formatter.set_powerlimits((-4, 6))
    axis.set_major_formatter(formatter)
    axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]))


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
