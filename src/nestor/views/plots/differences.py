"""Differences of means and sds against the margin, by group."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator

from nestor.agreement.difference import check_pair
from nestor.agreement.tost import tost_statistics
from nestor.errors import DataError
from nestor.views.format import columns, one_line, shorten
from nestor.views.plots.canvas import (
    INK,
    MUTED,
    PANEL,
    Heading,
    Picture,
    look,
    new_picture,
    number_axis,
    tint,
)
from nestor.views.plots.text import label, literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nestor.stats.arrays import FloatArray, IntArray
    from nestor.stats.diagnostics.summaries import Summaries


SHOWN, OPEN, OUTSIDE = "#0072B2", "#E69F00", "#D55E00"
_MARGIN = "#e8f0e8"
Z90 = 1.6448536269514722  # normal quantile of 0.95: an interval of 90%
_ROW, _PANEL_WIDTH = 0.19, 3.4  # inches
FEW = 12  # scalars of a group that are all named
_NAMED = 3  # of a larger one
_CURVE_ROWS = 6.0  # height of a larger group's curve, in rows
_LABEL = 60
_WIDEST = 5.0  # margins that an axis may extend to either side


@dataclass(frozen=True, eq=False)
class Measured:
    """Differences, their 90% half-widths and the margin, of one panel.

    `at`, `half` and `state` (scalar,): state 0 shown inside the margin, 1 open, 2 estimated outside;
    -1 where there is no number. `edge` is the margin on the axis.
    """

    at: FloatArray
    half: FloatArray
    edge: float
    state: NDArray[np.int8]

    @property
    def reach(self) -> FloatArray:
        """How far the interval reaches, in margins; infinity where there is no number."""
        reach: FloatArray = (np.abs(self.at) + self.half) / self.edge
        return np.where(self.state < 0, np.inf, reach)


def differences(
    names: tuple[str, str],
    a: Summaries,
    b: Summaries,
    labels: Sequence[str],
    groups: Sequence[str],
    margins: tuple[float, float],
    verdict: str,
) -> Picture:
    """See `nestor.views.plots.plot_differences`."""
    check_pair(a, b, labels)
    if not labels or len(groups) != len(labels):
        raise DataError(f"cannot picture {len(labels)} scalars with {len(groups)} groups.")
    means, sds = measured(a, b, margins)
    rows = Rows.of(labels, groups, np.maximum(means.reach, sds.reach), means.state)
    with look():
        heading = _heading(names, means, sds, len(labels), verdict)
        wide = max(columns(text) for _, text, _ in rows.texts) * 0.068 + 0.4
        width = max(7.0, wide + 2 * _PANEL_WIDTH)
        top = heading.height(width)
        height = top + 0.95 + max(1.0, _ROW * rows.end)
        picture = new_picture(width, height, panels_below=top)
        heading.draw(picture)
        axes = picture.subplots(1, 2, sharey=True)
        for axis, panel in zip(axes, (means, sds), strict=True):
            _panel(axis, panel, rows)
        _write(axes, rows, (means, sds))
    return picture


def measured(a: Summaries, b: Summaries, margins: tuple[float, float]) -> tuple[Measured, Measured]:
    """Standardized differences of means, and logarithms of the ratios of sds."""
    found = tost_statistics(a, b, *margins)
    edge = float(np.log1p(margins[1]))
    with np.errstate(all="ignore"):
        log_error = 2 * edge / found.width[1]
        log_ratio = np.log1p(found.size[1])
    return (
        _measured(found.size[0], Z90 * found.mean_error, margins[0]),
        _measured(log_ratio, Z90 * log_error, edge),
    )


def _measured(at: FloatArray, half: FloatArray, edge: float) -> Measured:
    state = np.where(np.abs(at) > edge, 2, np.where(np.abs(at) + half <= edge, 0, 1))
    known = np.isfinite(at) & np.isfinite(half)
    return Measured(at, half, edge, np.where(known, state, -1).astype(np.int8))


def _heading(
    names: tuple[str, str], means: Measured, sds: Measured, n: int, verdict: str
) -> Heading:
    a, b = (shorten(one_line(name), 30) for name in names)
    both = np.maximum(means.state, sds.state)
    unknown = (means.state < 0) | (sds.state < 0)
    shown = int(((both == 0) & ~unknown).sum())
    outside = int(((both == 2) & ~unknown).sum())
    counts = f"{shown:,} of {n:,} scalars are shown to be inside the margin"
    if outside:
        counts += f"; outside as estimated: {outside:,}"
    n_unknown = int(unknown.sum())
    missing = (
        f"{n_unknown:,} cannot be compared: without a spread or an error." if n_unknown else ""
    )
    handles = [
        _handle(SHOWN, "shown inside the margin"),
        _handle(OPEN, "not shown"),
        _handle(OUTSIDE, "estimated outside"),
        Patch(color=_MARGIN, label="margin"),
    ]
    words = f"{one_line(verdict)}: {counts}" if verdict else counts
    lines = [f"{a} less {b}, with 90% intervals.", f"{words}.", missing]
    return Heading("Differences of means and standard deviations", lines, handles)


def _handle(colour: str, text: str) -> Line2D:
    return Line2D([], [], color=colour, marker="o", ms=5, lw=1.4, label=text)


def _panel(axis: Any, panel: Measured, rows: Rows) -> None:
    limit = _limit(panel)
    axis.axvspan(-panel.edge, panel.edge, color=_MARGIN, lw=0, zorder=0)
    axis.axvline(0, color=MUTED, lw=0.6, zorder=1)
    for members, first, last in rows.curves:
        _curve(axis, panel, members, first, last, limit)
    _points(axis, panel, rows.named, rows.places, limit, size=4.2, width=1.3, paler=0.0)
    _note_unknown(axis, panel, rows)
    axis.set_xlim(-limit, limit)


def _limit(panel: Measured) -> float:
    known = panel.reach[np.isfinite(panel.reach)]
    return panel.edge * float(np.clip(1.08 * known.max(initial=0.0), 1.5, _WIDEST))


def _curve(
    axis: Any, panel: Measured, members: IntArray, first: float, last: float, limit: float
) -> None:
    """Draw a group's scalars sorted by their difference, largest at the top."""
    known = members[panel.state[members] >= 0]
    if not known.size:
        return
    ordered = known[np.argsort(-panel.at[known], kind="stable")]
    places = np.linspace(first, last, ordered.size) if ordered.size > 1 else np.array([first])
    size = 2.6 if ordered.size < 300 else 1.6
    _points(axis, panel, ordered, places, limit, size=size, width=0.8, paler=0.65)


