"""Bars of the time to the target, and of where that time went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.patches import Patch

from nestor.views.format import BENCH_PHASES, COLD, WARM, columns, count, duration, status_text
from nestor.views.plots.bench_axis import (
    TrackTable,
    bar_axis,
    error_bar,
    legend_below,
    name_rows,
    shows_speed,
    why_nothing,
    write_beside,
    write_note,
)
from nestor.views.plots.canvas import INK, MUTED, PANEL, Heading, Picture, look, new_picture, tint
from nestor.views.plots.text import label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nestor.bench.bootstrap import MedianInterval
    from nestor.bench.groups import GroupSummary

_ROW, _TALL = 0.62, 0.34  # inches of a group, and share of it that a bar takes
_TIMES = {
    "time_to_ess_s": (COLD, 0.0, -0.19),
    "time_to_ess_warm_s": (WARM, 0.55, 0.19),
}


def time_bars(table: TrackTable) -> Picture:
    """Draw the time to the target of each group: medians, intervals, and bounds where it is censored."""
    shown = table.at_largest
    target = next((count(one.target_ess) for one in shown if one.target_ess), "the target of")
    with look():
        picture, axis = _rows(f"Time to {target} effective draws", table, shown, *_captions(shown))
        for i, one in enumerate(shown):
            if shows_speed(one) and any(_end(one.estimates[metric]) for metric in _TIMES):
                for metric, (_, lighter, offset) in _TIMES.items():
                    colour = tint(table.looks[one.key.contender].colour, lighter)
                    _time_bar(axis, i + offset, one, one.estimates[metric], colour)
            else:
                write_note(axis, i, why_nothing(one))
        name_rows(axis, table, shown)
        bar_axis(axis, _drawn(shown), room=0.35)
        axis.set_xlabel("seconds")
        handles = [Patch(color=tint(MUTED, a), label=text) for text, a, _ in _TIMES.values()]
        legend_below(axis, handles)
    return picture


def _captions(shown: Sequence[GroupSummary]) -> list[str]:
    """What is to be known of the bars that are there."""
    bars = [one.estimates[metric] for one in shown if shows_speed(one) for metric in _TIMES]
    whiskers = any(one.value and error_bar(one, one.value) for one in bars)
    hatched = any(one.value is None and one.at_least for one in bars)
    return [
        f"Median of the runs{' and 95% interval' if whiskers else ''}; compile and warmup included.",
        "Hatched: it takes longer, or never gets there." if hatched else "",
    ]


def _drawn(shown: Sequence[GroupSummary]) -> list[float]:
    """All ends of bars and intervals."""
    found = [one.estimates[metric] for one in shown if shows_speed(one) for metric in _TIMES]
    ends = [(_end(one), one.high if one.value else None) for one in found]
    return [value for pair in ends for value in pair if value]


def _end(found: MedianInterval) -> float | None:
    """How far a bar goes; None where neither the median nor a bound is known."""
    return found.value or found.at_least


def _time_bar(
    axis: Any, y: float, one: GroupSummary, found: MedianInterval, colour: object
) -> None:
    if found.value is not None:
        axis.barh(y, found.value, height=_TALL, color=colour)
        error = error_bar(found, found.value)
        if error:
            axis.errorbar(found.value, y, xerr=error, color=INK, lw=1, capsize=2.5)
        bound = "≤ " if one.time_is_bound else ""
        write_beside(axis, y, found.high or found.value, f"{bound}{duration(found.value)}")
        return
    if found.at_least:
        axis.barh(y, found.at_least, height=_TALL, fill=False, ec=colour, hatch="////", lw=1)
        write_beside(axis, y, found.at_least, f"> {duration(found.at_least)}, {_fates(one)}")
    elif found.n:
        write_note(axis, y, _fates(one))


def _fates(one: GroupSummary) -> str:
    return ", ".join(
        f"{n} of {one.n} {status_text(status)}"
        for status, n in one.statuses.items()
        if status != "ok"
    )


def phase_bars(table: TrackTable) -> Picture:
    """Draw the median seconds of each phase, with empty caches above and with an earlier run's below."""
    shown = table.at_largest
    words = f"Medians of runs that came to their end. Upper bars: {COLD}; lower bars: {WARM}."
    with look():
        picture, axis = _rows("Where the time goes", table, shown, words)
        used: dict[str, str] = {}
        longest = 0.0
        for i, one in enumerate(shown):
            for warm, y in ((False, i - 0.19), (True, i + 0.19)):
                pieces = _pieces(one, warm=warm) if shows_speed(one) else {}
                longest = max(longest, _stack(axis, y, pieces))
                used |= {name: colour for name, (_, colour) in pieces.items()}
            if not shows_speed(one) or not _pieces(one, warm=False):
                write_note(axis, i, why_nothing(one))
        name_rows(axis, table, shown)
        bar_axis(axis, [longest], room=0.15)
        axis.set_xlabel("seconds")
        order = [name for name, _ in BENCH_PHASES.values() if name in used]
        legend_below(axis, [Patch(color=used[name], label=name) for name in order])
    return picture


def _pieces(one: GroupSummary, *, warm: bool) -> Mapping[str, tuple[float, str]]:
    """Seconds and colour of each phase; none where a warm compile was not measured."""
    pieces = {}
    for metric, (name, colour) in BENCH_PHASES.items():
        asked = "warm_compile_s" if warm and metric == "compile_s" else metric
        value = one.estimates[asked].value
        if asked == "warm_compile_s" and value is None:
            return {}
        if value:
            pieces[name] = (value, colour)
    return pieces


def _stack(axis: Any, y: float, pieces: Mapping[str, tuple[float, str]]) -> float:
    start = 0.0
    for value, colour in pieces.values():
        axis.barh(y, value, left=start, height=_TALL, color=colour, lw=0)
        start += value
    if start:
        write_beside(axis, y, start, duration(start))
    return start


def _rows(
    title: str, table: TrackTable, shown: Sequence[GroupSummary], *words: str
) -> tuple[Picture, Any]:
    """Return an empty picture with a row for each group, and its one panel."""
    names = max(columns(label(table.name(one), 46)) for one in shown) * 0.075
    width = 6.6 + names
    heading = Heading(title, table.lines(shown, *words), [])
    top = heading.height(width)
    picture = new_picture(width, top + 0.95 + _ROW * len(shown), panels_below=top)
    heading.draw(picture)
    axis = picture.subplots()
    axis.tick_params(labelsize=PANEL - 0.5)
    return picture, axis
