"""The JSON document of a comparison, with its schema; null stands for what is not known, never NaN."""

from __future__ import annotations

import math
import os
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from nestor.agreement.engine_result import TIMINGS, EngineResult, EngineStatus, estimates
from nestor.stats.plain import as_plain

if TYPE_CHECKING:
    from nestor.agreement.comparison import Comparison
    from nestor.agreement.engine_result import EngineRow
    from nestor.data.problem import Problem
    from nestor.stats.diagnostics import Gates

SCHEMA_VERSION: Final = 4


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class LevelDocument(_Document):
    """One level of the tree."""

    name: str
    nodes: int = Field(description="Number of nodes")
    effects: list[str] = Field(description="Effects that vary at this level")
    scale: Literal["level", "parent"] = Field(description="What a standard deviation belongs to")


class ProblemDocument(_Document):
    """What was sampled."""

    formula: str
    family: str
    fingerprint: str = Field(description="Hash of the data, the tree and the resolved description")
    rows: int
    scalars: int = Field(description="Random scalars, all of which are compared")
    levels: list[LevelDocument]
    priors: dict[str, str] = Field(description="Every prior with its numbers, by address")
    automatic_priors: list[str] = Field(description="Addresses whose prior was scaled by the data")
    notes: list[str] = Field(
        default_factory=list, description="What the data cannot tell, or tell only in part"
    )


class DensityDocument(_Document):
    """One contender's log densities against the reference's."""

    contender: str
    same: bool
    points: int
    max_relative_difference: float | None = Field(
        description="Largest |difference| / max(1, |lp|); null where only one side is finite"
    )
    tolerance: float
    worst_point: int
    worst_reference: float | None
    worst_found: float | None


class RecoveryDocument(_Document):
    """One contender's marginalized coefficients: exact draws given its scales, or not."""

    contender: str
    exact: bool
    draws: int = Field(description="Draws looked at")
    tests: int = Field(description="Means, variances and correlations of the coefficients' noise")
    level: float = Field(description="False-alarm rate of the check")
    smallest_p: float = Field(description="Times the number of tests")
    detectable_correlation: float
    message: str = Field(description="What is wrong; empty if nothing is")


class DensitySection(_Document):
    """Step 0: before any sampling."""

    reference: str
    checks: list[DensityDocument]


class TimingsDocument(_Document):
    """Seconds of each phase; null where a sampler cannot tell it from another."""

    import_s: float | None
    upload_s: float | None = Field(description="Data to the device")
    compile_s: float | None
    warmup_s: float | None
    sampling_s: float | None
    warmup_and_sampling_s: float | None = Field(
        default=None,
        description="Both together; known of some samplers that cannot tell them apart",
    )
    postprocess_s: float | None = Field(description="Conversion to canonical variables")
    transfer_s: float | None = Field(description="Device to host")
    total_s: float | None = Field(
        description="First import of the engine's libraries to the last draw on the host, by the "
        "process's clock"
    )
    all_in_s: float | None = Field(default=None, description="total_s without the import")
    unaccounted_s: float | None = Field(
        default=None,
        description="Of total_s, in no phase; negative where the phases are longer than it; null where "
        "warmup and sampling are not told apart",
    )


class DiagnosticsDocument(_Document):
    """Gates of one run."""

    rhat_max: float | None = Field(description="Largest rank-normalized split R-hat of all scalars")
    ess_bulk_min: float | None
    ess_tail_min: float | None
    ebfmi_min: float | None
    divergences: int | None
    max_treedepth_hits: int | None
    notes: list[str]


class EfficiencyDocument(_Document):
    """Effective draws (the worst scalar, bulk or tail) per second, and memory."""

    ess_per_s_sampling: float | None
    ess_per_s: float | None = Field(
        default=None, description="Per second of warmup and sampling together"
    )
    ess_per_s_total: float | None = Field(description="Per second of all_in_s")
    speed_void: str = Field(
        default="",
        description="Why ess_per_s_sampling is not given: the phases do not add up to total_s",
    )
    peak_bytes: int | None


