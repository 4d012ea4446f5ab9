"""What became of one engine on one problem: an `EngineResult` with draws, or an `EngineFailure`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from nestor.errors.arguments import flag
from nestor.stats.diagnostics.summaries import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from nestor.agreement.density import DensityCheck
    from nestor.agreement.recovery import RecoveryCheck
    from nestor.engines.contender import Contender
    from nestor.posterior.quantities import ComparedQuantities
    from nestor.runner.job import Outcome
    from nestor.stats.diagnostics import Gates, Summaries

ResultStatus = Literal["ok", "gates_failed", "density_failed"]
FailureStatus = Literal[
    "density_failed", "failed", "unsupported", "timeout", "out_of_memory", "interrupted"
]
EngineStatus = Literal[
    "ok",
    "gates_failed",
    "density_failed",
    "failed",
    "unsupported",
    "timeout",
    "out_of_memory",
    "interrupted",
]

TIMINGS: Final = (
    "import_s",
    "upload_s",
    "compile_s",
    "warmup_s",
    "sampling_s",
    "warmup_and_sampling_s",
    "postprocess_s",
    "transfer_s",
    "total_s",
    "all_in_s",
    "unaccounted_s",
)
RATES: Final = ("ess_per_s_sampling", "ess_per_s", "ess_per_s_total")


class _Named:
    """The name and the repr that a result and a failure share."""

    contender: Contender
    status: EngineStatus
    message: str

    @property
    def name(self) -> str:
        """The contender's canonical name."""
        return self.contender.name

    def __repr__(self) -> str:
        why = f": {self.message}" if self.message else ""
        return f"{type(self).__name__}({self.name}, {self.status}{why})"


@dataclass(frozen=True, eq=False, repr=False)
class EngineResult(_Named):
    """An engine's draws, and what they say.

    Parameters
    ----------
    contender : Contender
        Who, how and where.
    status : {"ok", "gates_failed", "density_failed"}
        density_failed: the density that was sampled, or the recovery of coefficients, is wrong.
    message : str
        Why, where the status is not ok: one line.
    tree : DataTree
        The draws.
    gates : Gates
        Convergence checks.
    summaries : Summaries
        Estimates and their Monte Carlo errors of every random scalar and, last, of the
        log-likelihood (see `nestor.posterior.quantities`).
    log_likelihood : ndarray, (chain, draw)
        Of the whole outcome, computed by the core.
    timings : mapping of str to float or None
        Seconds per phase, see `TIMINGS`; None where a phase is not known.
    efficiency : mapping of str to float or None
        ess_per_s_sampling, ess_per_s (of warmup and sampling), ess_per_s_total: the smallest bulk or
        tail ESS over seconds.
    speed_void : str
        Why ess_per_s_sampling and ess_per_s are not given though the phases are: they do not add up to what
        the process's own clock says (see `nestor.engines.clock`). Empty otherwise.
    settings, versions : mapping
        What the sampler really used; versions of its libraries.
    seed : int
        The engine's own seed.
    peak_bytes : int or None
        Largest memory of the engine's process tree, where it could be measured.
    elapsed_s : float or None
        Wall time of its process; None if the draws are those of an earlier run.
    density : DensityCheck or None
        Its log densities before sampling, against the reference's; None where they were not compared.
    sampled_density : DensityCheck or None
        The log density that was sampled, at some draws, against the reference's; None if the sampler
        does not report it, or there is no reference to compare with.
    recovery : RecoveryCheck or None
        Whether marginalized coefficients were recovered exactly; None where they were sampled, are in
        single precision, whose rounding hides it, or there is no reference to compare with.
    reused : bool
        Whether finished draws of an earlier run were used again.
    looks : tuple of int
        Draws per chain at each look at its chains; empty where they were looked at once.
    cannot_extend : str
        Why its chains could not go on from where they stood, where that was asked for.
    restarts : int
        How often it was started again with more draws instead.
    """

    contender: Contender
    status: ResultStatus
    message: str
    tree: xr.DataTree
    gates: Gates
    summaries: Summaries
    log_likelihood: NDArray[np.float64]
    timings: Mapping[str, float | None]
    efficiency: Mapping[str, float | None]
    speed_void: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    seed: int
    peak_bytes: int | None
    elapsed_s: float | None = None
    density: DensityCheck | None = None
    sampled_density: DensityCheck | None = None
    recovery: RecoveryCheck | None = None
    reused: bool = False
    looks: tuple[int, ...] = ()
    cannot_extend: str = ""
    restarts: int = 0


