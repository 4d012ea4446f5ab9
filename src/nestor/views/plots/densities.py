"""Log densities beside the reference's, engine by engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator

from nestor.errors import DataError
from nestor.views.format import columns
from nestor.views.plots.canvas import FAINT, INK, MUTED, PANEL, Heading, Picture, look, new_picture
from nestor.views.plots.text import label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.agreement.density import DensityCheck

SAME, WRONG = "#0072B2", "#D55E00"
_ROW = 0.5  # inches
_LOWEST = 1e-18  # where differences of zero stand: below what float64 can tell apart from zero
_ENDS = 6.0  # factor that the places for zero and for what is not finite take


def densities(checks: Sequence[DensityCheck]) -> Picture:
    """See `nestor.views.plots.plot_densities`."""
    if not checks:
        raise DataError("there are no log densities to picture.")
    with look():
        heading = Heading(
            "Log densities against the reference",
            ["Relative difference |engine - reference| / max(1, |reference|), one dot per point."],
            _handles(),
        )
        names = max(columns(label(check.contender)) for check in checks) * 0.075
        width = 6.9 + names
        top = heading.height(width)
        picture = new_picture(width, top + 0.75 + _ROW * len(checks), panels_below=top)
        heading.draw(picture)
        axis = picture.subplots()
        low, high = _limits(checks)
        axis.set_xscale("log")
        axis.set_xlim(low, high)
        for i, check in enumerate(checks):
            _row(axis, i, check, low, high)
        axis.set_yticks(
            range(len(checks)), [label(check.contender) for check in checks], size=PANEL
        )
        axis.set_ylim(len(checks) - 0.5, -0.5)
        _write_scale(axis, low, high)
    return picture


def _limits(checks: Sequence[DensityCheck]) -> tuple[float, float]:
    every = np.concatenate([check.differences for check in checks])
    known = every[(every > 0) & np.isfinite(every)]
    return _LOWEST, 100 * max([*(check.tolerance for check in checks), *known.tolist()])


def _row(axis: Any, i: int, check: DensityCheck, low: float, high: float) -> None:
    found = check.differences
    wrong = found > check.tolerance
    places = np.clip(found, low * _ENDS**0.5, high / _ENDS**0.5)
    # Golden-ratio steps spread the dots of a row evenly, the same way each time.
    jitter = i + 0.5 * ((np.arange(found.size) * 0.618034) % 1.0 - 0.5)
    for mask, colour, marker in ((~wrong, SAME, "o"), (wrong, WRONG, "D")):
        axis.plot(
            places[mask], jitter[mask], ls="", marker=marker, ms=4, color=colour, alpha=0.55, mew=0
        )
    axis.vlines(check.tolerance, i - 0.42, i + 0.42, color=INK, lw=1.6)
    axis.annotate(
        _summary(check),
        (1, i),
        (8, 0),
        xycoords=axis.get_yaxis_transform(),
        textcoords="offset points",
        va="center",
        color=MUTED if check.same else WRONG,
        size=PANEL - 0.5,
    )


def _summary(check: DensityCheck) -> str:
    n = len(check.reference)
    if check.same:
        return f"same at all {n} points\nlargest {_number(check.largest)}"
    wrong = int((check.differences > check.tolerance).sum())
    return f"differs at {wrong} of {n} points\nlargest {_number(check.largest)}"


def _number(value: float) -> str:
    if value == 0.0:
        return "difference 0"
    return f"{value:.1e}".replace("e-0", "e-") if np.isfinite(value) else "not finite"


def _power(value: float) -> str:
    return f"{value:g}" if 1e-3 < value < 1e4 else f"{value:.0e}".replace("e-0", "e-")


def _write_scale(axis: Any, low: float, high: float) -> None:
    ticks = [
        t for t in LogLocator(numticks=9).tick_values(low, high) if low * _ENDS < t < high / _ENDS
    ]
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_major_formatter(lambda value, _: _power(value))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.axvspan(low, low * _ENDS, color=FAINT, lw=0, zorder=0)
    axis.axvspan(high / _ENDS, high, color=FAINT, lw=0, zorder=0)
    ends = (low * _ENDS**0.5, "none"), (high / _ENDS**0.5, "not\nfinite")
    for at, words in ends:
        axis.annotate(
            words,
            (at, 1),
            (0, 3),
            xycoords=axis.get_xaxis_transform(),
            textcoords="offset points",
            ha="center",
            color=MUTED,
            size=PANEL - 1.5,
            annotation_clip=False,
        )
    axis.grid(axis="x")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("relative difference (logarithmic scale)")


def _handles() -> list[Any]:
    return [
        Line2D([], [], ls="", marker="o", ms=5, color=SAME, label="within the tolerance"),
        Line2D([], [], ls="", marker="D", ms=5, color=WRONG, label="beyond it"),
        Line2D([], [], ls="", marker="|", ms=11, mew=1.6, color=INK, label="tolerance"),
    ]