class EstimateDocument(_Document):
    """What one contender's draws say of one quantity; null where it cannot be computed."""

    quantity: str
    group: str = Field(description="population, scales or family")
    mean: float | None
    sd: float | None
    q05: float | None
    q50: float | None
    q95: float | None
    mcse_mean: float | None = Field(description="Monte Carlo standard error of the mean")
    mcse_sd: float | None
    mcse_q05: float | None
    mcse_q50: float | None
    mcse_q95: float | None
    rhat: float | None
    ess_bulk: float | None
    ess_tail: float | None


class EngineDocument(_Document):
    """What became of one contender."""

    contender: str
    engine: str
    formulation: str
    formulation_reason: str = Field(
        default="", description="Why auto chose the formulation; empty where it was named"
    )
    device: str
    dtype: str
    chain_method: str
    implementation: str = Field(description="Engines that share it are not independent")
    status: EngineStatus
    message: str
    reused: bool
    seed: int | None
    timings: TimingsDocument
    diagnostics: DiagnosticsDocument
    efficiency: EfficiencyDocument
    settings: dict[str, Any]
    versions: dict[str, str]
    sampled_density: DensityDocument | None = Field(
        description="The density that was sampled, at some draws, less its log-Jacobian, against the "
        "reference's; null where the sampler does not report it"
    )
    recovery: RecoveryDocument | None = Field(
        description="Whether marginalized coefficients are exact draws given the scales; null where they "
        "were sampled, or are in single precision"
    )
    estimates: list[EstimateDocument] = Field(
        default_factory=list,
        description="Of population, standard deviations and family parameters; empty without draws",
    )
    looks: list[int] = Field(description="Draws per chain at each look; empty: one look at the end")
    cannot_extend: str = Field(description="Why its chains could not go on, where that was asked")
    restarts: int = Field(
        default=0, description="How often it was started anew with more draws instead"
    )
    draws: str | None = Field(description="netCDF file in the run directory")
    log: str | None = Field(description="Log file in the run directory")


class CriteriaDocument(_Document):
    """What was asked of each pair."""

    margin: float = Field(description="Of means in posterior sd, and of sds as a fraction")
    until_verdict: int | None = Field(description="Draws per chain up to which to go on")


class ComparisonDocument(_Document):
    """A comparison of engines on one problem."""

    model_config = ConfigDict(title="nestor comparison")

    schema_version: Literal[4]
    nestor_version: str
    verdict: Literal["AGREE", "DISAGREE", "INCONCLUSIVE"]
    problem: ProblemDocument
    config: dict[str, Any] = Field(description="Sampler settings as asked for; null: the library's")
    criteria: CriteriaDocument
    density: DensitySection
    engines: list[EngineDocument]
    pairs: list[dict[str, Any]] = Field(description="Verdict and tests of each pair of contenders")
    environment: dict[str, Any]


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return the document of `comparison` as plain values, checked against the schema's types."""
    document = ComparisonDocument(
        schema_version=SCHEMA_VERSION,
        nestor_version=version("nestor"),
        verdict=comparison.verdict.value,
        problem=_problem(comparison.problem),
        config=vars(comparison.config) | {},
        criteria=CriteriaDocument(**vars(comparison.criteria)),
        density=DensitySection(
            reference="reference",
            checks=[DensityDocument(**check.to_dict()) for check in comparison.densities],
        ),
        engines=[
            EngineDocument(
                **engine_document(row, keep=comparison.folder is not None),
                estimates=_estimates(comparison, row),
            )
            for row in comparison.rows
        ],
        pairs=[pair.to_dict() for pair in comparison.pairs],
        environment=environment(),
    )
    return document.model_dump(mode="json")


