"""The log Jacobian of the draws, in NumPy and double precision, from the canonical variables alone.

NumPyro's own transforms are not asked: what they left out of the sampled density they would leave out
here too, and nobody would see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor.data.problem import LevelDesign, Problem
    from nestor.engines.formulation import Formulation
    from nestor.model.priors import Prior


def log_jacobian(
    problem: Problem, formulation: Formulation, values: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Sum of log |d canonical / d unconstrained| over all parameters, for each draw.

    With u the unconstrained value, a positive parameter is exp(u), and one of (a, b) is
    a + (b - a) / (1 + exp(-u)). A coefficient of a non-centred level is its parent's plus tau times u.
    Marginalized coefficients are no parameters.

    Parameters
    ----------
    problem : Problem
        Priors and tree.
    formulation : Formulation
        Which levels are centred, and whether coefficients are marginalized.
    values : mapping of str to ndarray, (chain, draw, *shape)
        Draws of every canonical variable.

    Returns
    -------
    ndarray of float64, (chain, draw)
        Minus infinity where a draw was rounded to a bound of its support.
    """
    priors = problem.priors
    with np.errstate(divide="ignore"):
        terms = []
        if not formulation.is_marginalized:
            terms += _of_vector(priors.beta, values["beta"][..., problem.population_mask])
            terms += _of_vector(priors.gamma, values["gamma"]) if priors.gamma else []
        for level in problem.levels:
            if len(level.varying):
                tau = values[f"tau_{level.name}"]
                terms += _of_vector(priors.tau[level.name], tau)
                if not (formulation.is_marginalized or formulation.is_centered(level.name)):
                    terms.append(_of_deviations(level, tau))
        family = {name: p for name, p in priors.family.items() if not p.is_fixed}
        terms += [_of_support(prior, values[name]) for name, prior in family.items()]
        return np.sum([_per_draw(term) for term in terms], axis=0)


def _per_draw(term: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over all but chain and draw."""
    return np.asarray(term.reshape(*term.shape[:2], -1).sum(axis=-1))


def _of_vector(
    priors: Mapping[str, Prior], draws: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Terms of a vector whose entries, along the last axis, have these priors."""
    return [_of_support(prior, draws[..., j]) for j, prior in enumerate(priors.values())]


def _of_support(prior: Prior, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log |dx/du| of each value."""
    lower, upper = prior.bounds
    if not np.isfinite(lower):
        return np.zeros_like(x)
    if not np.isfinite(upper):
        return np.asarray(np.log(x))
    share = (x - lower) / (upper - lower)
    return np.asarray(np.log(upper - lower) + np.log(share) + np.log1p(-share))


def _of_deviations(level: LevelDesign, tau: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each node's log tau; nodes of one parent share theirs."""
    nodes = np.bincount(level.parent, minlength=level.n_parents) if level.per_parent else level.n
    return np.asarray(np.log(tau).sum(axis=-1) * nodes)
