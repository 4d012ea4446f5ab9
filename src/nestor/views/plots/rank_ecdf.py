"""Differences of rank ECDFs with simultaneous bands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from nestor.agreement.shape import thin
from nestor.errors import DataError
from nestor.stats.diagnostics.estimators import as_draws
from nestor.stats.ecdf import ecdf_difference, two_sample_band
from nestor.views.format import one_line, shorten
from nestor.views.plots.canvas import (
    INK,
    MUTED,
    PANEL,
    Heading,
    Picture,
    look,
    new_picture,
    number_axis,
)
from nestor.views.plots.text import label_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from nestor.agreement.shape import ShapeResult
    from nestor.stats.arrays import FloatArray


LINE, REJECTED = "#0072B2", "#D55E00"
_INNER, _OUTER = "#d5d5d5", "#ececec"
_WIDTH, _HEIGHT = 3.1, 2.05  # inches of a panel
_LABEL = 32
_LINE = 0.17  # inches of each further line of a name


def rank_ecdf(
    names: tuple[str, str],
    draws_a: ArrayLike,
    draws_b: ArrayLike,
    labels: Sequence[str],
    shape: ShapeResult,
    most: int,
) -> Picture:
    """See `nestor.views.plots.plot_rank_ecdf`."""
    one, other = as_draws(draws_a), as_draws(draws_b)
    if not one.shape[2] == other.shape[2] == len(labels) == shape.n.size:
        raise DataError(
            f"cannot picture the ECDFs of {one.shape[2]} and {other.shape[2]} scalars with "
            f"{len(labels)} labels and tests of {shape.n.size}."
        )
    if shape.n_tests == 0:
        raise DataError("no scalar's distributions were compared: there are no ECDFs to picture.")
    tested = np.flatnonzero(shape.n > 0)
    order = np.lexsort((-np.abs(shape.difference[tested]), shape.p_values[tested]))
    worst = tested[order[:most]]
    across = min(3, worst.size)
    down = -(-worst.size // across)
    with look():
        heading = _heading(names, shape, worst.size)
        width = max(6.5, 0.6 + across * _WIDTH)
        top = heading.height(width)
        titles = {i: label_lines(labels[i], _LABEL) for i in worst.tolist()}
        taller = _LINE * max(title.count("\n") for title in titles.values())
        picture = new_picture(width, top + 0.4 + down * (_HEIGHT + taller), panels_below=top)
        heading.draw(picture)
        axes = picture.subplots(down, across, squeeze=False, sharex=True).ravel()
        for axis, i in zip(axes, worst.tolist(), strict=False):
            n = int(shape.n[i])
            found = ecdf_difference(thin(one, n, [i]), thin(other, n, [i]))
            _panel(axis, found, n, shape, i, titles[i])
        for k, axis in enumerate(axes):
            axis.set_visible(k < worst.size)
            if worst.size - across <= k < worst.size:
                axis.tick_params(labelbottom=True)
                axis.set_xlabel("share of the pooled draws")
            if k % across == 0:
                axis.set_ylabel("difference of ECDFs")
    return picture


def _heading(names: tuple[str, str], shape: ShapeResult, shown: int) -> Heading:
    a, b = (shorten(one_line(name), 30) for name in names)
    n_rejected = len(shape.rejected)
    outcome = (
        f"Different in distribution: {n_rejected:,} of {shape.n_tests:,} scalars"
        if n_rejected
        else f"None of {shape.n_tests:,} scalars is shown to differ in distribution"
    )
    selection = f"; drawn: the {shown} least likely by chance" if shown < shape.n_tests else ""
    percent = f"{100 * (1 - shape.level):.4g}%"
    return Heading(
        f"Rank ECDFs: {a} less {b}",
        [
            f"{outcome} (family-wise level {shape.level:g}){selection}.",
            "Above zero: more of the first engine's draws lie below this point.",
        ],
        [
            Line2D([], [], color=LINE, lw=1.4, label="difference"),
            Line2D([], [], color=REJECTED, lw=1.4, label="difference, rejected"),
            Patch(color=_INNER, label=f"{percent} band of one scalar"),
            Patch(color=_OUTER, label=f"{percent} band of all scalars together"),
        ],
    )


def _panel(
    axis: Any,
    found: tuple[FloatArray, FloatArray],
    n: int,
    shape: ShapeResult,
    i: int,
    title: str,
) -> None:
    points, difference = found
    family = two_sample_band(n, shape.level / shape.n_tests)
    single = two_sample_band(n, shape.level)
    for band, colour in ((family, _OUTER), (single, _INNER)):
        axis.fill_between(band.points, band.lower, band.upper, color=colour, lw=0)
    axis.axhline(0, color=MUTED, lw=0.6)
    rejected = shape.p_adjusted[i] <= shape.level
    axis.plot(points, difference, color=REJECTED if rejected else LINE, lw=1.2)
    p = shape.p_adjusted[i]
    words = f"adjusted p = {p:.2g}" if p >= 1e-10 else "adjusted p < 1e-10"
    axis.set_title(title, loc="left", size=PANEL, weight="bold", pad=13)
    axis.annotate(
        f"{words},  {n:,} draws a side",
        (0, 1),
        (0, 3),
        xycoords="axes fraction",
        textcoords="offset points",
        size=PANEL - 1.2,
        color=REJECTED if rejected else INK,
    )
    limit = 1.12 * max(float(family.upper.max()), float(np.abs(difference).max()))
    axis.set_ylim(-limit, limit)
    axis.set_xlim(0, 1)
    number_axis(axis.xaxis, 4)
    number_axis(axis.yaxis, 5)
