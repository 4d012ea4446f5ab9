"""Population coefficients: which there are, and in which order they are sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.model.priors import Prior

    type FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Population:
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
    def of(cls, problem: Problem) -> Self:
        """Of a problem."""
        beta, gamma = problem.priors.beta, list(problem.priors.gamma.values())
        p = len(problem.effects)
        found = {j: beta[e] for j, e in enumerate(problem.effects) if e in beta}
        found |= dict(enumerate(gamma, start=p))
        confined = {j for j, prior in found.items() if np.isfinite(prior.bounds[0])}
        order = [j for j in found if j not in confined] + sorted(confined)
        priors = tuple(found[j] for j in order)
        return cls(priors, np.array(order, np.intp), len(found) - len(confined), p)

    def flat(self, point: Mapping[str, FloatArray]) -> FloatArray:
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
