"""Marginalized coefficients: the posterior of the scales, and coefficients drawn exactly given them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nestor.engines.coordinates import ScaleCoordinates
from nestor_numba import tree
from nestor_numba.evaluating import Density, Workspace, call_draw, pieces_wanted
from nestor_numba.kernels import compiling
from nestor_numba.recovery import ConditionalDraws, recovery_cores
from nestor_nutpie.sampling import Collected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nestor.data.problem import Problem
    from nestor.engines.protocol import SamplerConfig
    from nestor.stats.arrays import FloatArray

    type Arrays = Mapping[str, FloatArray]


@dataclass(frozen=True, eq=False)
class MarginalPosterior:
    """A problem whose coefficients are integrated out.

    Parameters
    ----------
    problem : Problem
        A gaussian outcome and Normal priors of population coefficients.
    scales : ScaleCoordinates
        The sampled scalars.
    density : Density
        Of them.
    drawing : numba's C function or None
        Draws coefficients; None for densities only.
    """

    problem: Problem
    scales: ScaleCoordinates
    density: Density
    drawing: Any

    @classmethod
    def build(cls, problem: Problem, *, sampling: bool) -> Self:
        """Take the leaf statistics, lay the tree out, and compile."""
        packed = tree.pack(problem, problem.statistics)
        pieces = pieces_wanted() if sampling else 1
        scratch = np.tile(packed.scratch, (pieces, 1))
        workspace = Workspace(packed.constants, packed.integers, scratch, packed.noise)
        density = Density(compiling.density(packed.shape), workspace, packed.dimension)
        drawing = compiling.drawing(packed.shape) if sampling else None
        return cls(problem, ScaleCoordinates(problem), density, drawing)

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

    def collect(self, z: FloatArray, first: int, config: SamplerConfig) -> Collected:
        """Map draws of the scalars, (chain, draw, d), to all canonical variables; see `Posterior`.

        Coefficients are deferred: they are drawn when somebody wants them.
        """
        z = np.ascontiguousarray(z)
        x, log_jacobian = self.scales.constrain(z)
        coefficients = ConditionalDraws(self, z, first, config.seed, recovery_cores(config))
        return Collected(self.scales.split(x), log_jacobian, coefficients)

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
