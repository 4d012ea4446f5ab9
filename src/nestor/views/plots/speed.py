"""Effective draws per second, and where the time went."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

from nestor.errors import DataError
from nestor.views.format import PHASES, REST, columns, duration, number, status_text
from nestor.views.plots.canvas import (
    MUTED,
    PANEL,
    Heading,
    Pen,
    Picture,
    look,
    new_picture,
    number_axis,
    pens,
    tint,
)
from nestor.views.plots.text import label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nestor.views.plots import SpeedRow

LOG_FROM = 50.0

_TOGETHER = "warmup_and_sampling_s"
_RATES = {"ess_per_s_sampling": ("sampling alone", 0.0), "ess_per_s_total": ("all in", 0.5)}
_WITH_DRAWS = ("ok", "gates_failed")
_TALL = 0.34  # of a row
_ROW = 0.8  # inches


def speed(rows: Sequence[SpeedRow]) -> Picture:
    """See `nestor.views.plots.plot_speed`."""
    if not rows:
        raise DataError("there are no engines to picture.")
    with look():
        # As in the pictures of draws, where engines without any have no place.
        looks = pens(row.name for row in rows if row.status in _WITH_DRAWS)
        heading = Heading("What each engine costs", [], [])
        names = max(columns(label(row.name)) for row in rows) * 0.075
        width, top = 9.0 + names, heading.height(9.0)
        height = top + 1.6 + _ROW * len(rows)  # axis labels, and two lines of legend
        picture = new_picture(width, height, panels_below=top)
        heading.draw(picture)
        rates, seconds = picture.subplots(1, 2, sharey=True)
        _rates(rates, rows, looks)
        _seconds(seconds, rows)
        rates.set_yticks(range(len(rows)), [label(row.name) for row in rows], size=PANEL)
        for text, row in zip(rates.get_yticklabels(), rows, strict=True):
            text.set(color=looks[row.name].colour if row.name in looks else MUTED, weight="bold")
        rates.set_ylim(len(rows) - 0.45, -0.55)
    return picture


def _known(value: float | None) -> float | None:
    """A number that can be drawn, or None."""
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def _rates(axis: Any, rows: Sequence[SpeedRow], looks: Mapping[str, Pen]) -> None:
    found = {(r.name, k): _known(r.efficiency.get(k)) for r in rows for k in _RATES}
    positive = [value for value in found.values() if value]
    log = bool(positive) and max(positive) > LOG_FROM * min(positive)
    if log:
        axis.set_xscale("log")
        axis.set_xlim(min(positive) / 3, max(positive) * 8)
    else:
        axis.set_xlim(0, 1.25 * max(positive, default=1.0))
    for i, row in enumerate(rows):
        if all(found[row.name, key] is None for key in _RATES):
            _note(axis, i, _why(row) or "no effective draws known")
            continue
        for key, (_, lighter), y in zip(_RATES, _RATES.values(), (i - 0.19, i + 0.19), strict=True):
            value = found[row.name, key]
            colour = looks[row.name].colour if row.name in looks else MUTED
            if value:
                axis.barh(y, value, height=_TALL, color=tint(colour, lighter))
            _value(
                axis,
                y,
                value or (axis.get_xlim()[0]),
                "not known" if value is None else number(value),
            )
        if why := _why(row):
            _note(axis, i + 0.47, why)
    axis.set_title("Effective draws per second", loc="left", size=PANEL + 0.5, weight="bold")
    axis.set_xlabel("smallest ESS per second" + (" (logarithmic scale)" if log else ""))
    handles = [Patch(color=tint(MUTED, a), label=text) for text, a in _RATES.values()]
    _legend(axis, handles)
    _plain(axis, log=log)


def _seconds(axis: Any, rows: Sequence[SpeedRow]) -> None:
    used: dict[str, str] = {}
    longest = 0.0
    for i, row in enumerate(rows):
        pieces = _pieces(row)
        start = 0.0
        for name, (value, colour) in pieces.items():
            hatch = {"hatch": "////", "edgecolor": "#bbbbbb"} if name == REST else {}
            axis.barh(i, value, left=start, height=0.5, color=colour, lw=0, **hatch)
            start += value
            used[name] = colour
        longest = max(longest, start)
        if pieces:
            _value(axis, i, start, _duration(_known(row.timings.get("total_s")), start))
        else:
            _note(axis, i, _why(row) or "no time measured")
    axis.set_xlim(0, 1.2 * longest or 1.0)
    axis.set_title("Where the time went", loc="left", size=PANEL + 0.5, weight="bold")
    axis.set_xlabel("seconds")
    order = [name for name, _ in PHASES.values()] + [REST]
    _legend(axis, [_patch(name, used[name]) for name in order if name in used])
    _plain(axis, log=False)


def _pieces(row: SpeedRow) -> dict[str, tuple[float, str]]:
    """Seconds and colour of each measured phase; what the total has beyond them is not told apart."""
    pieces = {}
    apart = ("warmup_s", "sampling_s")
    known = all(row.timings.get(key) is not None for key in apart)
    twice = (_TOGETHER,) if known or row.timings.get(_TOGETHER) is None else apart
    for key, (name, colour) in PHASES.items():
        if key not in twice and (value := _known(row.timings.get(key))):
            pieces[name] = (value, colour)
    total = _known(row.timings.get("total_s")) or 0.0
    rest = total - sum(value for value, _ in pieces.values())
    if rest > 0.01 * total:
        pieces[REST] = (rest, "#FFFFFF")
    return pieces


def _why(row: SpeedRow) -> str:
    """What became of an engine that is not ok."""
    return "" if row.status == "ok" else status_text(row.status)


def _duration(total: float | None, drawn: float) -> str:
    return duration(total) if total is not None else f"at least {duration(drawn)}"


def _value(axis: Any, y: float, at: float, text: str) -> None:
    axis.annotate(text, (at, y), (4, 0), textcoords="offset points", va="center", size=PANEL - 0.5)


def _note(axis: Any, y: float, text: str) -> None:
    axis.text(
        0.012,
        y,
        text,
        transform=axis.get_yaxis_transform(),
        va="center",
        color=MUTED,
        style="italic",
        size=PANEL - 0.5,
    )


def _patch(name: str, colour: str) -> Patch:
    if name == REST:
        return Patch(facecolor=colour, edgecolor="#bbbbbb", hatch="////", lw=0, label=name)
    return Patch(color=colour, label=name)


def _legend(axis: Any, handles: Sequence[Patch]) -> None:
    """Put a legend half an inch below a panel, whatever the panel's height."""
    if handles:
        half_inch = ScaledTranslation(0, -0.5, axis.figure.dpi_scale_trans)
        axis.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            bbox_transform=axis.transAxes + half_inch,
            ncols=min(4, len(handles)),
            columnspacing=1.0,
            handlelength=1.0,
            borderaxespad=0,
        )


def _plain(axis: Any, *, log: bool) -> None:
    """Plain numbers; on a logarithmic axis too, where matplotlib would write powers of ten."""
    if log:
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        axis.xaxis.set_minor_formatter(lambda *_: "")
    else:
        number_axis(axis.xaxis, 5)
    axis.grid(axis="x")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
