"""One cell: density gate, run with empty caches, compile again with warm ones, and its record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestor import registry
from nestor.backend import Cached
from nestor.bench.measuring import Measured, measure_draws
from nestor.bench.place import environment, load_average, usable_cores
from nestor.bench.record import (
    SCHEMA_VERSION,
    BenchRecord,
    CachesDocument,
    CellDocument,
    CellStatus,
    ConfigDocument,
    SecondsDocument,
    SizeDocument,
)
from nestor.diagnostics.plain import as_plain
from nestor.document import DensityDocument
from nestor.runner import engine
from nestor.runner.limits import Limits
from nestor.runner.threads import thread_environment

if TYPE_CHECKING:
    import xarray as xr

    from nestor.agreement.density import DensityCheck
    from nestor.bench.gate import Gate
    from nestor.bench.grid import Cell
    from nestor.bench.store import Results
    from nestor.diagnostics import Summaries
    from nestor.problem import Problem
    from nestor.runner.job import Outcome

#: (phase, event): what the cell's process is doing
CellListener = Callable[[str, dict[str, Any]], None]
_ENDINGS: dict[str, CellStatus] = {"timeout": "timeout", "out_of_memory": "out_of_memory"}
_PHASES = (
    "import_s",
    "upload_s",
    "compile_s",
    "warmup_s",
    "sampling_s",
    "postprocess_s",
    "transfer_s",
)


@dataclass(frozen=True)
class Finished:
    """A cell's record, and the summaries of its draws where there are any."""

    record: BenchRecord
    summaries: Summaries | None = None
    labels: tuple[str, ...] = ()


def skipped(cell: Cell, reason: str, problem: Problem | None = None) -> BenchRecord:
    """Return the record of a cell that cannot be run here."""
    return _Writer(cell, problem).record("skipped", reason)


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
        self._writer = _Writer(cell, gate.problem, threads=self._threads, log=self._log)

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

    def _sample(self, writer: _Writer, *, warm: bool) -> Finished:
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
            self._gate.problem,
            cell.name,
            self._contender.dtype,
            tree,
            settings,
            self._gate.reference,
        )
        self._drop_empty_log()
        record = writer.measured(outcome, tree, measured, _Again.of(again, files, self._files()))
        return Finished(record, measured.summaries, self._gate.problem.scalars.labels)

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
        if isinstance(self._backend, Cached):
            extra |= self._backend.cache_environment(self._caches / caches)
        return Limits(extra, usable_cores()[: self._cell.cores], self._cell.memory_bytes)

    def _files(self) -> int | None:
        """How many files the caches hold; None where the backend does not say where they are."""
        if not isinstance(self._backend, Cached):
            return None
        return sum(path.is_file() for path in (self._caches / "run").rglob("*"))

    def _hear(self, doing: str) -> Callable[[dict[str, Any]], None]:
        def listen(event: dict[str, Any]) -> None:
            self._listen(doing or str(event.get("phase", "")), event)

        return listen


@dataclass(frozen=True)
class _Again:
    """The second process: its compile seconds, and whether the caches had what it needed."""

    seconds: float | None = None
    caches: CachesDocument | None = None

    @classmethod
    def of(cls, outcome: Outcome | None, before: int | None, after: int | None) -> _Again:
        if outcome is None or outcome.status != "ok":
            return cls(None, CachesDocument(files_cold=before))
        timings: Any = outcome.result["timings"]
        hit = None if before is None or after is None else before > 0 and after == before
        return cls(
            timings["compile_s"], CachesDocument(files_cold=before, files_warm=after, hit=hit)
        )


