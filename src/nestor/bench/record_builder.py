"""Build a cell's record from its engine's result or failure."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.engine_result import TIMINGS
from nestor.agreement.schema import DensityDocument
from nestor.bench.environment import environment, load_average
from nestor.bench.record import (
    SCHEMA_VERSION,
    BenchRecord,
    CachesDocument,
    CellDocument,
    CellStatus,
    ConfigDocument,
    DiagnosticsDocument,
    SecondsDocument,
    SizeDocument,
)
from nestor.engines import registry
from nestor.engines.contender import AUTO
from nestor.errors import EngineFailed
from nestor.runner.contract import check_versions
from nestor.runner.datatree import stats_of
from nestor.stats.plain import as_plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.agreement.density import DensityCheck
    from nestor.agreement.engine_result import EngineFailure, EngineResult
    from nestor.bench.grid import Cell
    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender


@dataclass(frozen=True)
class WarmCompile:
    """A second process that compiles with the caches of the first.

    Parameters
    ----------
    seconds : float or None
        It took to compile; None if it was not started, or did not end well.
    files_cold, files_warm : int or None
        Files in the caches before it and after it, where they are known.
    """

    seconds: float | None = None
    files_cold: int | None = None
    files_warm: int | None = None

    @property
    def caches(self) -> CachesDocument:
        """What the caches held, and whether they had what the second process needed."""
        before, after = self.files_cold, self.files_warm
        hit = None if before is None or after is None else before > 0 and after == before
        return CachesDocument(files_cold=before, files_warm=after, hit=hit)


@dataclass(frozen=True)
class RecordBuilder:
    """Makes the record of one cell; knows when the cell began.

    Parameters
    ----------
    cell : Cell
        Whose record.
    problem : Problem or None
        The cell's; None if it was not made.
    threads : dict, optional
        Environment variables that bound thread pools.
    log : Path
        Of the engine.
    """

    cell: Cell
    problem: Problem | None
    threads: dict[str, str] | None = None
    log: Path = Path()
    load: float | None = None
    started: str = ""

    def __post_init__(self) -> None:
        if not self.started:
            object.__setattr__(self, "load", load_average())
            now = datetime.now(UTC).isoformat(timespec="seconds")
            object.__setattr__(self, "started", now)

    def of_failure(self, failure: EngineFailure) -> BenchRecord:
        """Record an engine that returned no draws."""
        # The log's place in the results directory, which may be moved.
        message = failure.message.replace(str(self.log.parent), self.log.parent.name)
        density = self._density(failure.density)
        match failure.status:
            case "unsupported":
                return self.record("skipped", message, density=density)
            case "density_failed":
                return self.record("density_failed", message, density=density)
            case "timeout" | "out_of_memory":
                status: CellStatus = failure.status
            case _:
                status = "failed"
        seconds = SecondsDocument(elapsed_s=failure.elapsed_s or 0.0)
        peak = failure.peak_bytes
        return self.record(status, message, density=density, seconds=seconds, peak_bytes=peak)

    def of_result(
        self, problem: Problem, result: EngineResult, compiled: WarmCompile
    ) -> BenchRecord:
        """Record a run that returned draws."""
        message = result.message
        if result.status == "gates_failed":
            message = "; ".join(result.gates.failures)
        seconds = SecondsDocument(
            # All in is worked out where it is shown.
            **{name: result.timings[name] for name in TIMINGS if name != "all_in_s"},
            warm_compile_s=compiled.seconds,
            elapsed_s=result.elapsed_s or 0.0,
        )
        sampled, recovery = result.sampled_density, result.recovery
        return self.record(
            result.status,
            "; ".join(filter(None, (message, result.speed_void))),
            seconds=seconds,
            caches=compiled.caches,
            diagnostics=_diagnostics(problem, result),
            density=self._density(result.density),
            sampled_density=self._density(sampled),
            recovery=None if recovery is None else recovery.to_dict() | self._asked,
            peak_bytes=result.peak_bytes,
            device_peak_bytes=result.tree.attrs.get("device_peak_bytes"),
            settings=as_plain(dict(result.settings)),
            versions=dict(result.versions),
        )

    @property
    def _asked(self) -> dict[str, str]:
        """The name that the cell was asked for, under which its checks are recorded."""
        return {"contender": self.cell.name}

    def _density(self, check: DensityCheck | None) -> DensityDocument | None:
        if check is None:
            return None
        return DensityDocument(**check.to_dict() | self._asked)

    def record(self, status: CellStatus, message: str, **found: Any) -> BenchRecord:
        """Return a record with what was found; the rest is not known."""
        nothing: dict[str, Any] = dict.fromkeys(
            (
                "seconds",
                "caches",
                "diagnostics",
                "density",
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
            environment=environment(),
            threads=self.threads or {},
            load=self.load,
            started=self.started,
            **({"settings": {}, "versions": _versions(self.cell)} | nothing | found),
        )


def _diagnostics(problem: Problem, result: EngineResult) -> DiagnosticsDocument:
    labels = problem.scalars.labels
    gates, own = result.gates, result.summaries.first(len(labels))
    largest = [r for r in (gates.rhat_max, gates.rhat_node_max) if r is not None]
    bulk, bulk_quantity = _smallest(own.ess_bulk, labels)
    tail, tail_quantity = _smallest(own.ess_tail, labels)
    steps = stats_of(result.tree).get("n_steps")
    return DiagnosticsDocument(
        passed=gates.passed,
        failures=list(gates.failures),
        ess_bulk_min=bulk,
        ess_bulk_quantity=bulk_quantity,
        ess_tail_min=tail,
        ess_tail_quantity=tail_quantity,
        rhat_max=_finite(max(largest)) if largest else None,
        ebfmi_min=_finite(gates.ebfmi_min),
        divergences=gates.n_divergent,
        treedepth_hits=gates.n_saturated,
        gradients=None if steps is None else int(steps.sum()),
    )


def _smallest(values: NDArray[np.float64], labels: tuple[str, ...]) -> tuple[float | None, str]:
    """Return the smallest value and its quantity; None where a value cannot be computed."""
    if values.size == 0 or not np.isfinite(values).all():
        return None, ""
    at = int(np.argmin(values))
    return float(values[at]), labels[at]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


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
