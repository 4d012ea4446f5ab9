"""Plotly's figures on the page: what all of them share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nestor.errors import Unsupported
from nestor.views.report.markup import Html, json_data, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nestor.bench.bootstrap import MedianInterval

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