def _points(
    axis: Any,
    panel: Measured,
    which: IntArray,
    places: FloatArray,
    limit: float,
    *,
    size: float,
    width: float,
    paler: float,
) -> None:
    """Draw differences and their intervals; what lies beyond the axis is an arrow at its end."""
    state, at, half = panel.state[which], panel.at[which], panel.half[which]
    for code, colour in enumerate((SHOWN, OPEN, OUTSIDE)):
        mine = state == code
        x, y = at[mine], places[mine]
        shade = tint(colour, paler)
        axis.hlines(y, x - half[mine], x + half[mine], color=shade, lw=width, zorder=2)
        near = np.abs(x) <= limit
        style = {"ls": "", "color": colour, "mew": 0, "zorder": 3 + code}
        axis.plot(x[near], y[near], marker="o", ms=max(size, 3.2) if code == 2 else size, **style)
        for beyond, marker in ((x > limit, ">"), (x < -limit, "<")):
            if not beyond.any():  # an empty line that is not clipped spoils the layout
                continue
            edge = np.full(int(beyond.sum()), limit if marker == ">" else -limit)
            axis.plot(edge, y[beyond], marker=marker, ms=size + 2, clip_on=False, **style)


def _note_unknown(axis: Any, panel: Measured, rows: Rows) -> None:
    for i, at in zip(rows.named.tolist(), rows.places.tolist(), strict=True):
        if panel.state[i] < 0:
            axis.text(
                0.02,
                at,
                "cannot be compared",
                transform=axis.get_yaxis_transform(),
                va="center",
                color=MUTED,
                style="italic",
                size=PANEL - 1.0,
            )


