"""Leave-one-out results: totals, and the rows or leaves whose estimate is unreliable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.table import Table

from nestor.errors.text import printable
from nestor.views.format import count
from nestor.views.terminal.layout import FirstThatFits, Prose

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nestor.posterior.leave_one_out import LeaveOneOut

_SHOWN = 10


def totals_view(found: LeaveOneOut) -> RenderableType:
    """Show the totals in one line, or one per line where space is short."""
    headings = (
        f"left out: {printable(str(found.elpd_i.dims[0]))}",
        "draws",
        "elpd",
        "se",
        "p",
        "Pareto k too large",
    )
    numbers = (f"{value:,.1f}" for value in (found.elpd, found.se, found.p))
    units, draws = count(found.elpd_i.size), count(found.n_samples)
    cells = (units, draws, *numbers, count(found.unreliable.size))
    wide = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in headings:
        wide.add_column(heading, justify="right")
    wide.add_row(*cells)
    tall = Table(box=None, show_header=False, pad_edge=False)
    tall.add_column()
    tall.add_column(justify="right")
    for heading, cell in zip(headings, cells, strict=True):
        tall.add_row(Prose(heading, 2), cell)
    return FirstThatFits([wide, tall])


def unreliable_view(found: LeaveOneOut, advice: str = "") -> RenderableType:
    """Name the units with the largest Pareto k, and say what to do: by default to fit without them."""
    unit = str(found.elpd_i.dims[0])
    worst = found.unreliable[np.argsort(-found.unreliable.values)][:_SHOWN]
    named = ", ".join(
        f"{printable(str(label))} ({k:.2f})"
        for label, k in zip(worst[unit].values, worst.values, strict=True)
    )
    more = found.unreliable.size - worst.size
    return Prose(
        f"Not to be trusted, as Pareto k is above {found.good_k:.2f}: {printable(unit)} {named}"
        f"{f' and {count(more)} more' if more else ''}. {advice or 'Fit again without them to know'}.",
        2,
    )
