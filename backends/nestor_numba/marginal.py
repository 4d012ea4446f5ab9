"""Marginalized coefficients: the posterior of the scales, and coefficients drawn exactly given them."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nestor.engines.deferred import together
from nestor_numba import arena, compiling
from nestor_numba.evaluating import Density, Workspace, call_draw, pieces_wanted
from nestor_numba.nutpie_model import POSITION
from nestor_numba.recovery import recovery_cores
from nestor_numba.scales import Scales
from nestor_nutpie.sampling import Collected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.protocol import SamplerConfig

    type FloatArray = NDArray[np.float64]
    type Arrays = Mapping[str, FloatArray]

#: Standard normal numbers at a time: 1 MB, so that they are still in the cache when they are used.
_NOISE = 131_072
#: Which of a run's streams of random numbers; nutpie has its own, from the seed itself.
_STREAM = 0x6E657374


@dataclass(frozen=True, eq=False)
class Marginal:
    """A problem whose coefficients are integrated out.

    Parameters
    ----------
    problem : Problem
        A gaussian outcome and Normal priors of population coefficients.
    scales : Scales
        The sampled scalars.
    density : Density
        Of them.
    drawing : numba's C function or None
        Draws coefficients; None for densities only.
    """

    problem: Problem
    scales: Scales
    density: Density
    drawing: Any

    @classmethod
    def build(cls, problem: Problem, *, sampling: bool) -> Self:
        """Take the leaf statistics, lay the tree out, and compile."""
        packed = arena.pack(problem, problem.statistics)
        pieces = pieces_wanted() if sampling else 1
        scratch = np.tile(packed.scratch, (pieces, 1))
        workspace = Workspace(packed.constants, packed.integers, scratch, packed.noise)
        density = Density(compiling.density(packed.shape), workspace, packed.dimension)
        drawing = compiling.drawing(packed.shape) if sampling else None
        return cls(problem, Scales(problem), density, drawing)

    def log_density(self, point: Arrays) -> float:
        """Log density of the scales and sigma, natural scale; coefficients in `point` are not looked at."""
        x = self.scales.flat(point)
        if not self.scales.inside(x):
            return -np.inf
        z = self.scales.unconstrain(x)
        return self.density(z)[0] - float(self.scales.constrain(z)[1])

    def initial(self, seed: Any) -> FloatArray:
        """A starting point: the priors' medians, jittered by Uniform(-1, 1), unconstrained."""
        rng = np.random.default_rng(seed)
        return self.scales.centre + rng.uniform(-1.0, 1.0, self.density.dimension)

    def collect(self, free: Arrays, first: int, config: SamplerConfig) -> Collected:
        """Map draws of the scalars, (chain, draw, d), to all canonical variables; see `Posterior`.

        Coefficients are deferred: they are drawn when somebody wants them.
        """
        z = np.ascontiguousarray(free[POSITION])
        x, log_jacobian = self.scales.constrain(z)
        recovery = Recovery(self, z, first, config.seed, recovery_cores(config))
        return Collected(self.scales.split(x), log_jacobian, recovery)

    def recover(self, z: FloatArray, noise: FloatArray, values: Arrays) -> None:
        """Draw all coefficients jointly and exactly, once for each draw of the scales.

        Parameters
        ----------
        z : ndarray, (draw, d)
            Unconstrained scalars.
        noise : ndarray, (draw, numbers)
            Standard normal; overwritten.
        values : mapping of str to ndarray, (draw, *shape)
            Filled: beta, every beta_<level>, gamma.
        """
        gamma = values.get("gamma", np.zeros(0))
        levels = [values[f"beta_{level.name}"] for level in self.problem.levels]
        data = self.density.workspace.pointers([gamma, values["beta"], *levels])
        call_draw(self.drawing, data, np.ascontiguousarray(z), noise)
        self._inherit(values)

    def _inherit(self, values: Arrays) -> None:
        """Give effects that do not vary their parents' own values: sums of pivots round otherwise."""
        values["beta"][..., ~self.problem.population_mask] = 0.0
        above = values["beta"][..., None, :]
        for level in self.problem.levels:
            own = values[f"beta_{level.name}"]
            for j in range(len(self.problem.effects)):
                if j not in level.varying:
                    own[..., j] = above[..., level.parent, j]
            above = own


@dataclass(frozen=True, eq=False)
class Recovery:
    """Coefficients given draws of the scales, block by block; see `nestor.engines.protocol.Deferred`.

    Parameters
    ----------
    marginal : Marginal
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

    marginal: Marginal
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

    def together(self) -> dict[str, FloatArray]:
        """All of them in memory, (chain, draw, *shape)."""
        return together(self)
