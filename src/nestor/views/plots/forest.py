"""The coefficients of a level's nodes, engines side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from nestor.errors import SpecError
from nestor.model.families import family
from nestor.model.names import INTERCEPT
from nestor.views.format import columns, one_line, shorten
from nestor.views.plots.canvas import (
    FAINT,
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
    entries,
    finite_mean,
    intervals,
    not_finite,
    spread_evenly,
    values,
)
from nestor.views.plots.text import label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from nestor.data.problem import Problem

type Floats = NDArray[np.float64]

MAX_NODES = 60
_LABEL = 40
_PANEL_WIDTH, _CHARACTER = 3.3, 0.068  # inches
_DODGE, _BAND = 0.3, 0.75  # of a row: from one engine to the next, and all of them together
_COLUMNS = 3  # of the population's panels
_PANEL_WIDTH = 3.2


def forest(problem: Problem, trees: Mapping[str, xr.DataTree], level: str) -> Picture:
    """See `nestor.views.plots.plot_forest`."""
    depth = problem.index.depth(level)
    panels = [e for e in entries(problem) if e.variable == f"beta_{level}"]
    if not panels:
        raise SpecError(
            f"no effect varies at level {level!r}: its nodes have their parents' coefficients. "
            "Draw the level above."
        )
    check_draws(problem, trees)
    first = finite_mean(values(next(iter(trees.values())), panels[0]))
    chosen = spread_evenly(first, MAX_NODES)
    rows = _Rows.of(problem, level, chosen)
    with look():
        looks = pens(trees)
        heading = Heading(
            f"{shorten(one_line(level), 40)}: posterior mean, 50% and 90% intervals",
            [
                _selection(len(chosen), len(first), panels[0]),
                describe(problem),
                note_not_finite(not_finite(problem, trees)),
            ],
            [*pen_handles(looks, marker=True), _parent_handle(depth)],
        )
        picture, axes = _sheet(heading, rows, len(panels), len(trees))
        for axis, entry in zip(axes, panels, strict=True):
            _shade(axis, rows)
            _mark_parents(axis, problem, entry, trees, rows)
            for k, (engine, tree) in enumerate(trees.items()):
                shift = (k - (len(trees) - 1) / 2) * min(_DODGE, _BAND / len(trees))
                draws = values(tree, entry, chosen)
                draw_intervals(axis, draws, rows.at + shift, looks[engine])
            axis.set_title(label(entry.effect, 36), size=PANEL + 0.5, weight="bold")
            axis.set_xlabel(unit(problem, entry))
        _write_labels(axes[0], rows)
    return picture


@dataclass(frozen=True)
class _Rows:
    """Where nodes and the parents' names above them stand, counted from the top.

    `at` (n,) are the nodes' places; `parents` the positions of the groups' parents, with the first and
    last place of each group in `spans`; `labels` the texts with their places, and whether each is a
    parent's name.
    """

    at: Floats
    parents: NDArray[np.intp]
    spans: Sequence[tuple[float, float]]
    labels: Sequence[tuple[float, str, bool]]
    end: float

    @classmethod
    def of(cls, problem: Problem, level: str, chosen: NDArray[np.intp]) -> _Rows:
        depth = problem.index.depth(level)
        groups, first = np.unique(problem.levels[depth].parent[chosen], return_index=True)
        blocks = np.split(np.arange(len(chosen)), first[1:])
        # A name above nearly every node would double the picture: then nodes carry their whole path.
        named = depth > 0 and 2 * len(groups) <= len(chosen)
        own = problem.coords[f"{level}_label" if named or depth == 0 else level]
        above = problem.coords[problem.levels[depth - 1].name] if named else []
        at, spans, labels, place = np.zeros(len(chosen)), [], [], 0
        for parent, block in zip(groups, blocks, strict=True):
            if named:
                labels.append((float(place), label(above[parent], _LABEL), True))
                place += 1
            at[block] = place + np.arange(len(block))
            labels += [(float(at[i]), label(own[chosen[i]], _LABEL), False) for i in block]
            place += len(block)
            spans.append((float(at[block[0]]), float(at[block[-1]])))
        return cls(at, groups, spans, labels, place)


def unit(problem: Problem, entry: Entry) -> str:
    """Say in what a coefficient is measured."""
    link = family(problem.spec.family).link
    outcome = label(problem.spec.outcome if link == "identity" else f"{link} scale", 24)
    return outcome if entry.effect == INTERCEPT else f"{outcome} per {label(entry.effect, 24)}"


def draw_intervals(axis: Any, draws: Floats, at: Floats, pen: Pen) -> None:
    """Draw means and intervals of draws, (chain, draw, n), as one line for each place, (n,)."""
    low, inner_low, inner_high, high = intervals(draws)
    axis.hlines(at, low, high, color=pen.colour, lw=1.0, alpha=0.9)
    axis.hlines(at, inner_low, inner_high, color=pen.colour, lw=2.8, capstyle="round")
    axis.plot(
        finite_mean(draws),
        at,
        ls="",
        marker=pen.marker,
        ms=4.2,
        color=pen.colour,
        mec="white",
        mew=0.7,
        zorder=3,
    )


def _selection(shown: int, total: int, by: Entry) -> str:
    if shown == total:
        return ""
    effect = shorten(one_line(by.effect), 30)
    selected = f"{shown} of {total:,} nodes, evenly spread by the posterior mean of {effect}"
    return f"{selected}; {total - shown:,} are not shown."


def _parent_handle(depth: int) -> Line2D:
    whose = "population mean" if depth == 0 else "mean of the parent"
    return Line2D([], [], color=MUTED, ls=(0, (1, 1.5)), lw=1.2, label=f"{whose} (all engines)")


def _sheet(
    heading: Heading, rows: _Rows, panels: int, engines: int
) -> tuple[Picture, Sequence[Any]]:
    names = max(columns(text) for _, text, _ in rows.labels) * _CHARACTER + 0.4
    width = max(6.5, names + panels * _PANEL_WIDTH)
    pitch = 0.12 + 0.075 * max(engines, 1.2)
    top = heading.height(width)
    height = top + max(1.6, rows.end * pitch) + 0.9
    picture = new_picture(width, height, panels_below=top)
    heading.draw(picture)
    axes = picture.subplots(1, panels, sharey=True, squeeze=False)[0]
    for axis in axes:
        axis.grid(axis="x")
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        number_axis(axis.xaxis, 5)
    axes[0].set_ylim(rows.end - 0.4, -0.6)
    return picture, axes


def _shade(axis: Any, rows: _Rows) -> None:
    """Put every other group on a grey band."""
    above = 1.5 if any(is_parent for _, _, is_parent in rows.labels) else 0.5
    for top, bottom in rows.spans[1::2]:
        axis.axhspan(top - above, bottom + 0.5, color=FAINT, lw=0, zorder=0)


def _mark_parents(
    axis: Any,
    problem: Problem,
    entry: Entry,
    trees: Mapping[str, xr.DataTree],
    rows: _Rows,
) -> None:
    """Draw what the nodes of a group are pulled towards: the parent's mean over all engines' draws."""
    depth = problem.index.depth(entry.dims[0])
    for parent, (top, bottom) in zip(rows.parents, rows.spans, strict=True):
        found = _parent_mean(problem, trees, depth, int(parent), entry.column)
        axis.vlines(found, top - 0.45, bottom + 0.45, color=MUTED, ls=(0, (1, 1.5)), lw=1.2)


def _parent_mean(
    problem: Problem, trees: Mapping[str, xr.DataTree], depth: int, parent: int, column: int
) -> float:
    if depth == 0 and not problem.population_mask[column]:
        return 0.0  # an effect without a population coefficient varies around zero
    name = "beta" if depth == 0 else f"beta_{problem.levels[depth - 1].name}"
    index = {"effect": column} | ({} if depth == 0 else {problem.levels[depth - 1].name: parent})
    draws = [_parents(tree, name, index) for tree in trees.values()]
    means = np.concatenate([finite_mean(array) for array in draws])
    known = means[np.isfinite(means)]
    return float(known.mean()) if len(known) else float("nan")


def _parents(tree: xr.DataTree, name: str, index: Mapping[str, int]) -> Floats:
    draws = tree["posterior"].to_dataset()[name].isel(index).transpose("chain", "draw")
    return np.asarray(draws.values, dtype=np.float64)[..., None]


def _write_labels(axis: Any, rows: _Rows) -> None:
    places, texts, above = zip(*rows.labels, strict=True)
    axis.set_yticks(places, texts)
    for text, is_parent in zip(axis.get_yticklabels(), above, strict=True):
        if is_parent:
            text.set(weight="bold", color=MUTED)


def population(problem: Problem, trees: Mapping[str, xr.DataTree]) -> Picture:
    """See `nestor.views.plots.plot_population`."""
    check_draws(problem, trees)
    shown = [entry for entry in entries(problem) if entry.nodes is None]
    with look():
        looks = pens(trees)
        heading = Heading(
            "Population and scales: posterior mean, 50% and 90% intervals",
            [describe(problem), note_not_finite(not_finite(problem, trees))],
            pen_handles(looks, marker=True),
        )
        across = min(_COLUMNS, len(shown))
        down = -(-len(shown) // across)
        width = max(6.5, across * _PANEL_WIDTH)
        top = heading.height(width)
        height = top + down * (0.75 + 0.17 * len(trees)) + 0.1
        picture = new_picture(width, height, panels_below=top)
        heading.draw(picture)
        grid = picture.add_gridspec(down, across)
        for i, entry in enumerate(shown):
            axis = picture.add_subplot(grid[divmod(i, across)])
            for k, (engine, tree) in enumerate(trees.items()):
                draw_intervals(axis, values(tree, entry), np.array([float(k)]), looks[engine])
            axis.set_title(label(entry.name, 36), loc="left", size=PANEL, weight="bold")
            axis.set_ylim(len(trees) - 0.4, -0.6)
            axis.set_yticks([])
            axis.spines["left"].set_visible(False)
            axis.grid(axis="x")
            number_axis(axis.xaxis, 5)
    return picture
