"""Curves over size with their growth exponents, and over chains or cores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D

from nestor.bench.bootstrap import MedianInterval
from nestor.views.format import COLD, count, exponent
from nestor.views.plots.bench_axis import (
    TrackTable,
    error_bar,
    label_sizes,
    legend_below,
    plain_log,
    shows_speed,
)
from nestor.views.plots.canvas import MUTED, PANEL, Heading, Picture, look, new_picture, pen_handles
from nestor.views.plots.text import label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nestor.bench.crossover import Crossover
    from nestor.bench.groups import GroupSummary
    from nestor.bench.growth import Growth
    from nestor.views.plots.canvas import Pen

_PANEL = (4.8, 3.1)  # inches
_LEAST_SPAN = 12.0  # of an axis: from its lower to its upper end
#: Metric, title and unit of each panel, and by what a figure is divided.
_COSTS = (
    ("time_to_ess_s", f"Time to the target, {COLD}", "seconds", 1.0),
    ("sampling_s_per_gradient", "Sampling, per gradient", "seconds", 1.0),
    ("compile_s", f"Compile, {COLD}", "seconds", 1.0),
    ("peak_bytes", "Peak memory of the host", "MB", 1e6),
)
_RATES = (
    ("ess_per_s_sampling", "ESS per second of sampling"),
    ("ess_per_s", "ESS per second of warmup and sampling"),
)


def growth_curves(
    table: TrackTable, fits: Sequence[Growth], crossings: Sequence[Crossover]
) -> Picture:
    """Draw what grows with size on logarithmic axes, each curve with its exponent and 95% interval.

    Parameters
    ----------
    table : TrackTable
        One track; groups without a size are left out.
    fits : sequence of Growth
        Exponents of its contenders.
    crossings : sequence of Crossover
        Where CPU and GPU cross, of its contenders.
    """
    sweep = next(one.key.sweep for one in table.members if one.key.sweep)
    with look():
        heading = Heading(
            f"What grows with {sweep}",
            table.lines(
                (),
                f"{_medians(table, [metric for metric, *_ in _COSTS])}; open markers: the target is not "
                "reached by then.",
                f"Dotted: a power of {sweep}, whose exponent and its interval stand below each panel.",
                _not_drawn(table),
            ),
            pen_handles(_drawn(table), marker=True),
        )
        width = 2 * _PANEL[0]
        top = heading.height(width)
        picture = new_picture(width, top + 2 * (_PANEL[1] + 0.2), panels_below=top)
        heading.draw(picture)
        axes = picture.subplots(2, 2)
        for axis, cost in zip(axes.ravel(), _COSTS, strict=True):
            _cost_panel(axis, table, cost, [one for one in fits if one.metric == cost[0]])
            axis.set_xlabel(label(sweep))
        for one in crossings:
            if one.metric == "time_to_ess_s" and one.size is not None:
                _mark(axes[0, 0], one.size, sweep)
    return picture


def _drawn(table: TrackTable) -> dict[str, Pen]:
    """Pens of the contenders that have a curve."""
    names = dict.fromkeys(one.key.contender for one in table.members if shows_speed(one))
    return {name: table.looks[name] for name in names}


def _not_drawn(table: TrackTable) -> str:
    """Say which contenders have points left out for they disagree."""
    wrong = dict.fromkeys(o.key.contender for o in table.members if o.verdict == "DISAGREE")
    return f"Left out where they disagree: {', '.join(wrong)}." if wrong else ""


def _medians(table: TrackTable, metrics: Sequence[str]) -> str:
    """What points are, and whiskers if any have some."""
    points = [_estimate(o, metric) for o in table.members if shows_speed(o) for metric in metrics]
    whiskers = any(one.value and error_bar(one, one.value) for one in points)
    return f"Medians{' and 95% intervals' if whiskers else ''}"


def _cost_panel(
    axis: Any, table: TrackTable, cost: tuple[str, str, str, float], fits: Sequence[Growth]
) -> None:
    metric, title, unit, divisor = cost
    for name, members in _curves(table).items():
        pen = table.looks[members[0].key.contender]
        points = [
            (one.key.sweep_value or 0.0, _scaled(_estimate(one, metric), divisor))
            for one in members
            if shows_speed(one)
        ]
        _curve(axis, points, pen, name)
    for fit in fits:
        x = [fit.sizes[0], fit.sizes[-1]]
        y = [fit.at(size) / divisor for size in x]
        axis.plot(x, y, color=table.looks[fit.contender].colour, lw=0.8, ls=(0, (1, 2)))
    _log_log(axis)
    label_sizes(axis.xaxis, [one.key.sweep_value for one in table.members if one.key.sweep_value])
    axis.set_title(title, loc="left", size=PANEL + 0.5, weight="bold")
    axis.set_ylabel(unit)
    legend_below(axis, [_exponent(fit, table.looks[fit.contender]) for fit in fits], 2)


def _exponent(fit: Growth, pen: Pen) -> Line2D:
    low, high = exponent(fit.low), exponent(fit.high)
    text = f"{exponent(fit.exponent)} ({low} to {high})"
    return Line2D([], [], color=pen.colour, ls="-", marker=pen.marker, ms=4, lw=1.4, label=text)


def _mark(axis: Any, size: float, sweep: str) -> None:
    axis.axvline(size, color=MUTED, lw=0.8, ls=(0, (4, 2)), zorder=0)
    words = f"GPU quicker from\n{label(sweep)} = {count(float(f'{size:.2g}'))}"
    axis.annotate(
        words,
        (size, 0),
        (3, 4),
        xycoords=axis.get_xaxis_transform(),
        textcoords="offset points",
        size=PANEL - 1,
        color=MUTED,
    )


def rate_curves(table: TrackTable, over: str) -> Picture:
    """Draw effective draws per second over chains or cores, beside what perfect scaling would give."""
    with look():
        heading = Heading(
            f"Effective draws per second over {over}",
            table.lines(
                (),
                f"{_medians(table, [metric for metric, _ in _RATES])}. Dotted: in proportion to {over}, "
                "from the first on.",
                _not_drawn(table),
            ),
            pen_handles(_drawn(table), marker=True),
        )
        width = 2 * _PANEL[0]
        top = heading.height(width)
        picture = new_picture(width, top + _PANEL[1], panels_below=top)
        heading.draw(picture)
        for axis, (metric, title) in zip(picture.subplots(1, 2, sharey=True), _RATES, strict=True):
            _rate_panel(axis, table, over, metric)
            axis.set_title(title, loc="left", size=PANEL + 0.5, weight="bold")
            axis.set_xlabel(over)
    return picture


def _rate_panel(axis: Any, table: TrackTable, over: str, metric: str) -> None:
    counts, ideals = set(), []
    for name, members in _curves(table, over).items():
        points = sorted(
            (float(getattr(one.key, over)), one.estimates[metric])
            for one in members
            if shows_speed(one) and one.estimates[metric].value
        )
        pen = table.looks[members[0].key.contender]
        _curve(axis, points, pen, name)
        counts |= {x for x, _ in points}
        if len(points) > 1:
            (first, start), (last, _) = points[0], points[-1]
            rate = start.value or 0.0
            ideals.append(([first, last], [rate, rate * last / first], pen.colour))
    _log_log(axis)
    axis.autoscale(False)  # what perfect scaling would give may leave the panel
    for x, y, colour in ideals:
        axis.plot(x, y, color=colour, lw=0.8, ls=(0, (1, 2)))
    axis.set_xticks(sorted(counts), [count(x) for x in sorted(counts)])
    axis.minorticks_off()


def _curves(table: TrackTable, over: str = "") -> Mapping[str, list[GroupSummary]]:
    """Groups of each line: those that differ in their size, or in `over`, alone."""
    found: dict[str, list[GroupSummary]] = {}
    for one in table.members:
        if over and getattr(one.key, over) is not None:
            rest = [f"{n} {getattr(one.key, n)}" for n in table.varying if n != over]
            size = [] if one.key.sweep in ("", over) else [f"{one.key.sweep} {one.key.sweep_value}"]
            found.setdefault(", ".join([one.key.contender, *rest, *size]), []).append(one)
        elif not over and one.key.sweep_value:
            found.setdefault(table.name(one), []).append(one)
    return found


def _curve(axis: Any, points: Sequence[tuple[float, MedianInterval]], pen: Pen, name: str) -> None:
    known = [(x, found) for x, found in points if found.value]
    axis.plot(
        [x for x, _ in known],
        [found.value for _, found in known],
        color=pen.colour,
        marker=pen.marker,
        ms=4.5,
        lw=1.4,
        label=name,
    )
    for x, found in known:
        error = error_bar(found, found.value or 0.0)
        if error:
            axis.errorbar(x, found.value, yerr=error, color=pen.colour, lw=1, capsize=2)
    for x, found in points:
        if found.value is None and found.at_least:
            axis.plot(
                x, found.at_least, color=pen.colour, marker=pen.marker, ms=5, mfc="white", ls=""
            )
            axis.annotate(
                "",
                (x, found.at_least),
                (0, 14),
                textcoords="offset points",
                arrowprops={"arrowstyle": "<-", "color": pen.colour, "shrinkA": 0, "shrinkB": 3},
            )


def _estimate(one: GroupSummary, metric: str) -> MedianInterval:
    if metric != "sampling_s_per_gradient":
        return one.estimates[metric]
    rate = one.estimates["gradients_per_s"]
    value, low, high = (1 / x if x else None for x in (rate.value, rate.high, rate.low))
    return MedianInterval(value, low, high, rate.n, rate.n_censored, None)


def _scaled(found: MedianInterval, divisor: float) -> MedianInterval:
    ends = (found.value, found.low, found.high)
    value, low, high = (None if x is None else x / divisor for x in ends)
    at_least = None if found.at_least is None else found.at_least / divisor
    return MedianInterval(value, low, high, found.n, found.n_censored, at_least)


def _log_log(axis: Any) -> None:
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.margins(0.08, 0.12)
    if not any(len(line.get_xdata()) for line in axis.lines):
        axis.set_yticks([])
        axis.text(0.5, 0.5, "not known", transform=axis.transAxes, ha="center", color=MUTED)
        return
    low, high = axis.get_ylim()
    # What hardly changes looks flat, and there is a tick to read.
    widen = max(1.0, (_LEAST_SPAN * low / high) ** 0.5)
    axis.set_ylim(low / widen, high * widen)
    for one, (least, most) in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        plain_log(one, decades=math.log10(most / least))
    axis.grid()
