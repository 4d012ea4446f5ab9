"""What a calibration's worker processes are told, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nestor.errors.text import short_repr

if TYPE_CHECKING:
    from pathlib import Path

    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.engines.protocol import SamplerConfig

Around = Literal["prior", "posterior"]
Kind = Literal["simulation", "fit"]
#: ok; draws too few for independent ranks; the engine failed; it took too long.
Status = Literal["ok", "unconverged", "failed", "timeout"]

#: Simulations around the posterior that take their parameters from one fit to the data.
FIT_BLOCK = 250
#: A run whose draws are too few goes on until it has this many times the draws asked for.
LONGEST = 8


@dataclass(frozen=True)
class Job:
    """A study, as every worker process knows it.

    Parameters
    ----------
    problem : Problem
        The user's design, priors and outcome.
    contender : Contender
        The engine.
    config : SamplerConfig
        How hard it tries in each simulation; its seed is the study's.
    around : {"prior", "posterior"}
        Where parameters come from.
    ranked_draws : int
        Near-independent posterior draws among which parameters are ranked.
    fits : Path or None
        Folder of the fits to the data, for a study around the posterior.
    """

    problem: Problem
    contender: Contender
    config: SamplerConfig
    around: Around
    ranked_draws: int
    fits: Path | None = None


@dataclass(frozen=True)
class Task:
    """One simulation, or one fit to the data, by its number."""

    kind: Kind
    number: int


@dataclass(frozen=True)
class Record:
    """What became of a task.

    Parameters
    ----------
    number : int
        Of the simulation.
    status : {"ok", "unconverged", "failed", "timeout"}
        How it ended.
    message : str
        Why, where it did not end well.
    ranks : tuple of int
        Of each quantity, 0 to `Job.ranked_draws`; empty where it did not end well.
    ess : float or None
        The smallest bulk or tail ESS of all quantities.
    draws : int
        Draws of each chain in the end.
    divergences : int
        Among them, all chains together.
    seconds : float
        It took, without compiling.
    """

    number: int
    status: Status
    message: str = ""
    ranks: tuple[int, ...] = ()
    ess: float | None = None
    draws: int = 0
    divergences: int = 0
    seconds: float = 0.0

    __repr__ = short_repr

    @property
    def final(self) -> bool:
        """Whether doing it again would give the same: crashes and timeouts may pass."""
        return self.status in ("ok", "unconverged")
