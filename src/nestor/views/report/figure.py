"""Plotly's figures on the page: what all of them share."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from nestor.errors import Unsupported
from nestor.views.format import columns, one_line, shorten
from nestor.views.report.markup import Html, clean, json_data, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nestor.bench.bootstrap import MedianInterval

#: Columns of a line in a plot; on a telephone's screen (bold names, 340 pixels); of a legend's line there.
WIDE, NARROW, LEGEND = 60, 40, 38
#: Lines that a name may take: what is longer is cut in its middle.
_MOST_LINES = 4
_TURNS = frozenset({"R", "AL", "AN", "RLE", "RLO", "RLI", "LRE", "LRO", "LRI", "PDF", "PDI", "FSI"})
#: Pixels.
FONT = 12
_LEGEND_LINE = 18
_FAMILY = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif'


def plotly() -> Any:
    """Return plotly's classes of traces and figures.

    Raises
    ------
    Unsupported
        If plotly is not installed.
    """
    try:
        import plotly.graph_objects as objects
    except ImportError as error:
        raise Unsupported(
            "the report needs plotly, which is not installed: pip install 'nestor[report]'."
        ) from error
    return objects


def layout(height: int, **more: Any) -> dict[str, Any]:
    """Return the layout that all figures share; colours of text and lines are set on the page.

    The legend lies below the plot, so that long names fit on a narrow screen.
    """
    shared: dict[str, Any] = {
        "template": {},
        "height": height,
        "autosize": True,
        "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
        "font": {"family": _FAMILY, "size": FONT},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "font": {"size": FONT}},
        "uirevision": "kept",
        "legend": {
            "orientation": "h",
            "xref": "container",
            "yref": "container",
            "x": 0,
            "y": 0,
            "xanchor": "left",
            "yanchor": "bottom",
            "traceorder": "normal",
            # plotly would give a legend half of the plot, and scroll it
            "maxheight": 10_000,
            "bgcolor": "rgba(0,0,0,0)",
            "itemsizing": "constant",
            "tracegroupgap": 0,
        },
    }
    return {**shared, **more}


def beside(text: str, y: float, anchor: str = "top", opacity: float = 1.0) -> dict[str, Any]:
    """Return text, in plotly's markup, at the left edge of the plot; `y` is the axis' and `anchor` at it."""
    return {
        "text": text,
        "showarrow": False,
        "align": "left",
        "xref": "paper",
        "x": 0,
        "xanchor": "left",
        "yref": "y",
        "y": y,
        "yanchor": anchor,
        "borderpad": 0,
        "opacity": opacity,
    }


def both(
    make: Callable[[bool], tuple[list[Any], dict[str, Any]]],
) -> tuple[list[Any], dict[str, Any]]:
    """Return a figure for a wide screen, with that for a narrow one in its layout's ``meta``.

    Parameters
    ----------
    make : callable
        Given whether the screen is narrow, returns traces and layout.
    """
    import json

    traces, made = make(False)
    figure = plotly().Figure(*make(True))
    made["meta"] = {"narrow": json.loads(figure.to_json(engine="json"))}
    return traces, made


def legend_height(names: Sequence[str]) -> int:
    """Pixels that a legend of these names takes."""
    return sum(_LEGEND_LINE * (1 + name.count("<br>")) for name in names) + 12


def plot(title: str, note: str, traces: Sequence[Any], made: dict[str, Any]) -> Html:
    """Return a figure with its heading; the page's script draws it.

    Parameters
    ----------
    title, note : str
        Plain text.
    traces : sequence
        Plotly's traces.
    made : dict
        Its layout, as `layout` makes it.
    """
    figure = plotly().Figure(data=list(traces), layout=made)
    # Python's own encoder, so that the page does not depend on what else is installed.
    text = figure.to_json(engine="json")
    return tag(
        "figure",
        tag("figcaption", tag("h4", title), tag("small", note) if note else None),
        tag("div", class_="canvas", style=f"height:{made['height']}px"),
        json_data(text),
        class_="plot",
    )


def whiskers(found: Sequence[MedianInterval], values: Sequence[float]) -> dict[str, Any] | None:
    """Return plotly's error bars from each drawn value to its interval's ends; None without any interval.

    An end that is open has no whisker, nor has the lower one where the value is a bound itself.
    """
    if all(one.low is None and one.high is None for one in found):
        return None
    pairs = list(zip(found, values, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": [None if f.high is None else f.high - v for f, v in pairs],
        "arrayminus": [None if f.low is None or f.value is None else v - f.low for f, v in pairs],
        "thickness": 1.2,
        "width": 3,
    }


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
