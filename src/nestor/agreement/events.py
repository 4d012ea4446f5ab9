"""The events that a running comparison sends to its listener."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from nestor.agreement.density import DensityCheck
    from nestor.agreement.engine_result import EngineRow


@dataclass(frozen=True)
class WorkerEvent:
    """Something that a contender's process said while it evaluates densities or samples."""

    contender: str
    task: Literal["density", "sample"]
    event: dict[str, Any]


@dataclass(frozen=True)
class DensityFinished:
    """A contender's log densities have been compared with the reference's."""

    check: DensityCheck


@dataclass(frozen=True)
class EngineFinished:
    """A contender has its result or failure."""

    row: EngineRow


@dataclass(frozen=True)
class LookFinished:
    """All pairs have been judged at so many draws per chain, and some contenders' chains go on.

    Those in `anew` cannot go on from where they stand, and are started again with so many draws per chain.
    """

    look: int
    draws: int
    going_on: tuple[str, ...]
    anew: tuple[tuple[str, int], ...] = ()


Event = WorkerEvent | DensityFinished | EngineFinished | LookFinished
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
