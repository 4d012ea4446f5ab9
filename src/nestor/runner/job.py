"""The job of a worker, and its outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.engines.protocol import SamplerConfig

Status = Literal["ok", "failed", "unsupported", "timeout", "out_of_memory", "interrupted"]


@dataclass(frozen=True)
class Job:
    """One engine's work on one problem, in a process of its own.

    Parameters
    ----------
    problem : Problem
        Model and data.
    contender : Contender
        Who, how and where.
    config : SamplerConfig or None
        How hard to sample; None to evaluate densities only.
    points : tuple of dict
        Where to evaluate the log density.
    looks : tuple of int
        Draws per chain at which to stop for a look, the first equal to the config's draws; empty to
        sample once and end.
    prepare_only : bool
        Whether to end when everything is compiled that sampling needs.
    """

    problem: Problem
    contender: Contender
    config: SamplerConfig | None = None
    points: tuple[dict[str, NDArray[np.float64]], ...] = ()
    looks: tuple[int, ...] = ()
    prepare_only: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a job ended, and its result.

    Parameters
    ----------
    status : {"ok", "failed", "unsupported", "timeout", "out_of_memory", "interrupted"}
        How it ended; unsupported where the backend itself refused the job, out_of_memory where it passed
        its limit, an allocation failed, or the system killed it for what it held.
    message : str
        Why, if it did not end well: one line for the user.
    result : dict
        What the worker reported: ``log_densities``, or ``timings``, ``settings`` and
        ``device_peak_bytes`` (only ``timings`` where there was nothing but to prepare); and ``versions``;
        ``cannot_extend``, the reason, where chains cannot go on from where they stand.
    arrays : Path or None
        File of the draws' arrays, if there are any.
    peak_bytes : int or None
        Largest memory of the worker's process tree; None if it could not be measured.
    seconds : float
        Wall time from start to end of the process.
    """

    status: Status
    message: str = ""
    result: dict[str, object] = field(default_factory=dict)
    arrays: Path | None = None
    peak_bytes: int | None = None
    seconds: float = 0.0
