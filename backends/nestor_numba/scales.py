"""The sampled scalars of marginalized coefficients: every tau and sigma, on the unconstrained space."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nestor_numba.supports import Support

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor.data.problem import Problem, Variable
    from nestor.model.priors import Prior

    type FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scales:
    """The scalars in the order of the compiled functions: level by level, then sigma unless it is known.

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

    @cached_property
    def _support(self) -> Support:
        return Support(self.priors)

    def inside(self, x: FloatArray) -> bool:
        """Whether all entries, (d,), are inside their priors' supports."""
        return self._support.inside(x)

    def unconstrain(self, x: FloatArray) -> FloatArray:
        """Entries to the unconstrained space; see `Support`."""
        return self._support.unconstrain(x)

    def constrain(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Entries, (..., d), of unconstrained scalars, and sums of log |dx/dz|, (...)."""
        return self._support.constrain(z)

    @property
    def centre(self) -> FloatArray:
        """The priors' medians, unconstrained, (d,)."""
        return self._support.centre