def engine_document(row: EngineRow, *, keep: bool = False) -> dict[str, Any]:
    """Return the document of one contender as plain values."""
    from nestor.engines import registry

    contender = row.contender
    start = {
        "contender": row.name,
        "engine": contender.engine,
        "formulation": str(contender.formulation),
        "formulation_reason": contender.reason,
        "device": contender.device,
        "dtype": contender.dtype,
        "chain_method": contender.chain_method,
        "implementation": registry.get(contender.backend).backend.implementation,
        "status": row.status,
        "message": row.message,
    }
    has_log = keep and row.status not in ("density_failed", "interrupted")
    files = {
        "draws": f"{contender.file_stem}.nc" if keep and isinstance(row, EngineResult) else None,
        "log": f"{contender.file_stem}.log" if has_log else None,
    }
    if not isinstance(row, EngineResult):
        rates = {**row.efficiency, "speed_void": "", "peak_bytes": row.peak_bytes}
        seconds = {"timings": dict(row.timings), "efficiency": rates}
        return start | _NO_RESULT | seconds | files
    return start | _result_document(row) | files


def _result_document(row: EngineResult) -> dict[str, Any]:
    return {
        "reused": row.reused,
        "seed": row.seed,
        "timings": {name: _known(row.timings.get(name)) for name in TIMINGS},
        "diagnostics": _diagnostics(row.gates),
        "efficiency": {name: _known(value) for name, value in row.efficiency.items()}
        | {"speed_void": row.speed_void, "peak_bytes": row.peak_bytes},
        "settings": as_plain(dict(row.settings)),
        "versions": dict(row.versions),
        "sampled_density": None if row.sampled_density is None else row.sampled_density.to_dict(),
        "recovery": None if row.recovery is None else row.recovery.to_dict(),
        "looks": list(row.looks),
        "cannot_extend": row.cannot_extend,
        "restarts": row.restarts,
    }


_NO_DIAGNOSTICS: Final[dict[str, Any]] = dict.fromkeys(
    (
        "rhat_max",
        "ess_bulk_min",
        "ess_tail_min",
        "ebfmi_min",
        "divergences",
        "max_treedepth_hits",
    )
) | {"notes": []}
#: What a contender without draws has in the place of `_result_document`.
_NO_RESULT: Final[dict[str, Any]] = {
    "reused": False,
    "seed": None,
    "diagnostics": _NO_DIAGNOSTICS,
    "settings": {},
    "versions": {},
    "sampled_density": None,
    "recovery": None,
    "looks": [],
    "cannot_extend": "",
    "restarts": 0,
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``comparison.json``."""
    return ComparisonDocument.model_json_schema()


def environment() -> dict[str, Any]:
    """Return what is worth knowing about the place of a run."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count(),
    }


def _problem(problem: Problem) -> ProblemDocument:
    return ProblemDocument(
        formula=problem.spec.to_formula(),
        family=problem.spec.family,
        fingerprint=problem.fingerprint,
        rows=problem.n_rows,
        scalars=len(problem.scalars),
        levels=[
            LevelDocument(
                name=level.name,
                nodes=level.n,
                effects=[problem.effects[j] for j in level.varying],
                scale="parent" if level.per_parent else "level",
            )
            for level in problem.levels
        ],
        priors={address: str(prior) for address, prior in problem.priors.by_address().items()},
        automatic_priors=sorted(problem.priors.automatic),
        notes=list(problem.notes),
    )


def _estimates(comparison: Comparison, row: EngineRow) -> list[EstimateDocument]:
    if not isinstance(row, EngineResult):
        return []
    return [
        EstimateDocument.model_validate(
            {n: v if isinstance(v, str) else _known(v) for n, v in record.items()}
        )
        for record in estimates(comparison.quantities, row.summaries)
    ]


def _diagnostics(gates: Gates) -> dict[str, Any]:
    largest = [r for r in (gates.rhat_max, gates.rhat_node_max) if r is not None]
    return {
        "rhat_max": _known(max(largest)) if largest else None,
        "ess_bulk_min": _known(gates.ess_bulk_min),
        "ess_tail_min": _known(gates.ess_tail_min),
        "ebfmi_min": _known(gates.ebfmi_min),
        "divergences": gates.n_divergent,
        "max_treedepth_hits": gates.n_saturated,
        "notes": list(gates.notes),
    }


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
