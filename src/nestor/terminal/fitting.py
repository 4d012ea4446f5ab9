"""The fit command: one engine, a summary of its posterior, a netCDF file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group

from nestor.api import sample_one
from nestor.comparison import EngineRow
from nestor.contender import Contender
from nestor.errors import DataError, EngineFailed
from nestor.events import WorkerEvent
from nestor.measure import measure
from nestor.runner import store
from nestor.session import check_timeout, read_contender
from nestor.terminal.lines import Unpadded
from nestor.terminal.live import LiveProgress
from nestor.terminal.summary import summary_view
from nestor.terminal.tables import EngineView, chosen_view, problem_view, row_notes

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr
    from rich.console import Console

    from nestor.backend import SamplerConfig
    from nestor.problem import Problem
    from nestor.spec import ModelSpec


def check_before_reading(
    model: ModelSpec, engine: str, timeout: float | None, out: Path | None
) -> None:
    """Find out before the data are read, which may take long, what is wrong without them.

    Raises
    ------
    SpecError, Unsupported
        If the engine or the timeout is wrong.
    DataError
        If the file cannot or should not be written.
    """
    check_timeout(timeout)
    Contender.parse_sampler(engine, model.level_names)
    _check_target(out)


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
    contender = read_contender(engine, problem)
    printed.print(Unpadded(Group(problem_view(problem), *chosen_view([contender]))))
    tree = _sampled(problem, contender, config, timeout, progress)
    with LiveProgress(progress, [contender.name]) as live:
        phase = {"event": "phase", "phase": "summarizing"}
        live(WorkerEvent(contender.name, "sample", phase))
        row = measure(problem, EngineRow(contender, "ok"), tree)
    printed.print(Unpadded(Group(EngineView([row]), row_notes([row]))))
    assert row.summaries is not None  # noqa: S101 - it has draws
    printed.print(Unpadded(summary_view(problem, row.summaries)))
    if out is not None:
        store.save_tree(tree, out, run_key="")
        printed.print(f"Written to {out}", markup=False, highlight=False)


def _sampled(
    problem: Problem,
    contender: Contender,
    config: SamplerConfig,
    timeout: float | None,
    progress: Console,
) -> xr.DataTree:
    """Sample; the log stays only if the engine fails."""
    with store.scratch_folder() as (folder, logs):
        log = folder / f"{contender.file_stem}.log"
        tree, message = sample_one(problem, contender, config, log, timeout, progress)
        if tree is None:
            if str(log) in message:
                logs.add(log)
            raise EngineFailed(f"{contender.name}: {message}")
    return tree


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
