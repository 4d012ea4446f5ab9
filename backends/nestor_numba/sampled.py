"""Sampled coefficients: the posterior of coefficients and scales together, each level centred or not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nestor_numba import compiling, sampled_arena
from nestor_numba.evaluating import Density, Workspace, pieces_wanted
from nestor_numba.nutpie_model import POSITION
from nestor_numba.population import Population
from nestor_numba.scales import Scales
from nestor_numba.supports import Support
from nestor_nutpie.sampling import Collected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from nestor.data.design import LevelDesign
    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.protocol import SamplerConfig

    type FloatArray = NDArray[np.float64]
    type Arrays = Mapping[str, FloatArray]


@dataclass(frozen=True, eq=False)
class Sampled:
    """A problem whose coefficients are sampled; the point is laid out as `nestor_numba.sampled_arena` says.

    Parameters
    ----------
    problem : Problem
        Model and data.
    formulation : Formulation
        Which levels are centred.
    population : Population
        Its coefficients.
    scales : Scales
        Every tau and the family's parameters.
    density : Density
        Of the whole point.
    """

    problem: Problem
    formulation: Formulation
    population: Population
    scales: Scales
    density: Density

    @classmethod
    def build(cls, problem: Problem, formulation: Formulation, *, sampling: bool) -> Self:
        """Lay rows or leaf statistics and the tree out, and compile."""
        packed = sampled_arena.pack(problem, formulation)
        pieces = pieces_wanted() if sampling else 1
        scratch = np.tile(packed.scratch, (pieces, 1))
        workspace = Workspace(packed.constants, packed.integers, scratch, 0)
        function = compiling.sampled_density(packed.kind)
        density = Density(function, workspace, packed.dimension)
        return cls(problem, formulation, Population.of(problem), Scales(problem), density)

    def log_density(self, point: Arrays) -> float:
        """Log density of all canonical variables, natural scale."""
        x = np.concatenate([self.population.flat(point), self.scales.flat(point)])
        if not self._support.inside(x):
            return -np.inf
        z = np.concatenate([self._support.unconstrain(x), *self._nodes_of(point)])
        return self.density(z)[0] - float(self._constrain(z)[1])

    def _nodes_of(self, point: Arrays) -> Iterator[FloatArray]:
        """Coefficients, or deviations in units of tau, of each level, effect by effect."""
        above = np.where(self.problem.population_mask, point["beta"], 0.0)[None]
        for level in self.problem.levels:
            own = above[level.parent]
            nodes = np.asarray(point[f"beta_{level.name}"], np.float64)[:, level.varying]
            if not level.varying.size:
                above = own
                continue
            tau = level.scale_of_nodes(np.asarray(point[f"tau_{level.name}"], np.float64))
            if self.formulation.is_centered(level.name):
                yield nodes.T.ravel()
            else:
                yield ((nodes - own[:, level.varying]) / tau).T.ravel()
            own[:, level.varying] = nodes
            above = own

    @cached_property
    def _support(self) -> Support:
        """Of all scalars but those of the nodes."""
        return Support((*self.population.priors, *self.scales.priors))

    def _constrain(self, z: FloatArray) -> tuple[dict[str, FloatArray], FloatArray]:
        """All variables but the nodes', of points (..., d), and log |d canonical / d z|."""
        n, end = len(self.population.priors), len(self._support.priors)
        x, log_jacobian = self._support.constrain(z[..., :end])
        found = self.population.split(x[..., :n], len(self.problem.spec.covariates))
        found |= self.scales.split(x[..., n:])
        return found, np.asarray(log_jacobian + np.log(x[..., n:]) @ self._deviations)

    @cached_property
    def _deviations(self) -> FloatArray:
        """How many sampled deviations are in units of each scalar, (n,)."""
        found = []
        for level in self.problem.levels:
            counts = np.bincount(level.parent, minlength=level.n_parents)
            each = counts if level.per_parent else counts.sum(keepdims=True)
            centred = self.formulation.is_centered(level.name)
            found.append(np.repeat(each * (not centred), len(level.varying)))
        counts = np.concatenate([np.zeros(0), *found])
        return np.append(counts, np.zeros(len(self.scales.priors) - len(counts)))

    def initial(self, seed: Any) -> FloatArray:
        """A starting point: the priors' medians, jittered by Uniform(-1, 1).

        Scales and the family's parameters are jittered on the unconstrained space, coefficients in units of
        their priors' scales, nodes about their parents.
        """
        rng = np.random.default_rng(seed)
        u = rng.uniform(-1.0, 1.0, self.density.dimension)
        support, end = self._support, len(self._support.priors)
        # Families on the whole line have location and scale last.
        pairs = zip(support.priors, support.is_real, strict=True)
        units = np.array([prior.args[-1] if real else 1.0 for prior, real in pairs])
        u[:end] = support.centre + units * u[:end]
        found, _ = self._constrain(u)
        above, begin = found["beta"][None], end
        for level in self.problem.levels:
            end = begin + level.n * len(level.varying)
            above, own = above[level.parent], u[begin:end].reshape(-1, level.n).T
            if len(level.varying):
                above[:, level.varying] += level.scale_of_nodes(found[f"tau_{level.name}"]) * own
            if self.formulation.is_centered(level.name):
                u[begin:end] = above[:, level.varying].T.ravel()
            begin = end
        return u

    def collect(self, free: Arrays, first: int, config: SamplerConfig) -> Collected:  # noqa: ARG002 - nothing is drawn
        """Map draws of the point, (chain, draw, d), to all canonical variables; see `Posterior`."""
        z = free[POSITION]
        found, log_jacobian = self._constrain(z)
        above, end = found["beta"][..., None, :], len(self._support.priors)
        for level in self.problem.levels:
            begin, end = end, end + level.n * len(level.varying)
            above = self._below(above, z[..., begin:end], level, found)
            found[f"beta_{level.name}"] = above
        values = {name: found[name] for name in self.problem.variables}
        return Collected(values, log_jacobian, None)

    def _below(
        self, above: FloatArray, z: FloatArray, level: LevelDesign, found: Arrays
    ) -> FloatArray:
        """Coefficients of a level, (..., n, p), by those of the level above."""
        own = np.take(above, level.parent, axis=-2)
        if not level.varying.size:
            return own
        nodes = np.swapaxes(z.reshape(*z.shape[:-1], -1, level.n), -1, -2)
        if self.formulation.is_centered(level.name):
            own[..., level.varying] = nodes
        else:
            own[..., level.varying] += level.scale_of_nodes(found[f"tau_{level.name}"]) * nodes
        return own
