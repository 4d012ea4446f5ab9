"""Coefficients drawn block by block on the cores that a run may use."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Self

from nestor.deferred import together
from nestor_numba.marginal import _NOISE, Recovery
from nestor_nutpie.timing import usable_cores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nestor.backend import SamplerConfig
    from nestor_numba.marginal import Arrays, FloatArray


def recovery_cores(config: SamplerConfig) -> int:
    """Cores on which coefficients are drawn: those that the config's chains may run on.

    One for sequential chains, since then nothing runs at the same time as something else; never more than
    this process may use.
    """
    if config.chain_method == "sequential":
        return 1
    usable = usable_cores()
    return usable if config.cores is None else min(config.cores, usable)


@dataclass(frozen=True, eq=False)
class RecoveryOnCores(Recovery):
    """A recovery that keeps to a number of cores; the coefficients do not depend on it.

    Parameters
    ----------
    cores : int
        Blocks that may be drawn at once.
    """

    cores: int

    @classmethod
    def of(cls, recovery: Recovery, cores: int) -> Self:
        """Keep a recovery to so many cores."""
        return cls(recovery.marginal, recovery.z, recovery.first, recovery.seed, cores)

    def blocks(self) -> Iterator[tuple[int, int, Arrays]]:
        """Draw the coefficients: here on one core, else in threads, several blocks at once."""
        chains, draws = self.z.shape[:2]
        size = max(1, _NOISE // self.marginal.density.workspace.noise)
        numbers = range(self.first // size, (self.first + draws - 1) // size + 1)
        jobs = ((chain, block) for chain in range(chains) for block in numbers)
        if self.cores == 1:
            yield from (self._block(*job, size) for job in jobs)
            return
        with ThreadPoolExecutor(self.cores, thread_name_prefix="nestor-recovery") as pool:
            # A few more than cores, so that none waits for the block before it to be taken.
            waiting = deque(
                pool.submit(self._block, *job, size) for job in islice(jobs, 2 * self.cores)
            )
            while waiting:
                found = waiting.popleft().result()
                waiting.extend(pool.submit(self._block, *job, size) for job in islice(jobs, 1))
                yield found

    def together(self) -> dict[str, FloatArray]:
        """All of them in memory, (chain, draw, *shape)."""
        return together(self)
