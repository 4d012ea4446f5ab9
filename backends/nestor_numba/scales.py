"""The sampled scalars of marginalized coefficients: every tau and sigma, on the unconstrained space."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor.priors import Prior
    from nestor.problem import Problem, Variable

    type FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scales:
    """The scalars in the order of the compiled functions: level by level, then sigma unless it is known.

    Positive ones are logs, those of (a, b) are log((x - a) / (b - x)).

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
        found: list[Prior] = []
        for variable in self.variables:
            if variable.role == "family":
                found.append(self.problem.priors.family[variable.name])
                continue
            by_effect = list(self.problem.priors.tau[variable.name.removeprefix("tau_")].values())
            found += by_effect * (variable.random.size // len(by_effect))
        return tuple(found)

    @cached_property
    def _bounds(self) -> tuple[FloatArray, FloatArray]:
        bounds = np.array([prior.bounds for prior in self.priors]).reshape(-1, 2)
        return bounds[:, 0], bounds[:, 1]

    def flat(self, point: Mapping[str, FloatArray]) -> FloatArray:
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

    def inside(self, x: FloatArray) -> bool:
        """Whether all entries, (d,), are inside their priors' supports."""
        low, high = self._bounds
        return bool(np.all((x > low) & (x < high)))

    def unconstrain(self, x: FloatArray) -> FloatArray:
        """Entries to the unconstrained space."""
        low, high = self._bounds
        bounded = np.isfinite(high)
        with np.errstate(all="ignore"):
            return np.where(bounded, np.log((x - low) / (high - x)), np.log(x))

    def constrain(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Entries, (..., d), of unconstrained scalars, and sums of log |dx/dz|, (...)."""
        low, high = self._bounds
        bounded = np.isfinite(high)
        width = np.where(bounded, high - low, 1.0)
        with np.errstate(over="ignore"):
            small = np.exp(-np.abs(z))
            share = np.where(z > 0, 1.0, small) / (1.0 + small)
            x = np.where(bounded, low + width * share, np.exp(z))
        logs = np.log(width) - np.abs(z) - 2.0 * np.log1p(small)
        return x, np.where(bounded, logs, z).sum(axis=-1)

    @cached_property
    def centre(self) -> FloatArray:
        """The priors' medians, unconstrained, (d,)."""
        medians = np.array([float(prior.scipy().ppf(0.5)) for prior in self.priors])
        return self.unconstrain(medians)
