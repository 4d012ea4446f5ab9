"""The loo command: predictive densities of rows or leaves, and those that are not to be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.table import Table

from nestor.data.problem import not_marginalizable
from nestor.errors import DataError
from nestor.errors.text import printable
from nestor.posterior.leave_one_out import LeaveOneOut, leave_one_leaf_out, leave_one_row_out, loo
from nestor.runner import store
from nestor.views.terminal.lines import Unpadded
from nestor.views.terminal.narrow import FirstThatFits, Prose
from nestor.views.terminal.words import count
from nestor.views.terminal.working import working_bar

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console, RenderableType

    from nestor.data.problem import Problem

_SHOWN = 10
_AGAIN = "Fit again without them to know"


def loo_and_print(
    problem: Problem, draws: Path, printed: Console, *, leaves: bool, exact: bool
) -> None:
    """Leave rows or leaves out, with a bar on standard error, and print what was found.

    Raises
    ------
    DataError
        If the file cannot be read or holds draws of another posterior.
    Unsupported
        For leaves, or rows that are to be, if they cannot be left out exactly.
    """
    fit = store.load_tree(draws)
    if fit is None:
        raise DataError(f"--draws {draws} is no netCDF file of draws that can be read.")
    way = leave_one_leaf_out if leaves else leave_one_row_out if exact else loo
    found = way(problem, fit, progress=working_bar)
    printed.print(Unpadded(_totals(found)))
    if found.unreliable.size:
        may = not (leaves or exact) and not_marginalizable(problem) is None
        do = "--exact leaves them out exactly (in Python leave_one_row_out)" if may else ""
        printed.print(_unreliable(found, do or _AGAIN))


def _totals(found: LeaveOneOut) -> RenderableType:
    """A line; a line per number where space is short."""
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


def _unreliable(found: LeaveOneOut, advice: str = _AGAIN) -> RenderableType:
    """Name the units with the largest Pareto k, and what to do."""
    unit = str(found.elpd_i.dims[0])
    worst = found.unreliable[np.argsort(-found.unreliable.values)][:_SHOWN]
    named = ", ".join(
        f"{printable(str(label))} ({k:.2f})"
        for label, k in zip(worst[unit].values, worst.values, strict=True)
    )
    more = found.unreliable.size - worst.size
    return Prose(
        f"Not to be trusted, as Pareto k is above {found.good_k:.2f}: {printable(unit)} {named}"
        f"{f' and {count(more)} more' if more else ''}. {advice}.",
        2,
    )