@dataclass(frozen=True, eq=False, repr=False)
class EngineFailure(_Named):
    """Why an engine returned no draws.

    Parameters
    ----------
    contender : Contender
        Who, how and where.
    status : str
        density_failed, failed, unsupported, timeout, out_of_memory or interrupted.
    message : str
        Why: one line.
    density : DensityCheck or None
        Its log densities against the reference's; None where they were not compared.
    peak_bytes : int or None
        Largest memory of the engine's process tree, where it could be measured.
    elapsed_s : float or None
        Wall time of the process that failed; None if none was started, or it did its part.
    """

    contender: Contender
    status: FailureStatus
    message: str
    density: DensityCheck | None = None
    peak_bytes: int | None = None
    elapsed_s: float | None = None

    @property
    def timings(self) -> Mapping[str, float | None]:
        """Seconds per phase, with the keys that a result has; all are None."""
        return dict.fromkeys(TIMINGS)

    @property
    def efficiency(self) -> Mapping[str, float | None]:
        """Effective draws per second, with the keys that a result has; all are None."""
        return dict.fromkeys(RATES)

    @property
    def speed_void(self) -> str:
        """Empty: there are no seconds from which a speed would follow."""
        return ""

    @classmethod
    def of_process(
        cls,
        contender: Contender,
        outcome: Outcome,
        density: DensityCheck | None = None,
        where: str = "",
    ) -> EngineFailure:
        """Return the failure of a process that did not end well; `where` goes before its message."""
        # A process that said it was done and left nothing has failed too.
        status = "failed" if outcome.status == "ok" else outcome.status
        message = f"{where}{outcome.message}"
        return cls(contender, status, message, density, outcome.peak_bytes, outcome.seconds)


#: What became of an engine: one row of a table.
EngineRow = EngineResult | EngineFailure


def estimates(
    quantities: ComparedQuantities, found: Summaries, *, nodes: bool = False
) -> list[dict[str, Any]]:
    """Return the estimates of the population, scales and family parameters: a record for each quantity.

    Parameters
    ----------
    quantities : ComparedQuantities
        What is compared.
    found : Summaries
        Of these.
    nodes : bool
        Whether nodes' coefficients are wanted too.

    Returns
    -------
    list of dict
        quantity, group, mean, sd, q05, q50, q95, mcse_mean, mcse_sd, mcse_q05, mcse_q50, mcse_q95, rhat,
        ess_bulk, ess_tail.

    Raises
    ------
    SpecError
        If `nodes` is neither True nor False.
    """
    flag("nodes", nodes)
    labels, groups = quantities.labels, quantities.groups
    kept = range(quantities.n_scalars)
    wanted = kept if nodes else [i for i in kept if not quantities.is_node[i]]
    return [
        {
            "quantity": labels[i],
            "group": groups[i],
            **{name: float(found.estimate[k, i]) for k, name in enumerate(QUANTITIES)},
            **{f"mcse_{name}": float(found.mcse[k, i]) for k, name in enumerate(QUANTITIES)},
            "rhat": float(found.rhat[i]),
            "ess_bulk": float(found.ess_bulk[i]),
            "ess_tail": float(found.ess_tail[i]),
        }
        for i in wanted
    ]