@dataclass(frozen=True)
class _Writer:
    """Makes records of one cell; knows when it began."""

    cell: Cell
    problem: Problem | None
    threads: dict[str, str] | None = None
    log: Path = Path()
    density: DensityCheck | None = None
    load: float | None = None
    started: str = ""

    def __post_init__(self) -> None:
        if not self.started:
            object.__setattr__(self, "load", load_average())
            now = datetime.now(UTC).isoformat(timespec="seconds")
            object.__setattr__(self, "started", now)

    def ended(self, outcome: Outcome, where: str = "") -> BenchRecord:
        """Record a process that did not end well."""
        # The log's place in the results directory, which may be moved.
        message = where + outcome.message.replace(str(self.log), f"logs/{self.log.name}")
        if outcome.status == "unsupported":
            return self.record("skipped", message)
        # A process that said it was done and left no draws has failed too.
        status = _ENDINGS.get(outcome.status, "failed")
        seconds = SecondsDocument(elapsed_s=outcome.seconds)
        return self.record(status, message, seconds=seconds, peak_bytes=outcome.peak_bytes)

    def measured(
        self, outcome: Outcome, tree: xr.DataTree, found: Measured, again: _Again
    ) -> BenchRecord:
        """Record a run that returned draws."""
        status: CellStatus = "ok" if found.diagnostics.passed else "gates_failed"
        message = "; ".join(found.diagnostics.failures)
        check = found.sampled_density
        if check is not None and not check.same:
            status = "density_failed"
            message = (
                f"the log density that it sampled differs from the reference's by {check.largest:.2g} "
                f"relative (bound {check.tolerance:g})"
            )
        timings: Any = outcome.result["timings"]
        seconds = SecondsDocument(
            **{name: timings.get(name) for name in _PHASES},
            total_s=timings["total_s"],
            warm_compile_s=again.seconds,
            elapsed_s=outcome.seconds,
        )
        device = outcome.result.get("device_peak_bytes")
        return self.record(
            status,
            message,
            seconds=seconds,
            caches=again.caches,
            diagnostics=found.diagnostics,
            sampled_density=None if check is None else check.to_dict(),
            peak_bytes=outcome.peak_bytes,
            device_peak_bytes=device,
            settings=as_plain(outcome.result.get("settings", {})),
            versions=json.loads(tree.attrs["versions"]),
        )

    def record(self, status: CellStatus, message: str, **found: Any) -> BenchRecord:
        """Return a record with what was found; the rest is not known."""
        nothing: dict[str, Any] = dict.fromkeys(
            (
                "seconds",
                "caches",
                "diagnostics",
                "sampled_density",
                "peak_bytes",
                "device_peak_bytes",
            )
        )
        return BenchRecord(
            schema_version=SCHEMA_VERSION,
            nestor_version=version("nestor"),
            cell=_cell_document(self.cell),
            size=None if self.problem is None else _size_document(self.problem),
            status=status,
            message=message,
            density=None if self.density is None else DensityDocument(**self.density.to_dict()),
            environment=environment(),
            threads=self.threads or {},
            load=self.load,
            started=self.started,
            **({"settings": {}, "versions": _versions(self.cell)} | nothing | found),
        )


def _versions(cell: Cell) -> dict[str, str]:
    if cell.contender is None:
        return {}
    return dict(registry.get(cell.contender.backend).backend.versions())


def _cell_document(cell: Cell) -> CellDocument:
    contender = cell.contender
    engine_name = cell.name.partition("@")[0]
    return CellDocument(
        id=cell.id,
        scenario=cell.scenario,
        quick=cell.quick,
        track=cell.track,
        contender=cell.name,
        engine=engine_name if contender is None else contender.engine,
        formulation="" if contender is None else str(contender.formulation),
        device="" if contender is None else contender.device,
        dtype="" if contender is None else contender.dtype,
        chain_method="" if contender is None else contender.chain_method,
        seed=cell.seed,
        sweep=cell.sweep,
        sweep_value=None if cell.value is None else float(cell.value),
        config=ConfigDocument(**asdict(cell.config)),
        cores=cell.cores,
        timeout_s=cell.timeout_s,
        memory_bytes=cell.memory_bytes,
        target_ess=cell.target_ess,
    )


def _size_document(problem: Problem) -> SizeDocument:
    return SizeDocument(
        formula=problem.spec.to_formula(),
        family=problem.spec.family,
        fingerprint=problem.fingerprint,
        rows=problem.n_rows,
        levels={level.name: level.n for level in problem.levels},
        effects=len(problem.effects),
        scalars=len(problem.scalars),
        priors={address: str(prior) for address, prior in problem.priors.by_address().items()},
    )
