"""Numbers, and text of the user's, as the report writes them."""

from __future__ import annotations

import html
import math
import re
import unicodedata
from typing import TYPE_CHECKING

from nestor.views.plots.text import columns, one_line, shorten
from nestor.views.report.markup import clean
from nestor.views.terminal.words import count, duration, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from nestor.bench.bootstrap import MedianInterval

MISSING = "–"
#: Columns of a line in a plot; on a telephone's screen (bold names, 340 pixels); of a legend's line there.
WIDE, NARROW, LEGEND = 60, 40, 38
#: Lines that a name may take: what is longer is cut in its middle.
_MOST_LINES = 4
STATUS = {
    "gates_failed": "not converged",
    "density_failed": "wrong log density",
    "failed": "failed",
    "timeout": "out of time",
    "out_of_memory": "out of memory",
    "skipped": "skipped",
    "no_speed": "no speed",
}
_TURNS = frozenset({"R", "AL", "AN", "RLE", "RLO", "RLI", "LRE", "LRO", "LRI", "PDF", "PDI", "FSI"})

__all__ = ["count", "duration", "number"]


def known(value: object) -> float | None:
    """A cell of the table as a finite number, or None where there is none."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def plain(value: object) -> str:
    """A cell of the table as text; empty where it is missing."""
    return value if isinstance(value, str) else ""


def memory(value: float) -> str:
    """Bytes in the unit that reads best; 1 GB is 1e9 bytes."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


def in_plot(text: object, width: int = WIDE) -> str:
    """Return text of the user's for a label of plotly's, which reads tags, entities and ``%{x}`` in it."""
    line = shorten(one_line(clean(text)), width)
    if any(unicodedata.bidirectional(c) in _TURNS for c in line):
        line = f"\N{FIRST STRONG ISOLATE}{line}\N{POP DIRECTIONAL ISOLATE}"
    return html.escape(line, quote=False).replace("%", "&#37;")


def in_legend(text: str) -> str:
    """Return a name as lines, in plotly's markup, that fit on a telephone's screen."""
    return "<br>".join(in_plot(line) for line in wrapped(text, LEGEND))


def wrapped(text: str, width: int) -> list[str]:
    """Break a name into lines of at most `width` columns, after the signs between its words if it can be."""
    lines = [""]
    for word in re.split("(?<=[@,:=])", shorten(one_line(clean(text)), _MOST_LINES * width)):
        if lines[-1] and columns(lines[-1] + word) > width:
            lines.append("")
        for character in word:
            if columns(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return lines


def estimate(found: MedianInterval, write: Callable[[float], str], *, bound: bool = False) -> str:
    """Return a median in words: its value, marked where that is an upper bound, or what it exceeds."""
    if found.value is not None:
        return f"{'≤ ' if bound else ''}{write(found.value)}"
    if found.at_least is not None:
        return f"> {write(found.at_least)}"
    return MISSING


def interval(
    low: float | None, high: float | None, write: Callable[[float], str], between: str = " to "
) -> str:
    """Return an interval in words; empty where there is none."""
    if low is None:
        return ""
    if high is None:
        return f"above {write(low)}"
    start, end = write(low), write(high)
    unit = end.rpartition(" ")[2]
    if start.count(" ") == end.count(" ") == 1 and start.endswith(f" {unit}"):
        start = start.removesuffix(f" {unit}")
    return f"{start}{between}{end}"


def size_text(sweep: str, value: float | None) -> str:
    """What a cell's size is called: ``rows = 1,000``."""
    if value is None:
        return ""
    spelt = count(value) if value == round(value) else f"{value:g}"
    return f"{sweep or 'size'} = {spelt}"
