"""Sampled coefficients: the posterior of coefficients and scales together, each level centred or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nestor.engines.coordinates import Coordinates
from nestor_numba import data
from nestor_numba.evaluating import Density, Workspace, pieces_wanted
from nestor_numba.kernels import compiling
from nestor_nutpie.sampling import Collected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.protocol import SamplerConfig
    from nestor.stats.arrays import FloatArray

    type Arrays = Mapping[str, FloatArray]


@dataclass(frozen=True, eq=False)
class JointPosterior:
    """A problem whose coefficients are sampled.

    Parameters
    ----------
    coordinates : Coordinates
        The problem, and how the sampled point is laid out.
    density : Density
        Of the whole point.
    """

    coordinates: Coordinates
    density: Density

    @classmethod
    def build(cls, problem: Problem, formulation: Formulation, *, sampling: bool) -> Self:
        """Lay rows or leaf statistics and the tree out, and compile."""
        packed = data.pack(problem, formulation)
        pieces = pieces_wanted() if sampling else 1
        scratch = np.tile(packed.scratch, (pieces, 1))
        workspace = Workspace(packed.constants, packed.integers, scratch, 0)
        function = compiling.sampled_density(packed.kind)
        density = Density(function, workspace, packed.dimension)
        return cls(Coordinates(problem, formulation), density)

    def log_density(self, point: Arrays) -> float:
        """Log density of all canonical variables, natural scale."""
        if not self.coordinates.inside(point):
            return -np.inf
        z = self.coordinates.unconstrain(point)
        return self.density(z)[0] - float(self.coordinates.constrain_above(z)[1])

    def initial(self, seed: Any) -> FloatArray:
        """A starting point; see `Coordinates.start`."""
        return self.coordinates.start(np.random.default_rng(seed))

    def collect(self, z: FloatArray, first: int, config: SamplerConfig) -> Collected:  # noqa: ARG002 - nothing is drawn
        """Map draws of the point, (chain, draw, d), to all canonical variables; see `Posterior`."""
        return Collected(*self.coordinates.constrain(z), None)
