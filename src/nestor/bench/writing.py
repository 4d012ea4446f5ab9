"""From what became of a cell's processes to its record."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestor.agreement.comparison import TIMINGS
from nestor.agreement.schema import DensityDocument
from nestor.bench.place import environment, load_average
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
from nestor.engines import registry
from nestor.engines.clock import void_speed
from nestor.engines.contender import AUTO
from nestor.errors import EngineFailed
from nestor.runner.contract import check_versions
from nestor.stats.plain import as_plain

if TYPE_CHECKING:
    import xarray as xr

    from nestor.agreement.density import DensityCheck
    from nestor.bench.grid import Cell
    from nestor.bench.measuring import Measured
    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.runner.job import Outcome

_ENDINGS: dict[str, CellStatus] = {"timeout": "timeout", "out_of_memory": "out_of_memory"}


@dataclass(frozen=True)
class Again:
    """The second process: its compile seconds, and whether the caches had what it needed."""

    seconds: float | None = None
    caches: CachesDocument | None = None

    @classmethod
    def of(cls, outcome: Outcome | None, before: int | None, after: int | None) -> Again:
        """Make it of how the process ended, and of the files in the caches before and after it."""
        if outcome is None or outcome.status != "ok":
            return cls(None, CachesDocument(files_cold=before))
        timings: Any = outcome.result["timings"]
        hit = None if before is None or after is None else before > 0 and after == before
        return cls(
            timings["compile_s"], CachesDocument(files_cold=before, files_warm=after, hit=hit)
        )


@dataclass(frozen=True)
class Writer:
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
        message = where + outcome.message.replace(str(self.log.parent), self.log.parent.name)
        if outcome.status == "unsupported":
            return self.record("skipped", message)
        # A process that said it was done and left no draws has failed too.
        status = _ENDINGS.get(outcome.status, "failed")
        seconds = SecondsDocument(elapsed_s=outcome.seconds)
        return self.record(status, message, seconds=seconds, peak_bytes=outcome.peak_bytes)

    def measured(
        self, outcome: Outcome, tree: xr.DataTree, found: Measured, again: Again
    ) -> BenchRecord:
        """Record a run that returned draws."""
        status: CellStatus = "ok" if found.diagnostics.passed else "gates_failed"
        message = "; ".join(found.diagnostics.failures)
        check, recovery = found.sampled_density, found.recovery
        if found.wrong:
            status, message = "density_failed", found.wrong
        timings: Any = outcome.result["timings"]
        message = "; ".join(filter(None, (message, void_speed(timings))))
        seconds = SecondsDocument(
            # All in is worked out where it is shown.
            **{name: timings.get(name) for name in TIMINGS if name != "all_in_s"},
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
            recovery=None if recovery is None else recovery.to_dict(),
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
                "recovery",
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
    try:
        return check_versions(registry.get(cell.contender.backend).backend)
    except EngineFailed:  # its process has said so: it is why there is nothing else to record
        return {}


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
        formulation=_formulation(contender),
        formulation_reason="" if contender is None else contender.reason,
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


def _formulation(contender: Contender | None) -> str:
    if contender is None:
        return ""
    return AUTO if contender.auto else str(contender.formulation)


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
