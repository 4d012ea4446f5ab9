"""The record of one cell: a JSON document with its schema; null stands for what is not known."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from nestor.agreement.schema import DensityDocument, RecoveryDocument  # noqa: TC001 - pydantic reads annotations

SCHEMA_VERSION: Final = 1

CellStatus = Literal[
    "ok",
    "gates_failed",
    "density_failed",
    "failed",
    "timeout",
    "out_of_memory",
    "skipped",
]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ConfigDocument(_Document):
    """Sampler settings as asked for; null: the library's."""

    chains: int
    warmup: int
    draws: int
    seed: int = Field(description="Of the repetition; the engine's own follows from it")
    target_accept: float | None
    max_tree_depth: int | None
    metric: str | None
    chain_method: str
    cores: int | None


class CellDocument(_Document):
    """The cell as it was asked for."""

    id: str = Field(description="Hash of all that decides the measurement")
    scenario: str
    quick: bool
    track: Literal["defaults", "matched", "yardstick"]
    contender: str = Field(description="Engine with every choice resolved")
    engine: str
    formulation: str = Field(description="As it was run; auto where auto was not settled")
    formulation_reason: str = Field(
        default="", description="Why auto chose the formulation; empty where it was named"
    )
    device: str
    dtype: str
    chain_method: str
    seed: int
    sweep: str = Field(description="What the scenario sweeps; empty if nothing")
    sweep_value: float | None
    config: ConfigDocument
    cores: int = Field(description="Cores that the processes may use")
    timeout_s: float
    memory_bytes: int = Field(description="Memory at which the processes are ended")
    target_ess: float


class SizeDocument(_Document):
    """The problem's size."""

    formula: str
    family: str
    fingerprint: str
    rows: int
    levels: dict[str, int] = Field(description="Nodes by level, from the top down")
    effects: int
    scalars: int
    priors: dict[str, str] = Field(description="Every prior with its numbers, by address")


class SecondsDocument(_Document):
    """Seconds of each phase; null where a sampler cannot tell it from another."""

    import_s: float | None = None
    upload_s: float | None = Field(default=None, description="Host to device")
    compile_s: float | None = Field(default=None, description="With empty caches")
    warmup_s: float | None = None
    sampling_s: float | None = None
    warmup_and_sampling_s: float | None = Field(
        default=None,
        description="Both together; known of some samplers that cannot tell them apart",
    )
    postprocess_s: float | None = Field(
        default=None, description="Conversion to canonical variables"
    )
    transfer_s: float | None = Field(default=None, description="Device to host")
    total_s: float | None = Field(
        default=None,
        description="First import of the engine's libraries to the last draw on the host",
    )
    unaccounted_s: float | None = Field(
        default=None,
        description="Of total_s, in no phase; negative where the phases are longer than it; null where "
        "warmup and sampling are not told apart",
    )
    warm_compile_s: float | None = Field(
        default=None, description="In a second process, with the caches that the first one left"
    )
    elapsed_s: float = Field(description="Of the process, as its parent saw it")


class CachesDocument(_Document):
    """What the engine's compile caches held; null where the backend does not say where they are."""

    files_cold: int | None = Field(default=None, description="After the run that began with none")
    files_warm: int | None = Field(default=None, description="After the second process")
    hit: bool | None = Field(
        default=None, description="Whether the second process found all that it needed"
    )


class DiagnosticsDocument(_Document):
    """Gates of the run."""

    passed: bool
    failures: list[str]
    ess_bulk_min: float | None
    ess_bulk_quantity: str
    ess_tail_min: float | None
    ess_tail_quantity: str
    rhat_max: float | None
    ebfmi_min: float | None
    divergences: int | None
    treedepth_hits: int | None
    gradients: int | None = Field(description="Gradient evaluations of the kept draws, all chains")


class BenchRecord(_Document):
    """The record of one cell of a benchmark."""

    model_config = ConfigDict(title="nestor benchmark record", extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1]
    nestor_version: str
    cell: CellDocument
    size: SizeDocument | None
    status: CellStatus
    message: str
    seconds: SecondsDocument | None
    caches: CachesDocument | None
    diagnostics: DiagnosticsDocument | None
    density: DensityDocument | None = Field(description="At points, before any sampling")
    sampled_density: DensityDocument | None = Field(description="At the sampler's own draws")
    recovery: RecoveryDocument | None = Field(
        default=None, description="Of coefficients that were marginalized"
    )
    peak_bytes: int | None = Field(description="Host, the process tree's PSS")
    device_peak_bytes: int | None
    settings: dict[str, Any] = Field(description="What the sampler really used")
    versions: dict[str, str] = Field(description="The engine's own libraries")
    environment: dict[str, Any]
    threads: dict[str, str] = Field(description="Environment variables that bound thread pools")
    load: float | None = Field(description="Load average of the machine before the cell")
    started: str = Field(description="ISO 8601, UTC")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a cell's record."""
    return BenchRecord.model_json_schema()
