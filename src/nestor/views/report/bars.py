"""Horizontal bars, a row for each contender: its name above, a bar for each of a few quantities below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nestor.views.format import columns, counted, interval_text, median_text, status_text
from nestor.views.report.figure import (
    FONT,
    NARROW,
    WIDE,
    beside,
    both,
    in_plot,
    layout,
    legend_height,
    plotly,
    whiskers,
    wrapped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nestor.bench.bootstrap import MedianInterval
    from nestor.views.report.groups import GroupRow

# Heights in pixels, and as parts of a row's.
_BAR, _GAP = 15, 10
_LINE, _BELOW = 14, 5
_MUTED = 0.45
# Width of a small letter, in columns of a bold one.
_SMALL = 0.8
_GREY = "#8a8f98"
_ABOVE = "target not reached: at least"


@dataclass(frozen=True)
class Series:
    """A quantity that each row has a bar of.

    Attributes
    ----------
    title : str
        Its name in the legend.
    metric : str
        Of which estimate it is drawn.
    pale : bool
        Whether it is drawn in a lighter shade, as the second of two.
    """

    title: str
    metric: str
    pale: bool = False


@dataclass(frozen=True)
class _Bar:
    line: GroupRow
    series: Series
    found: MedianInterval
    y: float
    width: float

    @property
    def length(self) -> float:
        if self.found.value is not None:
            return self.found.value
        return self.found.at_least or 0.0

    @property
    def end(self) -> float:
        return max(self.length, self.found.high or 0.0)

    @property
    def open(self) -> bool:
        return self.found.value is None

    def words(self, write: Callable[[float], str]) -> str:
        return median_text(self.found, write, bound=self.line.is_bound(self.series.metric))

    @property
    def opacity(self) -> float:
        return 1.0 if self.line.speed == "shown" or self.series.metric.endswith("bytes") else _MUTED

    @property
    def fill(self) -> str:
        return f"{self.line.pen.colour}66" if self.series.pale else self.line.pen.colour


def bars(
    lines: Sequence[GroupRow],
    series: Sequence[Series],
    write: Callable[[float], str],
    unit: str,
    ticks: Callable[[float], dict[str, Any]] = lambda _: {},
) -> tuple[list[Any], dict[str, Any]]:
    """Return traces and layout of a bar chart of medians with their intervals.

    What is only known to be larger is an open bar with an arrow. A line without a speed has no bar.

    Parameters
    ----------
    lines : sequence of GroupRow
        The rows, from top to bottom.
    series : sequence of Series
        One or two quantities of the same unit.
    write : callable
        How a number is written.
    unit : str
        What stands below the axis.
    ticks : callable
        Given the longest bar, what is to be said of the axis' ticks, where plotly's do not read well.
    """
    return both(lambda narrow: _bars(lines, series, write, unit, ticks, narrow=narrow))


def _bars(
    lines: Sequence[GroupRow],
    series: Sequence[Series],
    write: Callable[[float], str],
    unit: str,
    ticks: Callable[[float], dict[str, Any]],
    *,
    narrow: bool,
) -> tuple[list[Any], dict[str, Any]]:
    titles = [title(line, narrow=narrow) for line in lines]
    above = name_height(titles)
    row = above + _BAR * len(series) + _GAP
    found = [bar for i, line in enumerate(lines) for bar in _row(line, i, series, row, above)]
    longest = max((bar.end for bar in found), default=0.0)
    traces = [trace for s in series for trace in _series(s, found, write)]
    traces += _open(found, write)
    names = [trace.name for trace in traces if trace.showlegend]
    height = row * len(lines) + 44 + legend_height(names)
    made = layout(height, bargap=0, barmode="overlay", showlegend=len(names) > 1, dragmode=False)
    made["annotations"] = name_rows(titles, above / row) + [
        beside(why_none(li), y, "middle", 0.75) for li, y in _empty(lines, found, row, above)
    ]
    made["xaxis"] = {
        # Room for what is written beside the longest bar.
        "range": [0, (1.5 if narrow else 1.28) * longest or 1.0],
        "title": {"text": unit, "standoff": 6} if unit else None,
        "tickformat": ",",
        "fixedrange": True,
        "zeroline": True,
        "showticklabels": longest > 0,
        "automargin": True,
        "nticks": 4 if narrow else 6,
        **ticks(longest),
    }
    made["yaxis"] = {"range": [len(lines) - 0.5, -0.5], "visible": False, "fixedrange": True}
    return traces, made


def _row(line: GroupRow, i: int, series: Sequence[Series], row: int, above: int) -> list[_Bar]:
    if line.speed == "none" and not series[0].metric.endswith("bytes"):
        return []
    made = []
    for k, one in enumerate(series):
        found = line.estimate(one.metric)
        if found.value is not None or found.at_least is not None:
            y = i - 0.5 + (above + _BAR * (k + 0.5)) / row
            made.append(_Bar(line, one, found, y, (_BAR - 2) / row))
    return made


def title(line: GroupRow, *, narrow: bool = False) -> str:
    """Return a line's name and verdict, and what is not ok, for a label of plotly's, in lines that fit."""
    width = NARROW if narrow else WIDE
    names = wrapped(line.key.contender, width)
    made, used = [f"<b>{in_plot(name, width)}</b>" for name in names], float(columns(names[-1]))
    for between, words, scale in ((", ", _details(line), 1.0), ("  ", _states(line), _SMALL)):
        separator = between
        for word in words:
            needed = scale * columns(separator + word)
            if used + needed > width:
                made.append("")
                separator, used = "", 0.0
            made[-1] += separator + (in_plot(word) if scale == 1.0 else _small(word))
            used += scale * columns(separator + word)
            separator = ", "
    return "<br>".join(made)


def _details(line: GroupRow) -> list[str]:
    return line.detail.split(", ") if line.detail else []


def _states(line: GroupRow) -> list[str]:
    """The verdict, and how many runs are not ok."""
    words = [line.verdict] if not line.summary.skipped else []
    if line.speed != "none":
        words += [f"{n} of {line.summary.n} {status}" for status, n in _not_ok(line)]
    return words


def _small(text: str) -> str:
    return f'<span style="font-size:{FONT - 2}px">{text}</span>'


def name_height(titles: Sequence[str]) -> int:
    """Pixels that each row needs for its name: all rows are alike, as their axis is."""
    return _LINE * max((1 + text.count("<br>") for text in titles), default=1) + _BELOW


def name_rows(titles: Sequence[str], share: float) -> list[dict[str, Any]]:
    """Return the names of all rows as annotations that end at this share of their row, above its bars."""
    return [beside(text, i - 0.5 + share, "bottom") for i, text in enumerate(titles)]


def _not_ok(line: GroupRow) -> list[tuple[str, int]]:
    statuses = line.summary.statuses
    return [(in_plot(status_text(name)), n) for name, n in statuses.items() if name != "ok"]


def _empty(
    lines: Sequence[GroupRow], found: Sequence[_Bar], row: int, above: int
) -> list[tuple[GroupRow, float]]:
    drawn = {bar.line.key for bar in found}
    return [
        (line, i - 0.5 + (above + _BAR / 2) / row)
        for i, line in enumerate(lines)
        if line.key not in drawn
    ]


def why_none(line: GroupRow) -> str:
    """Say why there is no figure of a line."""
    return "a wrong answer has no speed" if line.speed == "none" else "nothing measured"


def _series(series: Series, found: Sequence[_Bar], write: Callable[[float], str]) -> list[Any]:
    own = [bar for bar in found if bar.series == series and not bar.open]
    if not own:
        return []
    go = plotly()
    return [
        _legend_entry(series.title, {"color": f"{_GREY}66" if series.pale else _GREY}),
        go.Bar(
            **_places(own, series.title),
            marker={
                "color": [bar.fill for bar in own],
                "opacity": [bar.opacity for bar in own],
                "line": {"color": [bar.line.pen.colour for bar in own], "width": 1},
            },
            error_x=whiskers([bar.found for bar in own], [bar.length for bar in own]),
            hovertext=[_hover(bar, write) for bar in own],
        ),
        _texts(own, [bar.words(write) for bar in own], series.title),
    ]


def _open(found: Sequence[_Bar], write: Callable[[float], str]) -> list[Any]:
    """Bars of what is only known to be larger: hatched, with an arrow and the reason."""
    own = [bar for bar in found if bar.open]
    if not own:
        return []
    go = plotly()
    pattern: dict[str, Any] = {"shape": "/", "fillmode": "replace", "size": 6, "solidity": 0.25}
    pattern["fgcolor"] = [bar.line.pen.colour for bar in own]
    pattern["bgcolor"] = "rgba(0,0,0,0)"
    legend = {**pattern, "fgcolor": _GREY}
    return [
        _legend_entry(_ABOVE, {"color": _GREY, "pattern": legend}),
        go.Bar(
            **_places(own, _ABOVE),
            marker={
                "color": [bar.line.pen.colour for bar in own],
                "pattern": pattern,
                "line": {"color": [bar.line.pen.colour for bar in own], "width": 1},
            },
            hovertext=[_hover(bar, write) for bar in own],
        ),
        _texts(own, [f"▶ {bar.words(write)}" for bar in own], _ABOVE),
    ]


def _legend_entry(name: str, marker: dict[str, Any]) -> Any:
    return plotly().Bar(
        x=[None],
        y=[None],
        orientation="h",
        name=name,
        legendgroup=name,
        marker=marker,
        showlegend=True,
    )


def _places(own: Sequence[_Bar], group: str) -> dict[str, Any]:
    return {
        "x": [bar.length for bar in own],
        "y": [bar.y for bar in own],
        "width": [bar.width for bar in own],
        "orientation": "h",
        "name": group,
        "legendgroup": group,
        "showlegend": False,
        "hoverinfo": "text",
    }


def _texts(own: Sequence[_Bar], texts: list[str], group: str) -> Any:
    return plotly().Scatter(
        x=[bar.end for bar in own],
        y=[bar.y for bar in own],
        text=[f" {text}" for text in texts],
        mode="text",
        textposition="middle right",
        legendgroup=group,
        showlegend=False,
        hoverinfo="skip",
        cliponaxis=False,
    )


def _hover(bar: _Bar, write: Callable[[float], str]) -> str:
    found, lines = bar.found, [title(bar.line)]
    lines.append(f"{bar.series.title}: {bar.words(write)}")
    if text := interval_text(found.low, found.high, write):
        lines.append(f"95% interval {text}")
    runs = f"median of {counted(found.n, 'run')}"
    if found.n_censored:
        runs += f", {found.n_censored} of them without the target"
    return "<br>".join([*lines, runs])
