"""One cell: density gate, run with empty caches, compile again with warm ones, and its record."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nestor.agreement.density import DensityCheck, ReferenceDensity
from nestor.agreement.engine_result import EngineFailure
from nestor.agreement.events import WorkerEvent
from nestor.agreement.pipeline import check_density, run_engine
from nestor.bench.record_builder import RecordBuilder, WarmCompile
from nestor.engines import registry
from nestor.engines.protocol import ProcessEnvironment
from nestor.engines.support import usable_cores
from nestor.errors import EngineFailed
from nestor.posterior.quantities import ComparedQuantities
from nestor.runner import engine
from nestor.runner.contract import check_environment
from nestor.runner.limits import Limits, thread_environment

if TYPE_CHECKING:
    from nestor.agreement.events import Event
    from nestor.bench.grid import Cell
    from nestor.bench.record import BenchRecord
    from nestor.bench.store import Results
    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.engines.protocol import SamplerConfig
    from nestor.stats.diagnostics import Summaries

#: (phase, event): what the cell's process is doing
CellListener = Callable[[str, dict[str, Any]], None]

#: Points of the density gate: a third of them from the prior, near the posterior, and dispersed. The density
#: that is sampled is compared again at the draws of every run.
N_POINTS = 9


@dataclass(frozen=True)
class FinishedCell:
    """A cell's record, and the summaries of its draws where there are any."""

    record: BenchRecord
    summaries: Summaries | None = None
    labels: tuple[str, ...] = ()


class DensityGate:
    """Checks the log densities of contenders on one problem, each contender once.

    Parameters
    ----------
    problem : Problem
        Model and data.

    Attributes
    ----------
    reference : ReferenceDensity
        What they are compared with.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.reference = ReferenceDensity(problem, N_POINTS)
        self._found: dict[str, DensityCheck | EngineFailure] = {}

    def check(
        self,
        cell: Cell,
        contender: Contender,
        results: Results,
        limits: Limits,
        listen: Callable[[Event], None],
    ) -> DensityCheck | EngineFailure:
        """Check a cell's contender in a process of its own, or say again what was found."""
        if cell.name not in self._found:
            self._found[cell.name] = check_density(
                self.problem,
                contender,
                self.reference,
                results.log(cell.id),
                timeout=cell.timeout_s,
                limits=limits,
                listener=listen,
            )
        return self._found[cell.name]


def skipped(cell: Cell, reason: str) -> BenchRecord:
    """Return the record of a cell that cannot be run here."""
    return RecordBuilder(cell, None).record("skipped", reason)


def run_cell(
    cell: Cell,
    contender: Contender,
    gate: DensityGate,
    results: Results,
    *,
    warm: bool,
    listen: CellListener,
) -> FinishedCell:
    """Measure one cell; whatever the engine does becomes its record.

    Parameters
    ----------
    cell : Cell
        What to measure.
    contender : Contender
        The cell's, with its formulation chosen.
    gate : DensityGate
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
    run = _CellRun(cell, contender, gate, results, listen)
    try:
        return run.finish(warm=warm)
    except EngineFailed as error:  # before a process was started for it
        return FinishedCell(RecordBuilder(cell, gate.problem).record("failed", str(error)))
    finally:
        run.remove_caches()


class _CellRun:
    """The processes of one cell, one after another."""

    def __init__(
        self,
        cell: Cell,
        contender: Contender,
        gate: DensityGate,
        results: Results,
        listen: CellListener,
    ) -> None:
        self._cell, self._contender = cell, contender
        self._gate, self._results, self._listen = gate, results, listen
        self._backend = registry.get(contender.backend).backend
        self._log = results.log(cell.id)
        self._log.write_bytes(b"")
        self._caches = results.work / f"caches-{cell.id}"
        self._caches.mkdir(parents=True, exist_ok=True)
        self._threads = thread_environment(cell.cores)
        self._builder = RecordBuilder(cell, gate.problem, threads=self._threads, log=self._log)

    def remove_caches(self) -> None:
        shutil.rmtree(self._caches, ignore_errors=True)

    def finish(self, *, warm: bool) -> FinishedCell:
        problem, cell = self._gate.problem, self._cell
        config = replace(self._contender.config(cell.config), cores=self._chains_at_once())
        # The gate's compilation must not warm what is to be measured cold: its caches are its own.
        density = self._gate.check(
            cell, self._contender, self._results, self._limits("gate"), self._hear
        )
        found = run_engine(
            problem,
            self._contender,
            config,
            self._log,
            reference=self._gate.reference,
            density=density,
            timeout=cell.timeout_s,
            limits=self._limits("run"),
            listener=self._hear,
        )
        if isinstance(found, EngineFailure):
            if found.status != "density_failed":
                self._results.require_space()
            return FinishedCell(self._builder.of_failure(found))
        compiled = self._compile_again(config) if warm else self._cold_only()
        self._drop_empty_log()
        record = self._builder.of_result(problem, found, compiled)
        return FinishedCell(record, found.summaries, ComparedQuantities(problem).labels)

    def _drop_empty_log(self) -> None:
        if self._log.stat().st_size == 0:
            self._log.unlink()

    def _chains_at_once(self) -> int | None:
        """Chains that may run at once: as many as cores, where they run side by side."""
        parallel = self._contender.chain_method == "parallel"
        return min(self._cell.cores, self._cell.config.chains) if parallel else None

    def _cold_only(self) -> WarmCompile:
        return WarmCompile(files_cold=self._cache_files())

    def _compile_again(self, config: SamplerConfig) -> WarmCompile:
        """Compile in a new process, with the caches that the run has left."""
        before = self._cache_files()
        outcome = engine.prepare(
            self._gate.problem,
            self._contender,
            config,
            self._log,
            timeout=self._cell.timeout_s,
            listener=lambda event: self._listen("compile again", event),
            limits=self._limits("run"),
        )
        if outcome.status != "ok":
            return WarmCompile(files_cold=before)
        timings: Any = outcome.result["timings"]
        return WarmCompile(timings["compile_s"], before, self._cache_files())

    def _limits(self, caches: str) -> Limits:
        extra = dict(self._threads)
        if isinstance(self._backend, ProcessEnvironment):
            folder, backend = self._caches / caches, self._backend
            who = f"cache_environment() of the backend {backend.name}"
            extra |= check_environment(lambda: backend.cache_environment(folder), who)
        return Limits(extra, usable_cores()[: self._cell.cores], self._cell.memory_bytes)

    def _cache_files(self) -> int | None:
        """How many files the caches hold; None where the backend does not say where they are."""
        backend = self._backend
        if not isinstance(backend, ProcessEnvironment) or not backend.cache_environment(
            self._caches
        ):
            return None
        return sum(path.is_file() for path in (self._caches / "run").rglob("*"))

    def _hear(self, event: Event) -> None:
        if isinstance(event, WorkerEvent):
            of_density = event.task == "density"
            doing = "log densities" if of_density else str(event.event.get("phase", ""))
            self._listen(doing, event.event)
