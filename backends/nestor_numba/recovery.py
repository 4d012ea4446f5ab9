"""The coefficients that were integrated out, drawn exactly given draws of the scales."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from nestor.engines.lazy import load
from nestor.engines.support import usable_cores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nestor.engines.protocol import SamplerConfig
    from nestor.stats.arrays import FloatArray
    from nestor_numba.marginal import MarginalPosterior

    type Arrays = Mapping[str, FloatArray]

#: Standard normal numbers at a time: 1 MB, so that they are still in the cache when they are used.
_NOISE = 131_072
#: Which of a run's streams of random numbers; nutpie has its own, from the seed itself.
_STREAM = 0x6E657374


def recovery_cores(config: SamplerConfig) -> int:
    """Cores on which coefficients are drawn: those that the config's chains may run on.

    One for sequential chains, since then nothing runs at the same time as something else; never more than
    this process may use.
    """
    if config.chain_method == "sequential":
        return 1
    usable = len(usable_cores())
    return usable if config.cores is None else min(config.cores, usable)


@dataclass(frozen=True, eq=False)
class ConditionalDraws:
    """Coefficients given draws of the scales, block by block; see `LazyDraws`.

    Parameters
    ----------
    marginal : MarginalPosterior
        The problem.
    z : ndarray, (chain, draw, d)
        Unconstrained scalars.
    first : int
        Number of the first draw in its chain: a draw's noise depends on seed, chain and number only.
    seed : int
        Of the run.
    cores : int
        Blocks that may be drawn at once; the coefficients do not depend on it.
    """

    marginal: MarginalPosterior
    z: FloatArray
    first: int
    seed: int
    cores: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each variable, (chain, draw, *shape)."""
        variables = self.marginal.problem.variables.values()
        roles = ("population", "node")
        return {v.name: (*self.z.shape[:2], *v.shape) for v in variables if v.role in roles}

    def blocks(self) -> Iterator[tuple[int, int, Arrays]]:
        """Draw the coefficients: here on one core, else in threads, several blocks at once."""
        chains, draws = self.z.shape[:2]
        size = max(1, _NOISE // self.marginal.density.workspace.noise)
        last = (self.first + draws - 1) // size
        jobs = ((c, b) for c in range(chains) for b in range(self.first // size, last + 1))
        cores = self.cores
        if cores == 1:
            yield from (self._block(*job, size) for job in jobs)
            return
        with ThreadPoolExecutor(cores, thread_name_prefix="nestor-recovery") as pool:
            # A few more than cores, so that none waits for the block before it to be taken.
            waiting = deque(pool.submit(self._block, *job, size) for job in islice(jobs, 2 * cores))
            while waiting:
                found = waiting.popleft().result()
                waiting.extend(pool.submit(self._block, *job, size) for job in islice(jobs, 1))
                yield found

    def _block(self, chain: int, block: int, size: int) -> tuple[int, int, Arrays]:
        begin = max(block * size, self.first)
        end = min((block + 1) * size, self.first + self.z.shape[1])
        rng = np.random.Generator(np.random.SFC64([_STREAM, self.seed, chain, block]))
        noise = rng.standard_normal((end - block * size, self.marginal.density.workspace.noise))
        values = {name: np.empty((end - begin, *s[2:])) for name, s in self.shapes.items()}
        z = self.z[chain, begin - self.first : end - self.first]
        self.marginal.recover(z, noise[begin - block * size :], values)
        return chain, begin - self.first, values

    def load(self) -> dict[str, FloatArray]:
        """All of them in memory, (chain, draw, *shape)."""
        return load(self)
