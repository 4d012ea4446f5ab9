"""The fit command: one engine, a summary of its posterior, a netCDF file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from nestor.agreement.arguments import check_memory, check_timeout, read_contender
from nestor.agreement.engine_result import EngineFailure
from nestor.api import advice, fit_one
from nestor.data.propriety import check_sigma
from nestor.engines.contender import Contender
from nestor.errors import DataError, EngineFailed
from nestor.runner import store
from nestor.views.terminal.lines import Unpadded
from nestor.views.terminal.narrow import Prose
from nestor.views.terminal.summary import summary_view
from nestor.views.terminal.tables import chosen_view, engine_view, problem_view, row_notes

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from nestor.agreement.engine_result import EngineResult
    from nestor.data.problem import Problem
    from nestor.engines.protocol import SamplerConfig
    from nestor.model.spec import ModelSpec


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
) -> EngineResult:
    """Sample with one engine; print the problem, its seconds and diagnostics, and the population.

    Raises
    ------
    EngineFailed
        If the engine did not end well; the message names its log.
    DataError
        If the file cannot be written.
    """
    contender = read_contender(engine, problem)
    check_memory(problem, config)
    check_sigma(problem)
    printed.print(Unpadded(Group(problem_view(problem, [contender]), *chosen_view([contender]))))
    row = _fitted(problem, contender, config, timeout, progress)
    printed.print(Unpadded(engine_view([row])))
    printed.print(Unpadded(summary_view(problem, row.summaries)))
    if row.status == "gates_failed":
        printed.print(Unpadded(Group(Text(""), row_notes([row]), Prose(advice(row, config)))))
    if out is not None:
        store.save_tree(row.tree, out, run_key="")
        printed.print(Prose(f"Written to {out}", 2))
    return row


def _fitted(
    problem: Problem,
    contender: Contender,
    config: SamplerConfig,
    timeout: float | None,
    progress: Console,
) -> EngineResult:
    """Sample; the log stays only if the engine fails."""
    with store.scratch_folder() as (folder, logs):
        log = folder / f"{contender.file_stem}.log"
        row = fit_one(problem, contender, config, log, timeout, progress)
        if isinstance(row, EngineFailure):
            if str(log) in row.message:
                logs.add(log)
            raise EngineFailed(f"{contender.name}: {row.message}")
    return row


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
