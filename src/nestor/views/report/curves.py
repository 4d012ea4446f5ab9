"""Curves of a cost or a rate on logarithmic axes, one for each contender."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nestor.bench.bootstrap import MedianInterval
from nestor.views.format import counted, interval_text, median_text, size_number
from nestor.views.report.figure import (
    FONT,
    in_legend,
    in_plot,
    layout,
    legend_height,
    plotly,
    whiskers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nestor.views.report.groups import GroupRow

#: Seconds of sampling per gradient, which is no column of its own.
PER_GRADIENT: Final = "sampling_s_per_gradient"
_HEIGHT = 300
_MUTED = 0.5
#: Labels of an axis fit on a narrow screen up to this number.
_MOST_TICKS = 7


@dataclass(frozen=True)
class Curve:
    """What one contender's curve goes through.

    Attributes
    ----------
    lines : sequence of GroupRow
        Its points, with increasing `x`; of one contender.
    x : sequence of float
        Where they are.
    detail : str
        What tells the curve from others of its contender; may be empty.
    fitted : tuple of str
        What is fitted to it, in words of ours.
    """

    lines: Sequence[GroupRow]
    x: Sequence[float]
    detail: str = ""
    fitted: tuple[str, ...] = ()

    @property
    def muted(self) -> bool:
        """Whether no speed on it belongs to an answer that was judged right."""
        return not any(line.speed == "shown" for line in self.lines)


@dataclass(frozen=True)
class Axes:
    """What is drawn: a metric over something, and how its numbers are written."""

    metric: str
    x_title: str
    y_title: str
    write: Callable[[float], str]
    tick: Callable[[float], str]


def median(line: GroupRow, metric: str) -> MedianInterval:
    """Return a line's median of a metric, or of the seconds that a gradient takes."""
    if metric != PER_GRADIENT:
        return line.estimate(metric)
    rate = line.estimate("gradients_per_s")
    value, high, low = (1 / v if v else None for v in (rate.value, rate.low, rate.high))
    return MedianInterval(value, low, high, rate.n, rate.n_censored, None)


def curves(found: Sequence[Curve], axes: Axes) -> tuple[list[Any], dict[str, Any]] | None:
    """Return traces and layout; None where nothing can be drawn on logarithmic axes."""
    traces = [trace for curve in found if (trace := _trace(curve, axes)) is not None]
    if not traces:
        return None
    made = layout(_HEIGHT + legend_height([trace.name for trace in traces]), showlegend=True)
    # An entry a line, whatever the width: the height is known then.
    made["legend"] |= {"entrywidth": 1, "entrywidthmode": "fraction"}
    x = sorted({float(x) for trace in traces for x in trace.x})
    y = [float(y) for trace in traces for y in trace.y]
    made["xaxis"] = {
        **_log([x[0], x[-1]], 0.06),
        "title": {"text": in_plot(axes.x_title), "standoff": 6},
        "automargin": True,
        "tickvals": _thinned(x),
        "ticktext": [size_number(v) for v in _thinned(x)],
    }
    ticks = _ticks(min(y), max(y))
    made["yaxis"] = {
        **_log([min(y), max(y)], 0.12),
        "automargin": True,
        "tickvals": ticks,
        "ticktext": [axes.tick(v) for v in ticks],
    }
    return traces, made


def _trace(curve: Curve, axes: Axes) -> Any | None:
    points = [
        (x, line, found)
        for x, line in zip(curve.x, curve.lines, strict=True)
        if line.speed != "none" and _height(found := median(line, axes.metric)) > 0 and x > 0
    ]
    if not points:
        return None
    pen, name = curve.lines[0].pen, _title(curve)
    symbols = [_symbol(pen.symbol, line, found) for _, line, found in points]
    heights = [_height(found) for *_, found in points]
    return plotly().Scatter(
        x=[x for x, *_ in points],
        y=heights,
        mode="lines+markers",
        name=f"{in_legend(curve.lines[0].key.contender)}{_under(curve)}",
        opacity=_MUTED if curve.muted else 1.0,
        line={"color": pen.colour, "dash": pen.dash, "width": 2},
        marker={
            "color": pen.colour,
            "size": 8,
            "symbol": symbols,
            "line": {"width": 1.5, "color": pen.colour},
        },
        error_y=whiskers([found for *_, found in points], heights),
        hoverinfo="text",
        hovertext=[_hover(name, x, line, found, axes) for x, line, found in points],
    )


def _height(found: MedianInterval) -> float:
    return found.value if found.value is not None else (found.at_least or 0.0)


def _symbol(symbol: str, line: GroupRow, found: MedianInterval) -> str:
    if found.value is None:
        return "arrow-up-open"
    return symbol if line.speed == "shown" else f"{symbol}-open"


def _title(curve: Curve) -> str:
    detail = f", {in_plot(curve.detail)}" if curve.detail else ""
    return f"{in_plot(curve.lines[0].key.contender)}{detail}"


def _under(curve: Curve) -> str:
    """What stands below the name in the legend."""
    words = [in_plot(curve.detail)] if curve.detail else []
    words += curve.fitted
    unsure = [line for line in curve.lines if line.speed == "muted" and line.summary.n_ok]
    if unsure:
        where = "" if curve.muted else " at some sizes"
        words.append(f"{' or '.join(sorted({line.verdict for line in unsure}))}{where}")
    wrong = sum(line.speed == "none" for line in curve.lines)
    if wrong:
        words.append(f"{wrong} left out: a wrong answer has no speed")
    return "".join(f'<br><span style="font-size:{FONT - 2}px">{word}</span>' for word in words)


def _hover(name: str, x: float, line: GroupRow, found: MedianInterval, axes: Axes) -> str:
    rows = [
        f"<b>{name}</b>  {line.verdict}",
        f"{in_plot(axes.x_title)} {size_number(x)}",
        f"{axes.y_title}: {median_text(found, axes.write, bound=line.is_bound(axes.metric))}",
    ]
    if text := interval_text(found.low, found.high, axes.write):
        rows.append(f"95% interval {text}")
    rows.append(f"median of {counted(found.n, 'run')}")
    return "<br>".join(rows)


def _log(ends: Sequence[float], space: float) -> dict[str, Any]:
    """A logarithmic axis that leaves space, as part of its length, at both ends."""
    low, high = (math.log10(end) for end in ends)
    more = max(space * (high - low), 0.08)
    return {"type": "log", "range": [low - more, high + more], "zeroline": False, "showline": True}


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with 2 and 5 where there are few of them; beyond the data too, for who zooms out."""
    first, last = math.floor(math.log10(low)) - 2, math.ceil(math.log10(high)) + 2
    decades = math.log10(high / low)
    steps: tuple[float, ...] = (1,) if decades > 3 else (1, 3) if decades > 1.5 else (1, 2, 5)
    if decades < 0.35:
        steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    every = 2 if decades > 9 else 1
    return [step * 10.0**power for power in range(first, last, every) for step in steps]


def _thinned(values: Sequence[float]) -> list[float]:
    step = math.ceil(len(values) / _MOST_TICKS)
    return list(values[::step])
