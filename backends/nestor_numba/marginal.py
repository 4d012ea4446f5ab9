"""Marginalized coefficients: the posterior of the scales, and coefficients drawn exactly given them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nestor_numba import arena, compiling
from nestor_numba.evaluating import Density, Workspace, call_draw, pieces_wanted
from nestor_numba.nutpie_model import POSITION
from nestor_numba.scales import Scales

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor.problem import Problem

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

    def collect(
        self, free: Arrays, first: int, seed: int
    ) -> tuple[dict[str, FloatArray], FloatArray]:
        """Map draws of the scalars, (chain, draw, d), to all canonical variables; see `Collect`."""
        z = np.ascontiguousarray(free[POSITION])
        x, log_jacobian = self.scales.constrain(z)
        found = self.scales.split(x)
        lead = z.shape[:2]
        names = self._coefficients()
        values = {n: np.empty((*lead, *self.problem.variables[n].shape)) for n in names}
        self.recover(z, first, seed, values)
        found |= values
        return {name: found[name] for name in self.problem.variables}, log_jacobian

    def _coefficients(self) -> list[str]:
        return [v.name for v in self.problem.variables.values() if v.role in ("population", "node")]

    def recover(self, z: FloatArray, first: int, seed: int, values: Arrays) -> None:
        """Draw all coefficients jointly and exactly, once for each draw of the scales.

        Parameters
        ----------
        z : ndarray, (chain, draw, d)
            Unconstrained scalars.
        first : int
            Number of the first draw in its chain: a draw's noise depends on seed, chain and number only.
        seed : int
            Of the run.
        values : mapping of str to ndarray, (chain, draw, *shape)
            Filled: beta, every beta_<level>, gamma.
        """
        chains, draws = z.shape[:2]
        gamma = values.get("gamma", np.zeros(0))
        levels = [values[f"beta_{level.name}"] for level in self.problem.levels]
        targets = [gamma, values["beta"], *levels]
        data = self.density.workspace.pointers(targets)
        size = max(1, _NOISE // self.density.workspace.noise)

        def work(chain: int, block: int) -> None:
            begin, end = max(block * size, first), min((block + 1) * size, first + draws)
            rng = np.random.Generator(np.random.SFC64([_STREAM, seed, chain, block]))
            noise = rng.standard_normal((end - block * size, self.density.workspace.noise))
            here = noise[begin - block * size :]
            call_draw(self.drawing, data, chain * draws + begin - first, z, here)

        jobs = [
            (chain, block)
            for chain in range(chains)
            for block in range(first // size, (first + draws - 1) // size + 1)
        ]
        with ThreadPoolExecutor(_usable_cores(), thread_name_prefix="nestor-recovery") as pool:
            for future in [pool.submit(work, *job) for job in jobs]:
                future.result()
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


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
