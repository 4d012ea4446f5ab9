"""Figures that belong to nobody's pyplot, and the one look that all pictures share."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, ScalarFormatter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from matplotlib.axis import Axis

DPI = 130
INK, MUTED, FAINT = "#222222", "#666666", "#f3f3f3"
TITLE, SUBTITLE, PANEL, TICK = 12.5, 9.0, 9.0, 8.0

# Okabe and Ito's palette, told apart with every common colour vision; https://jfly.uni-koeln.de/color/
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
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
