"""Rank ECDFs of a calibration study, less the uniform one, with simultaneous bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from nestor.calibration.judge import LEVEL
from nestor.errors import DataError
from nestor.stats.ecdf import uniform_band
from nestor.views.plots.canvas import (
    MUTED,
    PANEL,
    Heading,
    Picture,
    describe,
    look,
    new_picture,
    number_axis,
)
from nestor.views.plots.save import write
from nestor.views.plots.text import label_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nestor.calibration import Calibration
    from nestor.data.problem import Variable
    from nestor.stats.ecdf import Band

_COLUMNS = 3
_PANEL = (3.2, 2.1)  # inches
_SMALL, _LINE = PANEL - 1.5, 11.0  # points of a name in a panel, and from line to line of them
_NAME = 38
_MOST = 30
_FINE, _WRONG, _BAND = "#0072B2", "#D55E00", "#dfe6ec"
_ONE = 0.05
#: Curves of a panel that are named, each by its own dashes: the worst, and the next that are not uniform.
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)))


@dataclass(frozen=True)
class _Panel:
    """Quantities that are drawn over each other, by their positions."""

    title: str
    positions: tuple[int, ...]
    noun: str = ""


def plot_ranks(found: Calibration, *, nodes: bool = False) -> Picture:
    """Draw ECDF differences of ranks: of what belongs to no single node, or of nodes' coefficients.

    Each panel has the simultaneous band that one right quantity leaves with a probability of 5% (filled),
    and the one that any of all quantities leaves with a probability of 1% (lines), which the verdict
    follows. Quantities of the nodes of one level (or of one scale for each parent) share a panel, in which
    the one with the smallest p-value is named, and up to two more that are not uniform.

    Parameters
    ----------
    found : Calibration
        The study.
    nodes : bool
        Which of the two pictures.

    Raises
    ------
    DataError
        If there are no ranks, or no such quantities.
    """
    if not len(found.judgement.p_values):
        raise DataError("there are too few simulations with ranks to picture.")
    panels = [panel for panel in _panels(found) if (panel.noun == "node") == nodes]
    if not panels:
        raise DataError("there is nothing of this kind to picture.")
    p_values = found.judgement.p_values
    worst = sorted(panels, key=lambda panel: float(p_values[list(panel.positions)].min()))[:_MOST]
    shown = [panel for panel in panels if panel in worst]
    with look():
        heading = Heading(
            f"{found.judgement.verdict.value.capitalize()}: ranks of "
            f"{'node coefficients' if nodes else 'population, scales and family'}",
            _lines(found, shown, panels),
            _handles(),
        )
        across = min(_COLUMNS, len(shown))
        down = -(-len(shown) // across)
        width = max(7.2, across * _PANEL[0])
        top = heading.height(width)
        taller = max(_names_height(found, panel) for panel in shown) / 72
        picture = new_picture(width, top + down * (_PANEL[1] + taller) + 0.25, panels_below=top)
        heading.draw(picture)
        axes = picture.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        for axis, panel in zip(axes.ravel(), shown, strict=False):
            _draw(axis, found, panel)
        for axis in axes.ravel()[len(shown) :]:
            axis.set_visible(False)
        for axis in axes.ravel()[: len(shown)][-across:]:
            axis.tick_params(labelbottom=True)
            axis.set_xlabel("rank of the truth", size=PANEL)
        for axis in axes[:, 0]:
            axis.set_ylabel("ECDF less uniform", size=PANEL)
    return picture


def save_rank_plots(found: Calibration, folder: Path) -> list[Path]:
    """Write ``ranks.png`` and, if coefficients vary, ``ranks-nodes.png``; return their paths."""
    wanted = {"ranks": False}
    if any(panel.noun == "node" for panel in _panels(found)):
        wanted["ranks-nodes"] = True
    paths = []
    for stem, nodes in wanted.items():
        path = folder / f"{stem}.png"
        write(plot_ranks(found, nodes=nodes), path)
        paths.append(path)
    return paths


def _panels(found: Calibration) -> list[_Panel]:
    """All panels, in the order of the problem's variables, the log-likelihood last."""
    problem = found.problem
    panels, start = [], 0
    for variable in problem.random_variables:
        where = np.flatnonzero(variable.random)
        panels += _of_variable(found, variable, where, start)
        start += len(where)
    return [*panels, _Panel("log-likelihood", (start,))]


def _of_variable(
    found: Calibration, variable: Variable, where: NDArray[np.intp], start: int
) -> list[_Panel]:
    """One panel per scalar; per effect where there are nodes, or parents, to lay over each other."""
    positions = start + np.arange(len(where))
    if len(variable.shape) < 2:
        return [_Panel(found.quantities.labels[i], (int(i),)) for i in positions]
    effect = where % variable.shape[1]
    names = found.problem.coords[variable.dims[1]]
    noun = "node" if variable.role == "node" else "parent"
    return [
        _Panel(f"{variable.name}[{names[j]}]", tuple(int(i) for i in positions[effect == j]), noun)
        for j in np.unique(effect)
    ]


