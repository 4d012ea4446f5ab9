"""Sampled coefficients: the posterior of coefficients and scales together, each level centred or not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nestor_numba import compiling, locations, sampled_arena
from nestor_numba.evaluating import Density, Workspace, pieces_wanted
from nestor_numba.nutpie_model import POSITION
from nestor_numba.scales import Scales
from nestor_nutpie.sampling import Collected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from nestor.design import LevelDesign
    from nestor.formulation import Formulation
    from nestor.problem import Problem

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
    scales : Scales
        Every tau and the family's parameters.
    density : Density
        Of the whole point.
    """

    problem: Problem
    formulation: Formulation
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
        return cls(problem, formulation, Scales(problem), density)

    def log_density(self, point: Arrays) -> float:
        """Log density of all canonical variables, natural scale."""
        x = self.scales.flat(point)
        if not self.scales.inside(x):
            return -np.inf
        z = np.concatenate(
            [
                np.asarray(point["beta"], np.float64)[self.problem.population_mask],
                np.asarray(point.get("gamma", np.zeros(0)), np.float64),
                self.scales.unconstrain(x),
                *self._nodes_of(point),
            ]
        )
        return self.density(z)[0] - float(self._log_jacobian(z))

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
    def _ends(self) -> tuple[int, int]:
        """Where locations, and where scalars end."""
        found = len(self._locations)
        return found, found + len(self.scales.priors)

    @cached_property
    def _locations(self) -> list[Any]:
        return [*self.problem.priors.beta.values(), *self.problem.priors.gamma.values()]

    def _log_jacobian(self, z: FloatArray) -> FloatArray:
        """Log |d canonical / d z| of points (..., d)."""
        first, last = self._ends
        x, found = self.scales.constrain(z[..., first:last])
        return np.asarray(found) + np.log(x) @ self._deviations

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
        first, last = self._ends
        median, spread = locations.spread(self._locations)
        u[:first] = median + spread * u[:first]
        u[first:last] += self.scales.centre
        tau = self.scales.split(self.scales.constrain(u[first:last])[0])
        beta = np.zeros(len(self.problem.effects))
        beta[self.problem.population_mask] = u[: self.problem.population_mask.sum()]
        above, begin = beta[None], last
        for level in self.problem.levels:
            end = begin + level.n * len(level.varying)
            above, own = above[level.parent], u[begin:end].reshape(-1, level.n).T
            if len(level.varying):
                above[:, level.varying] += level.scale_of_nodes(tau[f"tau_{level.name}"]) * own
            if self.formulation.is_centered(level.name):
                u[begin:end] = above[:, level.varying].T.ravel()
            begin = end
        return u

    def collect(self, free: Arrays, first: int, seed: int) -> Collected:  # noqa: ARG002 - nothing is drawn
        """Map draws of the point, (chain, draw, d), to all canonical variables; see `Posterior`."""
        z = free[POSITION]
        begin, end = self._ends
        found = self.scales.split(self.scales.constrain(z[..., begin:end])[0])
        mask = self.problem.population_mask
        beta = np.zeros((*z.shape[:-1], len(mask)))
        beta[..., mask] = z[..., : mask.sum()]
        found["beta"] = beta
        if self.problem.priors.gamma:
            found["gamma"] = np.ascontiguousarray(z[..., mask.sum() : begin])
        above = beta[..., None, :]
        for level in self.problem.levels:
            begin, end = end, end + level.n * len(level.varying)
            above = self._below(above, z[..., begin:end], level, found)
            found[f"beta_{level.name}"] = above
        values = {name: found[name] for name in self.problem.variables}
        return Collected(values, self._log_jacobian(z), None)

    def _below(
        self, above: FloatArray, z: FloatArray, level: LevelDesign, found: Arrays
    ) -> FloatArray:
        """Coefficients of a level, (..., n, p), by those of the level above."""
        own = above[..., level.parent, :]
        if not level.varying.size:
            return own
        nodes = np.swapaxes(z.reshape(*z.shape[:-1], -1, level.n), -1, -2)
        if self.formulation.is_centered(level.name):
            own[..., level.varying] = nodes
        else:
            own[..., level.varying] += level.scale_of_nodes(found[f"tau_{level.name}"]) * nodes
        return own
