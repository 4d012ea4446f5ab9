"""Where the seconds went: phases of a run, with empty caches and with filled ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nestor.report.bars import name_rows, title, why_none
from nestor.report.figure import beside, layout, legend_height, plotly
from nestor.report.palette import PHASES, REST
from nestor.report.wording import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.report.lines import Line

_NAME, _BAR, _GAP = 19, 17, 10
_CACHES = ("empty caches", "caches filled")


def phases(lines: Sequence[Line]) -> tuple[list[Any], dict[str, Any]] | None:
    """Return traces and layout of the stacked medians of each phase; None where none was measured."""
    bars = [
        (i, k, line, _pieces(line, warm=bool(k))) for i, line in enumerate(lines) for k in (0, 1)
    ]
    drawn = [bar for bar in bars if bar[3]]
    if not drawn:
        return None
    height = _NAME + 2 * _BAR + _GAP
    traces = []
    for phase, (name, colour) in {**PHASES, "rest": REST}.items():
        own = [(i, k, line, pieces[phase]) for i, k, line, pieces in drawn if phase in pieces]
        if any(seconds for *_, seconds in own):
            traces.append(_trace(name, colour, own, height))
    totals = [(_y(i, k, height), sum(pieces.values())) for i, k, _, pieces in drawn]
    traces.append(_totals(totals))
    return traces, _layout(lines, drawn, totals, height, [t.name for t in traces[:-1]])


def _y(i: int, k: int, height: int) -> float:
    return i - 0.5 + (_NAME + _BAR * (k + 0.5)) / height


def _pieces(line: Line, *, warm: bool) -> dict[str, float]:
    """Median seconds by phase; what the total has beyond them is a piece of its own."""
    if line.speed == "none":
        return {}
    found = {name: line.estimate(name).value for name in PHASES}
    if warm:
        found["compile_s"] = line.estimate("warm_compile_s").value
        if found["compile_s"] is None:
            return {}
    pieces = {name: seconds for name, seconds in found.items() if seconds is not None}
    rest = _rest(line)
    return {**pieces, "rest": rest} if rest is not None else pieces


def _rest(line: Line) -> float | None:
    """Seconds of the run that are in no phase, where warmup and sampling were not told apart."""
    if None not in (line.estimate("warmup_s").value, line.estimate("sampling_s").value):
        return None
    total = line.estimate("total_s").value
    if total is None:
        return None
    measured = [line.estimate(name).value or 0.0 for name in ("import_s", *PHASES)]
    return max(0.0, total - sum(measured))


def _trace(name: str, colour: str, own: Sequence[tuple[int, int, Line, float]], height: int) -> Any:
    return plotly().Bar(
        x=[seconds for *_, seconds in own],
        y=[_y(i, k, height) for i, k, _, _ in own],
        width=(_BAR - 3) / height,
        orientation="h",
        name=name,
        marker={"color": colour, "line": {"width": 0}},
        hoverinfo="text",
        hovertext=[
            f"{title(line)}<br>{_CACHES[k]}<br>{name}: {duration(seconds)}"
            for _, k, line, seconds in own
        ],
    )


def _totals(totals: Sequence[tuple[float, float]]) -> Any:
    return plotly().Scatter(
        x=[total for _, total in totals],
        y=[y for y, _ in totals],
        text=[f" {duration(total)}" for _, total in totals],
        mode="text",
        textposition="middle right",
        showlegend=False,
        hoverinfo="skip",
        cliponaxis=False,
    )


def _layout(
    lines: Sequence[Line],
    drawn: Sequence[tuple[int, int, Line, dict[str, float]]],
    totals: Sequence[tuple[float, float]],
    height: int,
    names: Sequence[str],
) -> dict[str, Any]:
    there = {i for i, *_ in drawn}
    made = layout(height * len(lines) + 44 + legend_height(names), barmode="stack", dragmode=False)
    made["annotations"], made["meta"] = name_rows(lines)
    made["annotations"] += [
        beside(why_none(line), i - 0.5 + _NAME / height, opacity=0.75)
        for i, line in enumerate(lines)
        if i not in there
    ]
    longest = max(total for _, total in totals)
    made["xaxis"] = {"range": [0, 1.25 * longest or 1.0], "fixedrange": True, "nticks": 6}
    made["xaxis"]["tickformat"] = ","
    made["xaxis"]["automargin"] = True
    made["xaxis"]["title"] = {"text": "seconds, import excluded", "standoff": 6}
    made["yaxis"] = {"range": [len(lines) - 0.5, -0.5], "visible": False, "fixedrange": True}
    return made
