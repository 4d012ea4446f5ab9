"""One cell: density gate, run with empty caches, compile again with warm ones, and its record."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nestor.bench.measuring import measure_draws
from nestor.bench.writing import Again, Writer
from nestor.engines import registry
from nestor.engines.protocol import ProcessEnvironment
from nestor.engines.support import usable_cores
from nestor.errors import EngineFailed
from nestor.runner import engine
from nestor.runner.contract import check_environment
from nestor.runner.limits import Limits
from nestor.runner.threads import thread_environment

if TYPE_CHECKING:
    from nestor.bench.gate import Gate
    from nestor.bench.grid import Cell
    from nestor.bench.record import BenchRecord
    from nestor.bench.store import Results
    from nestor.data.problem import Problem
    from nestor.runner.job import Outcome
    from nestor.stats.diagnostics import Summaries

#: (phase, event): what the cell's process is doing
CellListener = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Finished:
    """A cell's record, and the summaries of its draws where there are any."""

    record: BenchRecord
    summaries: Summaries | None = None
    labels: tuple[str, ...] = ()


def skipped(cell: Cell, reason: str, problem: Problem | None = None) -> BenchRecord:
    """Return the record of a cell that cannot be run here."""
    return Writer(cell, problem).record("skipped", reason)


def run_cell(
    cell: Cell, gate: Gate, results: Results, *, warm: bool, listen: CellListener
) -> Finished:
    """Measure one cell; whatever the engine does becomes its record.

    Parameters
    ----------
    cell : Cell
        What to measure.
    gate : Gate
        Of the cell's problem.
    results : Results
        Where logs go.
    warm : bool
        Whether to compile once more in a second process.
    listen : callable
        Hears of progress.

    Raises
    ------
    DataError
        If the disk is full: that is no fault of the engine, so that no record is written.
    """
    run = _Run(cell, gate, results, listen)
    try:
        return run.finish(warm=warm)
    except EngineFailed as error:  # before a process was started for it
        return Finished(Writer(cell, gate.problem).record("failed", str(error)))
    finally:
        run.clean()


class _Run:
    """The processes of one cell, one after another."""

    def __init__(self, cell: Cell, gate: Gate, results: Results, listen: CellListener) -> None:
        assert cell.contender is not None  # noqa: S101 - such cells are skipped
        self._cell, self._gate, self._results, self._listen = cell, gate, results, listen
        self._contender = cell.contender
        self._backend = registry.get(cell.contender.backend).backend
        self._log = results.log(cell.id)
        self._log.write_bytes(b"")
        self._caches = results.work / f"caches-{cell.id}"
        self._caches.mkdir(parents=True, exist_ok=True)
        self._threads = thread_environment(cell.cores)
        self._writer = Writer(cell, gate.problem, threads=self._threads, log=self._log)

    def clean(self) -> None:
        """Remove the caches."""
        shutil.rmtree(self._caches, ignore_errors=True)

    def finish(self, *, warm: bool) -> Finished:
        # The gate's compilation must not warm what is to be measured cold: its caches are its own.
        outcome, check = self._gate.check(
            self._cell, self._results, self._limits("gate"), self._hear("log densities")
        )
        writer = replace(self._writer, density=check)
        if check is None:
            self._results.require_space()
            return Finished(writer.ended(outcome, "log density: "))
        if not check.same:
            text = (
                f"its log density differs from the reference's by {check.largest:.2g} relative "
                f"(bound {check.tolerance:g}); it was not sampled"
            )
            return Finished(writer.record("density_failed", text))
        return self._sample(writer, warm=warm)

    def _sample(self, writer: Writer, *, warm: bool) -> Finished:
        cell = self._cell
        config = replace(self._contender.config(cell.config), cores=self._chains_at_once())
        outcome, tree = engine.sample(
            self._gate.problem,
            self._contender,
            config,
            self._log,
            timeout=cell.timeout_s,
            listener=self._hear(""),
            limits=self._limits("run"),
        )
        if tree is None:
            self._results.require_space()
            return Finished(writer.ended(outcome))
        files = self._files()
        again = self._compile_again(config) if warm else None
        self._listen("diagnostics", {})
        settings = dict(outcome.result.get("settings", {}))  # type: ignore[call-overload]
        measured = measure_draws(
            self._gate.problem, cell.name, self._contender, tree, settings, self._gate.oracle
        )
        self._drop_empty_log()
        record = writer.measured(outcome, tree, measured, Again.of(again, files, self._files()))
        return Finished(record, measured.summaries, measured.labels)

    def _drop_empty_log(self) -> None:
        if self._log.stat().st_size == 0:
            self._log.unlink()

    def _chains_at_once(self) -> int | None:
        """Chains that may run at once: as many as cores, where they run side by side."""
        parallel = self._contender.chain_method == "parallel"
        return min(self._cell.cores, self._cell.config.chains) if parallel else None

    def _compile_again(self, config: Any) -> Outcome:
        """Compile in a new process, with the caches that the run has left."""
        return engine.prepare(
            self._gate.problem,
            self._contender,
            config,
            self._log,
            timeout=self._cell.timeout_s,
            listener=self._hear("compile again"),
            limits=self._limits("run"),
        )

    def _limits(self, caches: str) -> Limits:
        extra = dict(self._threads)
        if isinstance(self._backend, ProcessEnvironment):
            folder, backend = self._caches / caches, self._backend
            who = f"cache_environment() of the backend {backend.name}"
            extra |= check_environment(lambda: backend.cache_environment(folder), who)
        return Limits(extra, usable_cores()[: self._cell.cores], self._cell.memory_bytes)

    def _files(self) -> int | None:
        """How many files the caches hold; None where the backend does not say where they are."""
        backend = self._backend
        if not isinstance(backend, ProcessEnvironment) or not backend.cache_environment(
            self._caches
        ):
            return None
        return sum(path.is_file() for path in (self._caches / "run").rglob("*"))

    def _hear(self, doing: str) -> Callable[[dict[str, Any]], None]:
        def listen(event: dict[str, Any]) -> None:
            self._listen(doing or str(event.get("phase", "")), event)

        return listen
