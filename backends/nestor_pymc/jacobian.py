"""The log Jacobian of the draws: from the space that the samplers see to the canonical variables.

It is worked out here from the draws and the priors' supports, and not asked of PyMC's transforms: a
Jacobian that were missing from the sampled density would be missing from both, and cancel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from nestor.model.priors import Prior
    from nestor_pymc.variables import Variables

    Values = Mapping[str, NDArray[np.float64]]


def log_jacobian(variables: Variables, values: Values) -> NDArray[np.float64]:
    """Return log |d canonical / d unconstrained| at each draw.

    The samplers see log x of a positive parameter x, log((x - a) / (b - x)) of one in (a, b), and the
    deviations z = (beta - beta of the parent) / tau of a non-centred level, and nothing of marginalized
    coefficients.

    Parameters
    ----------
    variables : Variables
        The free random variables.
    values : mapping of str to ndarray, (chain, draw, *shape)
        Draws of the canonical variables, but for coefficients that are marginalized.

    Returns
    -------
    ndarray of float64, (chain, draw)
        Minus infinity where a parameter has been rounded to the end of its support.
    """
    lead = next(iter(values.values())).shape[:2]
    total = np.zeros(lead)
    with np.errstate(divide="ignore"):
        for prior, entries in _parameters(variables, values):
            total += _of_support(prior, entries.reshape(*lead, -1))
        for level in variables.problem.levels:
            if level.name in variables.node and not variables.is_centered(level):
                # d beta / d z = tau of the node's parent, or of the level
                log_tau = np.log(values[f"tau_{level.name}"]).sum(axis=-1)
                children = np.bincount(level.parent, minlength=level.n_parents)
                total += log_tau @ children if level.per_parent else log_tau * level.n
    return total


def _parameters(
    variables: Variables, values: Values
) -> Iterator[tuple[Prior, NDArray[np.float64]]]:
    """Each prior with the draws of the parameters that have it, (chain, draw, ...)."""
    problem = variables.problem
    priors = problem.priors
    vectors = []
    if variables.beta is not None:
        vectors.append((priors.beta, values["beta"][..., problem.population_mask]))
    vectors += [(priors.tau[name], values[f"tau_{name}"]) for name in variables.tau]
    if variables.gamma is not None:
        vectors.append((priors.gamma, values["gamma"]))
    for by_entry, draws in vectors:
        yield from zip(by_entry.values(), np.moveaxis(draws, -1, 0), strict=True)
    for name in variables.family:
        yield priors.family[name], values[name]


def _of_support(prior: Prior, x: NDArray[np.float64]) -> NDArray[np.float64] | float:
    """Log derivative of the way back from the unconstrained space, summed over the last axis."""
    lower, upper = prior.bounds
    if np.isinf(lower):
        return 0.0
    if np.isinf(upper):
        return np.asarray(np.log(x - lower).sum(axis=-1))
    return np.asarray((np.log(x - lower) + np.log(upper - x) - np.log(upper - lower)).sum(axis=-1))
