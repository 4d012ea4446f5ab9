"""The fit command: one engine, a summary of its posterior, a netCDF file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from nestor.api import sample_one
from nestor.comparison import EngineRow
from nestor.errors import DataError, EngineFailed
from nestor.measure import measure
from nestor.runner import store
from nestor.session import check_timeout, read_contender
from nestor.terminal.tables import EngineView, chosen_view, problem_view, row_notes

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from nestor.backend import SamplerConfig
    from nestor.diagnostics import Summaries
    from nestor.problem import Problem


def fit_and_print(
    problem: Problem,
    engine: str,
    config: SamplerConfig,
    timeout: float | None,
    out: Path | None,
    printed: Console,
    progress: Console,
) -> None:
    """Sample with one engine; print the problem, its seconds and diagnostics, and the population.

    Raises
    ------
    EngineFailed
        If the engine did not end well; the message names its log.
    DataError
        If the file cannot be written.
    """
    check_timeout(timeout)
    contender = read_contender(engine, problem)
    _check_target(out)
    printed.print(problem_view(problem), *chosen_view([contender]))
    log = Path(tempfile.mkdtemp(prefix="nestor-")) / f"{contender.file_stem}.log"
    tree, message = sample_one(problem, contender, config, log, timeout, progress)
    if tree is None:
        raise EngineFailed(f"{contender.name}: {message.rstrip('.')}. Its log: {log}")
    log.unlink()
    log.parent.rmdir()
    row = measure(problem, EngineRow(contender, "ok"), tree)
    printed.print(Group(EngineView([row]), row_notes([row])))
    assert row.summaries is not None  # noqa: S101 - it has draws
    printed.print(_summary(problem, row.summaries))
    if out is not None:
        store.save_tree(tree, out, run_key="")
        printed.print(f"Written to {out}", markup=False, highlight=False)


def _check_target(out: Path | None) -> None:
    """Find out before sampling, not after, that the file cannot or should not be written."""
    if out is None:
        return
    if out.suffix != ".nc":
        raise DataError(f"--out {out}: fit writes one netCDF file, so its name must end in .nc.")
    if out.is_dir():
        raise DataError(f"--out {out} is a directory; fit writes one netCDF file.")
    if out.exists() and not store.is_ours(out):
        raise DataError(f"--out {out} exists and was not written by nestor. Choose another name.")
    if not out.parent.is_dir():
        raise DataError(f"--out {out}: the directory {out.parent} does not exist.")
    store.check_writable(out.parent)


def _summary(problem: Problem, found: Summaries) -> RenderableType:
    """Posterior of all that is not a node's coefficient."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    for heading in ("mean", "sd", "5%", "50%", "95%", "MCSE mean", "R-hat", "bulk ESS"):
        table.add_column(heading, justify="right")
    for i in (~problem.scalars.is_node).nonzero()[0]:
        five = [f"{value:.4g}" for value in found.estimate[:, i]]
        rest = [f"{found.mcse[0, i]:.2g}", f"{found.rhat[i]:.3f}", f"{found.ess_bulk[i]:,.0f}"]
        table.add_row(Text(problem.scalars.label(int(i))), *five, *rest)
    return table
