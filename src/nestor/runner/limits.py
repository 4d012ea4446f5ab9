"""Limits of a worker: environment, cores, memory, threads."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nestor.errors import SpecError, Unsupported
from nestor.errors.arguments import whole

if TYPE_CHECKING:
    from collections.abc import Mapping


#: By these, numerical libraries size their thread pools.
_THREAD_VARIABLES = (
    "MKL_NUM_THREADS",
    "NPROC",  # what XLA reads
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True)
class Limits:
    """Limits of a worker and its children; by default those of its parent.

    Parameters
    ----------
    environment : mapping of str to str
        Variables that are added to the worker's environment.
    cpus : tuple of int or None
        Numbers of the cores that it may run on. They are set before anything heavy is imported, so that
        libraries size their thread pools by them.
    memory_bytes : int or None
        Memory of the process tree (as `tree_bytes` measures it) beyond which it is killed. It is looked
        at four times a second: whatever is allocated and freed between two looks is not seen.

    Raises
    ------
    SpecError
        If there is no core among `cpus`, one is named twice, or a number is out of range.
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    cpus: tuple[int, ...] | None = None
    memory_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.cpus is not None and (
            not self.cpus or len(set(self.cpus)) < len(self.cpus) or min(self.cpus) < 0
        ):
            raise SpecError(f"cpus must be different numbers of cores, not {self.cpus!r}.")
        if self.memory_bytes is not None:
            whole("memory_bytes", self.memory_bytes, least=1)

    def require_cpus(self) -> None:
        """Refuse cores that cannot be had, before a worker is started.

        Raises
        ------
        Unsupported
            If the system has no affinity, or this process may not use one of them.
        """
        if self.cpus is None:
            return
        if not hasattr(os, "sched_setaffinity"):
            raise Unsupported("this system cannot keep a process on chosen cores: leave cpus out.")
        usable = os.sched_getaffinity(0)
        if missing := sorted(set(self.cpus) - usable):
            raise Unsupported(
                f"this process may not use the cores {missing}; it may use {sorted(usable)}."
            )


def thread_environment(n: int) -> dict[str, str]:
    """Return variables that give every library a pool of `n` threads.

    Raises
    ------
    SpecError
        If `n` is less than one.
    """
    return dict.fromkeys(_THREAD_VARIABLES, str(whole("threads of a library", n, least=1)))