def _write(axes: Sequence[Any], rows: Rows, panels: tuple[Measured, Measured]) -> None:
    places, texts, titles = zip(*rows.texts, strict=True)
    axes[0].set_yticks(places, texts)
    for text, is_title in zip(axes[0].get_yticklabels(), titles, strict=True):
        text.set(**({"weight": "bold", "color": INK} if is_title else {"color": MUTED}))
    axes[0].set_ylim(rows.end - 0.5, -0.8)
    for axis, title in zip(axes, ("Means", "Standard deviations"), strict=True):
        axis.set_title(title, loc="left", size=PANEL + 0.5, weight="bold")
        axis.grid(axis="x")
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    number_axis(axes[0].xaxis, 5)
    axes[0].set_xlabel("difference of means (posterior sd)")
    _write_ratios(axes[1], panels[1])
    axes[1].set_xlabel("ratio of sds (logarithmic scale)")


def _write_ratios(axis: Any, panel: Measured) -> None:
    ratio = np.exp(panel.edge)
    limit = _limit(panel)
    steps = (
        [1.0, ratio]
        if limit < 2.5 * panel.edge
        else [1.0, ratio, ratio ** round(0.8 * limit / panel.edge)]
    )
    ticks = sorted({sign * float(np.log(step)) for step in steps for sign in (-1.0, 1.0)})
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_major_formatter(lambda value, _: f"{np.exp(value):.2f}")


@dataclass(frozen=True, eq=False)
class Rows:
    """What stands where, counted in rows from the top.

    `named` are the scalars with a row of their own, at `places`; `curves` the larger groups: their
    scalars with first and last row; `texts` places, texts and whether they are a group's name.
    """

    named: IntArray
    places: FloatArray
    curves: Sequence[tuple[IntArray, float, float]]
    texts: Sequence[tuple[float, str, bool]]
    end: float

    @classmethod
    def of(
        cls,
        labels: Sequence[str],
        groups: Sequence[str],
        reach: FloatArray,
        state: NDArray[np.int8],
    ) -> Rows:
        """Lay out groups in the order of their first scalar; `reach` and `state` (scalar,)."""
        named: list[int] = []
        places: list[float] = []
        curves: list[tuple[IntArray, float, float]] = []
        texts: list[tuple[float, str, bool]] = []
        row = 0.0
        codes = np.array(groups, dtype=object)
        for group in dict.fromkeys(groups):
            members = np.flatnonzero(codes == group)
            few = members.size <= FEW
            title = label(group, _LABEL)
            texts.append((row, title if few else f"{title}: {members.size:,} scalars", True))
            row += 1
            own = members
            if not few:
                curves.append((members, row - 0.3, row + _CURVE_ROWS - 0.7))
                row += _CURVE_ROWS
                known = members[state[members] >= 0]
                own = known[np.argsort(-reach[known], kind="stable")[:_NAMED]]
            words = distinct([labels[i] for i in own.tolist()], _LABEL)
            for i, text in zip(own.tolist(), words, strict=True):
                named.append(i)
                places.append(row)
                texts.append((row, text, False))
                row += 1
            row += 0.5
        return cls(np.array(named, dtype=np.intp), np.array(places), curves, texts, row)


def distinct(texts: Sequence[str], width: int) -> list[str]:
    """Cut texts to a width; where that makes them equal, in what they all begin and end with."""
    plain = [one_line(text) for text in texts]
    short = [shorten(text, width) for text in plain]
    if len(set(short)) < len(set(plain)):
        head = _common_start(plain)
        rests = [text[len(head) :] for text in plain]
        tail = _common_start([rest[::-1] for rest in rests])[::-1]
        cores = [rest.removesuffix(tail) for rest in rests]
        room = max(8, (width - max(columns(core) for core in cores)) // 2)
        short = [
            shorten(
                shorten(head, room) + core + shorten(tail, room), max(width, 16 + columns(core))
            )
            for core in cores
        ]
    return [literal(text) for text in short]


def _common_start(texts: Sequence[str]) -> str:
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in same)
