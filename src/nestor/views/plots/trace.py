"""Marginal densities and traces, from the population down to the last level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nestor.views.plots.canvas import (
    INK,
    MUTED,
    PANEL,
    Heading,
    Pen,
    Picture,
    describe,
    look,
    new_picture,
    note_not_finite,
    number_axis,
    pen_handles,
    pens,
)
from nestor.views.plots.draws import (
    Entry,
    check_draws,
    density,
    divergent,
    entries,
    finite_mean,
    not_finite,
    spread_evenly,
    unmixed,
    values,
)
from nestor.views.plots.text import label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from nestor.data.problem import Problem

type Floats = NDArray[np.float64]

MAX_CURVES = 40
MAX_POINTS = 500

# Inches. Places are computed: matplotlib's solver of layouts takes many seconds for so many panels.
_LEFT, _BETWEEN, _TRACE_GAP, _RIGHT = 0.2, 0.75, 0.12, 0.2
_PANEL, _ROW_GAP, _TOP, _BOTTOM = 0.92, 0.52, 0.45, 0.5
_DENSITY_WIDTH = 3.7
_TRACE_WIDTH = {1: 5.0, 2: 3.4, 3: 2.8}
_NARROW_TRACE = 2.3
_MAX_HEIGHT = 400.0  # at 130 dots per inch below the 65,536 pixels that matplotlib can draw


def trace(problem: Problem, trees: Mapping[str, xr.DataTree]) -> Picture:
    """See `nestor.views.plots.plot_trace`."""
    check_draws(problem, trees)
    shown = list(entries(problem))
    with look():
        looks = pens(trees)
        lines = [describe(problem), note_not_finite(not_finite(problem, trees))]
        heading = Heading("Posterior densities and traces", lines, _handles(trees, looks))
        sheet = _Sheet.of(heading, rows=len(shown), engines=len(trees))
        heading.draw(sheet.picture)
        for i, entry in enumerate(shown):
            axes = sheet.row(i)
            draws = {engine: values(tree, entry) for engine, tree in trees.items()}
            _densities(axes[0], entry, draws, looks)
            _traces(axes[1:], problem, entry, draws, looks)
            for axis, tree in zip(axes[1:], trees.values(), strict=True):
                _mark_divergences(axis, divergent(tree))
            last = i == len(shown) - 1
            _label_traces(axes[1:], looks if i == 0 else {}, last=last)
    return sheet.picture


@dataclass(frozen=True)
class _Sheet:
    """The figure, and where the rows of its panels go; all in inches."""

    picture: Picture
    engines: int
    first: float  # from the top edge to the first row
    shrink: float

    @classmethod
    def of(cls, heading: Heading, *, rows: int, engines: int) -> _Sheet:
        wide = _TRACE_WIDTH.get(engines, _NARROW_TRACE)
        width = _LEFT + _DENSITY_WIDTH + _BETWEEN + engines * (wide + _TRACE_GAP) + _RIGHT
        first = heading.height(width) + _TOP
        panels = rows * (_PANEL + _ROW_GAP) - _ROW_GAP
        shrink = min(1.0, _MAX_HEIGHT / panels)
        height = first + panels * shrink + _BOTTOM
        return cls(new_picture(width, height), engines, first, shrink)

    def row(self, i: int) -> list[Any]:
        """Make the panels of row `i`: density first, then a trace per engine with one shared scale."""
        width, height = self.picture.get_size_inches()
        tall = _PANEL * self.shrink
        bottom = height - self.first - i * (_PANEL + _ROW_GAP) * self.shrink - tall
        wide = _TRACE_WIDTH.get(self.engines, _NARROW_TRACE)
        start = _LEFT + _DENSITY_WIDTH + _BETWEEN
        boxes = [(_LEFT, _DENSITY_WIDTH)]
        boxes += [(start + k * (wide + _TRACE_GAP), wide) for k in range(self.engines)]
        axes: list[Any] = []
        for left, across in boxes:
            place = (left / width, bottom / height, across / width, tall / height)
            axes.append(self.picture.add_axes(place, sharey=axes[1] if len(axes) > 1 else None))
        return axes


def _handles(trees: Mapping[str, xr.DataTree], looks: Mapping[str, Pen]) -> list[Any]:
    handles = pen_handles(looks, marker=False)
    if any(divergent(tree).any() for tree in trees.values()):
        handles.append(Line2D([], [], color=INK, marker="|", ls="", ms=7, label="divergence"))
    return handles


def _densities(
    axis: Any, entry: Entry, draws: Mapping[str, Floats], looks: Mapping[str, Pen]
) -> None:
    """Draw one curve per engine, or one per engine and node."""
    alone = entry.nodes is None
    chosen = spread_evenly(finite_mean(next(iter(draws.values()))), MAX_CURVES)
    peaks = [
        _curves(axis, [array[..., i] for i in chosen], looks[engine], alone=alone)
        for engine, array in draws.items()
    ]
    axis.set_title(_title(entry, len(chosen)), loc="left", size=PANEL, weight="bold", pad=4)
    axis.set_ylim(0, 1.06 * max(peaks) or 1.0)
    axis.set_xlim(*_middle([array[..., chosen] for array in draws.values()]))
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    number_axis(axis.xaxis, 6)


def _title(entry: Entry, shown: int) -> str:
    name = label(entry.name, 34)
    if entry.nodes is None:
        return name
    total = len(entry.nodes)
    if shown < total:
        return f"{name}   {shown} of {total:,} nodes"
    return f"{name}   {total:,} node{'s' if total != 1 else ''}"


def _curves(axis: Any, draws: Sequence[Floats], pen: Pen, *, alone: bool) -> float:
    """Draw the densities of some scalars; return the height of the highest."""
    style: dict[str, Any] = {"color": pen.colour, "ls": pen.line}
    style |= {"lw": 1.6} if alone else {"lw": 0.9, "alpha": 0.65}
    curves = []
    for array in draws:
        if (found := density(array, alone=alone)) is not None:
            curves.append(np.column_stack(found))
        elif len(equal := array[np.isfinite(array)]):  # all mass at one point
            axis.axvline(float(equal[0]), **style)
    axis.add_collection(LineCollection(curves, **style))
    if alone:
        for curve in curves:
            axis.fill_between(*curve.T, color=pen.colour, alpha=0.08, lw=0)
    return max((float(curve[:, 1].max()) for curve in curves), default=0.0)


def _middle(draws: Sequence[Floats]) -> tuple[float, float]:
    """Limits that hold all but the outermost 0.1% of draws: one far draw must not flatten the rest."""
    flat = np.concatenate([array.ravel() for array in draws])
    finite = flat[np.isfinite(flat)]
    if not len(finite):
        return 0.0, 1.0
    low, high = np.quantile(finite, (0.001, 0.999))
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return float(low - pad), float(high + pad)


def _traces(
    axes: Sequence[Any],
    problem: Problem,
    entry: Entry,
    draws: Mapping[str, Floats],
    looks: Mapping[str, Pen],
) -> None:
    """Draw the chains of a scalar, or of the node whose chains differ most."""
    node = 0
    if entry.nodes is not None:
        node = int(np.max([unmixed(array) for array in draws.values()], axis=0).argmax())
        path = problem.coords[entry.dims[0]][int(entry.nodes[node])]
        words = f"chains of {label(path, 52)}"
        axes[0].set_title(words, loc="left", size=PANEL, color=MUTED, pad=4)
    for axis, (engine, array) in zip(axes, draws.items(), strict=True):
        lines = _thinned(array[..., node])
        collection = LineCollection(
            lines, colors=looks[engine].shades(len(lines)), linewidths=0.55, alpha=0.85
        )
        axis.add_collection(collection)
        axis.set_xlim(0, max(1, array.shape[1] - 1))
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    _set_heights(axes[0], [array[..., node] for array in draws.values()])


def _thinned(chains: Floats) -> list[Floats]:
    """Take every so many draws of each chain, (chain, draw), as points (n, 2); gaps where not finite."""
    step = -(-chains.shape[1] // MAX_POINTS)
    places = np.arange(0, chains.shape[1], step)
    kept = chains[:, ::step]
    kept = np.where(np.isfinite(kept), kept, np.nan)
    return [np.column_stack([places, chain]) for chain in kept]


def _set_heights(axis: Any, draws: Sequence[Floats]) -> None:
    flat = np.concatenate([array.ravel() for array in draws])
    finite = flat[np.isfinite(flat)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    axis.set_ylim(low - 1.5 * pad, high + pad)
    number_axis(axis.yaxis, 4)


def _mark_divergences(axis: Any, diverging: NDArray[np.bool_]) -> None:
    if diverging.any():
        places = np.flatnonzero(diverging.any(axis=0))
        axis.plot(
            places,
            np.full(len(places), 0.03),
            transform=axis.get_xaxis_transform(),
            color=INK,
            marker="|",
            ls="",
            ms=5,
            mew=0.7,
            clip_on=False,
        )


def _label_traces(axes: Sequence[Any], names: Mapping[str, Pen], *, last: bool) -> None:
    """Write scales on the outer panels alone, and `names` above the columns if there are any."""
    for k, axis in enumerate(axes):
        axis.tick_params(labelbottom=last, labelleft=k == 0, left=k == 0)
        if last:
            axis.set_xlabel("draw")
    wide = _TRACE_WIDTH.get(len(axes), _NARROW_TRACE)
    for axis, (name, pen) in zip(axes, names.items(), strict=False):
        axis.annotate(
            label(name, int(wide * 11)),
            (0, 1),
            (0, 20),
            xycoords="axes fraction",
            textcoords="offset points",
            color=pen.colour,
            size=PANEL + 1,
            weight="bold",
        )