def _draw(axis: Any, found: Calibration, panel: _Panel) -> None:
    n_ranks = found.ranked_draws + 1
    n = len(found.ranks)
    one = uniform_band(n, n_ranks, _ONE)
    family = uniform_band(n, n_ranks, LEVEL / len(found.quantities))
    _draw_bands(axis, one, family)
    judged = found.judgement
    order = sorted(panel.positions, key=lambda i: -judged.p_values[i])
    named = _named(found, panel)
    dashes = dict(zip(named, _DASHES, strict=False))
    drawn = {}
    for i in order:
        wrong = judged.p_adjusted[i] <= LEVEL
        (drawn[i],) = axis.plot(
            one.points,
            _difference(found.ranks[:, i], n_ranks),
            color=_WRONG if wrong else _FINE,
            lw=1.6 if i in dashes else 0.7,
            ls=dashes.get(i, "-"),
            alpha=1.0 if i in dashes else 0.7 if wrong else max(0.05, min(0.35, 12 / len(order))),
        )
    _write_title(axis, found, panel, named)
    if len(panel.positions) > 1:
        legend = axis.legend(
            [drawn[i] for i in named],
            [_node(found, i) for i in named],
            loc="lower left",
            bbox_to_anchor=(0, 1),
            borderaxespad=0.1,
            borderpad=0,
            labelspacing=0.15,
            handlelength=2.6,
            fontsize=_SMALL,
            frameon=False,
        )
        legend.set_in_layout(False)  # the title keeps its room free
    axis.set_xlim(0, 1)
    axis.grid(axis="y")
    number_axis(axis.xaxis, 3)
    number_axis(axis.yaxis, 4)


def _difference(ranks: NDArray[np.intp], n_ranks: int) -> NDArray[np.float64]:
    """ECDF less uniform at i / n_ranks, i = 1 .. n_ranks - 1."""
    below = np.cumsum(np.bincount(ranks, minlength=n_ranks))[:-1] / len(ranks)
    difference: NDArray[np.float64] = below - np.arange(1, n_ranks) / n_ranks
    return difference


def _draw_bands(axis: Any, one: Band, family: Band) -> None:
    axis.fill_between(
        one.points, one.lower - one.points, one.upper - one.points, color=_BAND, lw=0, zorder=0
    )
    for bound in (family.lower, family.upper):
        axis.plot(family.points, bound - family.points, color=MUTED, lw=0.9, ls=(0, (4, 2)))


def _named(found: Calibration, panel: _Panel) -> list[int]:
    """Quantities of a panel that are named, the worst first: it, and further ones that are not uniform."""
    judged = found.judgement
    worst, *others = sorted(panel.positions, key=lambda i: judged.p_values[i])[: len(_DASHES)]
    return [worst, *(i for i in others if judged.p_adjusted[i] <= LEVEL)]


def _node(found: Calibration, i: int) -> str:
    """The node, or parent, that a quantity of a shared panel belongs to, in lines."""
    name = found.quantities.labels[i].partition("[")[2].rpartition(",")[0]
    return label_lines(name, _NAME)


def _names_height(found: Calibration, panel: _Panel) -> float:
    """Points that the names of a shared panel's curves take above it."""
    if len(panel.positions) < 2:
        return 0.0
    return _LINE * sum(1 + _node(found, i).count("\n") for i in _named(found, panel))


def _write_title(axis: Any, found: Calibration, panel: _Panel, named: Sequence[int]) -> None:
    judged, above = found.judgement, _names_height(found, panel)
    chance = f"corrected p {judged.p_adjusted[named[0]]:.2g}"
    if len(panel.positions) > 1:
        wrong = int(np.sum(judged.p_adjusted[list(panel.positions)] <= LEVEL))
        words = f"{wrong} not uniform" if wrong else "the worst"
        chance = f"{len(panel.positions)} {panel.noun}s, {words}, {chance}"
    title = label_lines(panel.title, 40)
    axis.set_title(title, loc="left", size=PANEL, weight="bold", pad=16 + above)
    text = axis.annotate(
        chance,
        (0, 1),
        (0, 4 + above),
        xycoords="axes fraction",
        textcoords="offset points",
        size=PANEL - 1,
        color=MUTED,
        va="bottom",
    )
    text.set_in_layout(False)


def _lines(found: Calibration, shown: Sequence[_Panel], panels: Sequence[_Panel]) -> list[str]:
    left = len(panels) - len(shown)
    return [
        (
            f"{found.contender.name},  {len(found.ranks):,} simulations from the {found.around},  "
            f"ranks among {found.ranked_draws} draws"
        ),
        describe(found.problem),
        f"Of {len(panels)} panels those {len(shown)} with the smallest p-values." if left else "",
    ]


def _handles() -> list[Any]:
    return [
        Line2D([], [], color=_FINE, lw=1.6, label="uniform as far as can be told"),
        Line2D([], [], color=_WRONG, lw=1.6, label="not uniform"),
        Patch(color=_BAND, label="95% band for one"),
        Line2D([], [], color=MUTED, lw=0.9, ls=(0, (4, 2)), label="99% band for all"),
    ]
