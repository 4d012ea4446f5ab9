"""Where the seconds went: phases of a run, with empty caches and with filled ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nestor.views.format import BENCH_PHASES, COLD, REST, WARM, duration
from nestor.views.report.bars import name_height, name_rows, title, why_none
from nestor.views.report.figure import beside, both, layout, legend_height, plotly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.views.report.groups import GroupRow

_BAR, _GAP = 17, 10
_CACHES = (COLD, WARM)


def phases(lines: Sequence[GroupRow]) -> tuple[list[Any], dict[str, Any]] | None:
    """Return traces and layout of the stacked medians of each phase; None where none was measured."""
    bars = [
        (i, k, line, _pieces(line, warm=bool(k))) for i, line in enumerate(lines) for k in (0, 1)
    ]
    drawn = [bar for bar in bars if bar[3]]
    return both(lambda narrow: _phases(lines, drawn, narrow=narrow)) if drawn else None


def _phases(
    lines: Sequence[GroupRow],
    drawn: Sequence[tuple[int, int, GroupRow, dict[str, float]]],
    *,
    narrow: bool,
) -> tuple[list[Any], dict[str, Any]]:
    titles = [title(line, narrow=narrow) for line in lines]
    above = name_height(titles)
    height = above + 2 * _BAR + _GAP

    def at(i: int, k: int) -> float:
        """Where bar k of row i lies."""
        return i - 0.5 + (above + _BAR * (k + 0.5)) / height

    traces = []
    for phase, (name, colour) in {**BENCH_PHASES, "rest": (REST, "#BBBBBB")}.items():
        own = [(i, k, line, pieces[phase]) for i, k, line, pieces in drawn if phase in pieces]
        if any(seconds for *_, seconds in own):
            places = [at(i, k) for i, k, *_ in own]
            traces.append(_trace(name, colour, own, places, (_BAR - 3) / height))
    totals = [(at(i, k), sum(pieces.values())) for i, k, _, pieces in drawn]
    shown = [trace.name for trace in traces]
    traces.append(_totals(totals))
    made = layout(height * len(lines) + 44 + legend_height(shown), barmode="stack", dragmode=False)
    there = {i for i, *_ in drawn}
    made["annotations"] = name_rows(titles, above / height) + [
        beside(why_none(line), i - 0.5 + above / height, opacity=0.75)
        for i, line in enumerate(lines)
        if i not in there
    ]
    longest = max(total for _, total in totals)
    made["xaxis"] = {
        "range": [0, (1.5 if narrow else 1.25) * longest or 1.0],
        "fixedrange": True,
        "nticks": 4 if narrow else 6,
        "tickformat": ",",
        "automargin": True,
        "title": {"text": "seconds", "standoff": 6},
    }
    made["yaxis"] = {"range": [len(lines) - 0.5, -0.5], "visible": False, "fixedrange": True}
    return traces, made


def _pieces(line: GroupRow, *, warm: bool) -> dict[str, float]:
    """Median seconds by phase; what the total has beyond them is a piece of its own."""
    if line.speed == "none":
        return {}
    found = {name: line.estimate(name).value for name in BENCH_PHASES}
    if warm:
        found["compile_s"] = line.estimate("warm_compile_s").value
        if found["compile_s"] is None:
            return {}
    pieces = {name: seconds for name, seconds in found.items() if seconds is not None}
    rest = _rest(line)
    return {**pieces, "rest": rest} if rest is not None else pieces


def _rest(line: GroupRow) -> float | None:
    """Seconds of the run that are in no phase, where warmup and sampling were not told apart."""
    if None not in (line.estimate("warmup_s").value, line.estimate("sampling_s").value):
        return None
    total = line.estimate("total_s").value
    if total is None:
        return None
    measured = [line.estimate(name).value or 0.0 for name in BENCH_PHASES]
    return max(0.0, total - sum(measured))


def _trace(
    name: str,
    colour: str,
    own: Sequence[tuple[int, int, GroupRow, float]],
    places: Sequence[float],
    width: float,
) -> Any:
    return plotly().Bar(
        x=[seconds for *_, seconds in own],
        y=places,
        width=width,
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
