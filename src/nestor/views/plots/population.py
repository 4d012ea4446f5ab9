"""What belongs to no single node: population coefficients, standard deviations, family parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor.views.plots.canvas import PANEL, Picture, look, new_picture, number_axis, pens
from nestor.views.plots.draws import check_draws, entries, not_finite, values
from nestor.views.plots.forest import draw_intervals
from nestor.views.plots.heading import Heading, describe, note_not_finite, pen_handles
from nestor.views.plots.text import label

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from nestor.data.problem import Problem

_COLUMNS = 3
_PANEL_WIDTH = 3.2


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
