"""From canonical variables to the unconstrained space that a sampler moves in, and back, in NumPy.

A positive scalar x is log x there, one of (a, b) is log((x - a) / (b - x)), and one of the whole line is
itself. Coefficients of a centred level are themselves, and those of a non-centred level are
(beta - beta of the parent) / tau.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from nestor.data.design import LevelDesign, Variable
    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.model.priors import Prior
    from nestor.stats.arrays import FloatArray

    type Arrays = Mapping[str, FloatArray]

__all__ = [
    "Coordinates",
    "PopulationCoordinates",
    "PriorTransform",
    "ScaleCoordinates",
    "log_jacobian",
]


def log_jacobian(problem: Problem, formulation: Formulation, values: Arrays) -> FloatArray:
    """Return log |d canonical / d unconstrained| at draws, from the draws and the priors' bounds alone.

    A backend that reports this as the statistic ``log_jacobian`` beside its library's ``lp`` has its sampled
    density checked: a Jacobian that the library forgot is not forgotten here.

    Parameters
    ----------
    problem : Problem
        Priors and tree.
    formulation : Formulation
        Which levels are centred. Coefficients that are marginalized are not sampled, and not looked at.
    values : mapping of str to ndarray, (chain, draw, *shape)
        Draws of the canonical variables.

    Returns
    -------
    ndarray of float64, (chain, draw)
        Minus infinity where a draw was rounded to an end of its support.
    """
    lead = next(iter(values.values())).shape[:2]
    total = np.zeros(lead)
    with np.errstate(divide="ignore"):
        for name, positions, prior in problem.priors.entries():
            if name in values and not (formulation.is_marginalized and name in ("beta", "gamma")):
                x = values[name].reshape(*lead, -1)[..., positions]
                total += _log_slope(prior, x).sum(axis=-1)
        for level in problem.levels:
            if formulation.is_marginalized or formulation.is_centered(level.name):
                continue
            if len(level.varying):
                # d beta / d z = tau of the node's parent, or of the level
                log_tau = np.log(values[f"tau_{level.name}"]).sum(axis=-1)
                children = np.bincount(level.parent, minlength=level.n_parents)
                total += log_tau @ children if level.per_parent else log_tau * level.n
    return total


def _log_slope(prior: Prior, x: FloatArray) -> FloatArray:
    """Log |dx / du| of each value, u being what stands for it on the unconstrained space."""
    lower, upper = prior.bounds
    if np.isinf(lower):
        return np.zeros_like(x)
    if np.isinf(upper):
        return np.asarray(np.log(x - lower))
    share = (x - lower) / (upper - lower)
    return np.asarray(np.log(upper - lower) + np.log(share) + np.log1p(-share))


@dataclass(frozen=True, eq=False)
class PriorTransform:
    """Scalars x with priors, and what stands for them on the unconstrained space, z.

    Parameters
    ----------
    priors : tuple of Prior
        One for each scalar.
    """

    priors: tuple[Prior, ...]

    @cached_property
    def _bounds(self) -> tuple[FloatArray, FloatArray]:
        bounds = np.array([prior.bounds for prior in self.priors]).reshape(-1, 2)
        return bounds[:, 0], bounds[:, 1]

    @cached_property
    def is_real(self) -> NDArray[np.bool_]:
        """Which scalars may be any number, (d,)."""
        return np.isneginf(self._bounds[0])

    def inside(self, x: FloatArray) -> bool:
        """Whether all entries, (d,), are inside their priors' supports."""
        low, high = self._bounds
        return bool(np.all((x > low) & (x < high)))

    def unconstrain(self, x: FloatArray) -> FloatArray:
        """Entries to the unconstrained space."""
        low, high = self._bounds
        bounded = np.isfinite(high)
        with np.errstate(all="ignore"):
            positive = np.where(bounded, np.log((x - low) / (high - x)), np.log(x))
        return np.where(self.is_real, x, positive)

    def constrain(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Entries, (..., d), of unconstrained scalars, and sums of log |dx/dz|, (...)."""
        low, high = self._bounds
        bounded = np.isfinite(high) & ~self.is_real
        width = np.where(bounded, high, 1.0) - np.where(bounded, low, 0.0)
        with np.errstate(all="ignore"):
            small = np.exp(-np.abs(z))
            share = np.where(z > 0, 1.0, small) / (1.0 + small)
            x = np.where(bounded, low + width * share, np.where(self.is_real, z, np.exp(z)))
        logs = np.log(width) - np.abs(z) - 2.0 * np.log1p(small)
        return x, np.where(bounded, logs, np.where(self.is_real, 0.0, z)).sum(axis=-1)

    @cached_property
    def centre(self) -> FloatArray:
        """The priors' medians, unconstrained, (d,)."""
        medians = np.array([float(prior.scipy().ppf(0.5)) for prior in self.priors])
        return self.unconstrain(medians)


@dataclass(frozen=True, eq=False)
class PopulationCoordinates:
    """Coefficients beta that are not fixed, and gamma, those on the whole line first.

    Parameters
    ----------
    priors : tuple of Prior
        In the order in which they are sampled.
    order : ndarray, (n,)
        Of each, its position among beta and gamma as the problem has them, p + c.
    real : int
        How many are on the whole line.
    p : int
        Number of effects.
    """

    priors: tuple[Prior, ...]
    order: NDArray[np.intp]
    real: int
    p: int

    @classmethod
    def of(cls, problem: Problem) -> PopulationCoordinates:
        """Those of a problem."""
        p, begin = len(problem.effects), {"beta": 0, "gamma": len(problem.effects)}
        found = {
            begin[name] + int(position): prior
            for name, positions, prior in problem.priors.entries()
            if name in begin
            for position in positions
        }
        confined = {j for j, prior in found.items() if np.isfinite(prior.bounds[0])}
        order = [j for j in sorted(found) if j not in confined] + sorted(confined)
        priors = tuple(found[j] for j in order)
        return cls(priors, np.array(order, np.intp), len(found) - len(confined), p)

    def flat(self, point: Arrays) -> FloatArray:
        """Coefficients in the order in which they are sampled, (n,)."""
        parts = [
            np.ravel(np.asarray(point[n], np.float64)) for n in ("beta", "gamma") if n in point
        ]
        return np.concatenate(parts)[self.order]

    def split(self, x: FloatArray, c: int) -> dict[str, FloatArray]:
        """The canonical variables beta and gamma of (..., n), with c covariates."""
        whole = np.zeros((*x.shape[:-1], self.p + c))
        whole[..., self.order] = x
        found = {"beta": np.ascontiguousarray(whole[..., : self.p])}
        if c:
            found["gamma"] = np.ascontiguousarray(whole[..., self.p :])
        return found


@dataclass(frozen=True, eq=False)
class ScaleCoordinates:
    """Every tau, level by level, then the family's parameters unless they are known.

    Parameters
    ----------
    problem : Problem
        Model and data.
    """

    problem: Problem

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """Their canonical variables."""
        return tuple(v for v in self.problem.variables.values() if v.role in ("scale", "family"))

    @cached_property
    def priors(self) -> tuple[Prior, ...]:
        """One for each scalar."""
        of: dict[tuple[str, int], Prior] = {
            (name, int(position)): prior
            for name, positions, prior in self.problem.priors.entries()
            for position in positions
        }
        return tuple(of[v.name, j] for v in self.variables for j in range(v.random.size))

    def flat(self, point: Arrays) -> FloatArray:
        """Entries of the variables one after another, (d,)."""
        parts = [np.ravel(np.asarray(point[v.name], np.float64)) for v in self.variables]
        return np.concatenate([np.zeros(0), *parts])

    def split(self, x: FloatArray) -> dict[str, FloatArray]:
        """Variables, (..., *shape), of flat entries, (..., d)."""
        found, begin = {}, 0
        for variable in self.variables:
            end = begin + variable.random.size
            part = np.ascontiguousarray(x[..., begin:end])
            found[variable.name] = part.reshape((*x.shape[:-1], *variable.shape))
            begin = end
        return found

    @cached_property
    def _transform(self) -> PriorTransform:
        return PriorTransform(self.priors)

    def inside(self, x: FloatArray) -> bool:
        """Whether all entries, (d,), are inside their priors' supports."""
        return self._transform.inside(x)

    def unconstrain(self, x: FloatArray) -> FloatArray:
        """Entries to the unconstrained space; see `PriorTransform`."""
        return self._transform.unconstrain(x)

    def constrain(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Entries, (..., d), of unconstrained scalars, and sums of log |dx/dz|, (...)."""
        return self._transform.constrain(z)

    @property
    def centre(self) -> FloatArray:
        """The priors' medians, unconstrained, (d,)."""
        return self._transform.centre


@dataclass(frozen=True, eq=False)
class Coordinates:
    """All random scalars of a problem as one vector z of the unconstrained space, (..., d).

    First the population's coefficients, in the order of `PopulationCoordinates`; then every tau and the
    family's parameters, in the order of `ScaleCoordinates`; then level by level, effect by effect, the
    nodes' coefficients, or their deviations in units of tau where the level is not centred.

    Parameters
    ----------
    problem : Problem
        Model and data.
    formulation : Formulation
        Which levels are centred.
    """

    problem: Problem
    formulation: Formulation

    @cached_property
    def population(self) -> PopulationCoordinates:
        """Its coefficients."""
        return PopulationCoordinates.of(self.problem)

    @cached_property
    def scales(self) -> ScaleCoordinates:
        """Every tau and the family's parameters."""
        return ScaleCoordinates(self.problem)

    @cached_property
    def above(self) -> PriorTransform:
        """Population coefficients and scales, without the nodes."""
        return PriorTransform((*self.population.priors, *self.scales.priors))

    @property
    def dimension(self) -> int:
        """Number of scalars, d."""
        nodes = sum(level.n * len(level.varying) for level in self.problem.levels)
        return len(self.above.priors) + nodes

    def inside(self, point: Arrays) -> bool:
        """Whether a point of the canonical variables is inside the supports of all priors."""
        return self.above.inside(self._flat(point))

    def unconstrain(self, point: Arrays) -> FloatArray:
        """Canonical variables, inside their supports, to the vector z, (d,)."""
        return np.concatenate([self.above.unconstrain(self._flat(point)), *self._nodes_of(point)])

    def _flat(self, point: Arrays) -> FloatArray:
        return np.concatenate([self.population.flat(point), self.scales.flat(point)])

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

    def constrain_above(self, z: FloatArray) -> tuple[dict[str, FloatArray], FloatArray]:
        """All variables but the nodes' at points (..., d), and log |d canonical / d z|, (...)."""
        n, end = len(self.population.priors), len(self.above.priors)
        x, log_slopes = self.above.constrain(z[..., :end])
        found = self.population.split(x[..., :n], len(self.problem.spec.covariates))
        found |= self.scales.split(x[..., n:])
        return found, np.asarray(log_slopes + np.log(x[..., n:]) @ self._deviations)

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

    def constrain(self, z: FloatArray) -> tuple[dict[str, FloatArray], FloatArray]:
        """Map points to the canonical variables.

        Parameters
        ----------
        z : ndarray, (..., d)
            Points; leading axes are kept.

        Returns
        -------
        values : dict of str to ndarray, (..., *shape)
            Every variable of `Problem.variables`, inherited and fixed entries filled in.
        log_jacobian : ndarray, (...)
            log |d canonical / d z|.
        """
        found, log_slopes = self.constrain_above(z)
        above, end = found["beta"][..., None, :], len(self.above.priors)
        for level in self.problem.levels:
            begin, end = end, end + level.n * len(level.varying)
            above = self._below(above, z[..., begin:end], level, found)
            found[f"beta_{level.name}"] = above
        return {name: found[name] for name in self.problem.variables}, log_slopes

    def _below(
        self, above: FloatArray, z: FloatArray, level: LevelDesign, found: Arrays
    ) -> FloatArray:
        """Coefficients of a level, (..., n, p), given the coefficients of the level above."""
        own = np.take(above, level.parent, axis=-2)
        if not level.varying.size:
            return own
        nodes = np.swapaxes(z.reshape(*z.shape[:-1], -1, level.n), -1, -2)
        if self.formulation.is_centered(level.name):
            own[..., level.varying] = nodes
        else:
            own[..., level.varying] += level.scale_of_nodes(found[f"tau_{level.name}"]) * nodes
        return own

    def start(self, rng: np.random.Generator) -> FloatArray:
        """Draw a starting point, (d,): the priors' medians, jittered by Uniform(-1, 1).

        Scales and the family's parameters are jittered on the unconstrained space, coefficients in units of
        their priors' scales, nodes about their parents.
        """
        u = rng.uniform(-1.0, 1.0, self.dimension)
        transform, end = self.above, len(self.above.priors)
        # Families on the whole line have location and scale last.
        pairs = zip(transform.priors, transform.is_real, strict=True)
        units = np.array([prior.args[-1] if real else 1.0 for prior, real in pairs])
        u[:end] = transform.centre + units * u[:end]
        found, _ = self.constrain_above(u)
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
