"""When coefficients are Gaussian given the scales, and the moments of their priors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import SpecError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from nestor.data.problem import Problem, Variable
    from nestor.stats.arrays import FloatArray


def require_gaussian(problem: Problem) -> None:
    """Refuse a problem whose coefficients are no Gaussian given the scales.

    Raises
    ------
    Unsupported
        For an outcome that is not gaussian, or a population coefficient whose prior is not Normal.
    """
    if problem.spec.family != "gaussian":
        raise Unsupported(
            f"the exact reference integrates coefficients out of gaussian outcomes only, and the "
            f"outcome {problem.spec.outcome!r} is {problem.spec.family}. Use a sampler."
        )
    beta, gamma = problem.priors.beta, problem.priors.gamma
    by_address = {f"beta[{name}]": prior for name, prior in beta.items()}
    by_address |= {f"gamma[{name}]": prior for name, prior in gamma.items()}
    for address, prior in by_address.items():
        if prior.family != "Normal":
            raise Unsupported(
                f"the exact reference needs Normal priors of population coefficients, and the prior "
                f"of {address} is {prior}. Give it a Normal prior, or use a sampler."
            )


def root_moments(problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Prior mean and standard deviation of the population's effects, each (p,); 0 where fixed at zero."""
    mean, sd = np.zeros(len(problem.effects)), np.zeros(len(problem.effects))
    for j, effect in enumerate(problem.effects):
        if effect in problem.priors.beta:
            mean[j], sd[j] = problem.priors.beta[effect].args
    return mean, sd


def covariate_moments(problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Prior mean and standard deviation of gamma, each (c,)."""
    pairs = np.array([prior.args for prior in problem.priors.gamma.values()]).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def scale_variables(problem: Problem) -> tuple[Variable, ...]:
    """Return the variables that are scales: every tau, and sigma unless its value is known."""
    return tuple(v for v in problem.variables.values() if v.role in ("scale", "family"))


def read_scales(
    problem: Problem, scales: Mapping[str, ArrayLike]
) -> tuple[dict[str, FloatArray], tuple[int, ...]]:
    """Check scales and give all of them the same leading axes.

    Parameters
    ----------
    problem : Problem
        Model and data.
    scales : mapping of str to array_like, (..., *shape)
        Every tau_<level>, and sigma unless it is fixed, in canonical shapes; other names are ignored.

    Returns
    -------
    scales : dict of str to ndarray, (*batch, *shape)
        With the known value under sigma where it is fixed.
    batch : tuple of int
        The leading axes, broadcast together.

    Raises
    ------
    SpecError
        If one is missing, has another shape, is negative (a tau) or not positive (sigma).
    """
    variables = scale_variables(problem)
    if missing := [v.name for v in variables if v.name not in scales]:
        raise SpecError(f"the scales lack {', '.join(missing)}.")
    found, leading = {}, []
    for v in variables:
        array = np.asarray(scales[v.name], dtype=np.float64)
        lead = array.ndim - len(v.shape)
        if lead < 0 or array.shape[lead:] != v.shape:
            raise SpecError(
                f"{v.name} has shape {array.shape}; its last dimensions must be {v.shape}."
            )
        if not np.all(array >= 0) or (v.role == "family" and not np.all(array > 0)):
            raise SpecError(f"{v.name} must be positive numbers.")
        found[v.name] = array
        leading.append(array.shape[:lead])
    batch = np.broadcast_shapes(*leading)
    sigma = problem.priors.family["sigma"]
    if sigma.is_fixed:
        found["sigma"] = np.broadcast_to(np.float64(sigma.value), batch)
    shapes = {v.name: v.shape for v in variables}
    return {n: np.broadcast_to(a, (*batch, *shapes.get(n, ()))) for n, a in found.items()}, batch


def prior_mean_of_rows(problem: Problem) -> FloatArray:
    """Mean of each row's outcome under the priors of the coefficients, (N,): offset + X m0 + Z m_gamma."""
    mean = problem.X @ root_moments(problem)[0]
    if problem.spec.covariates:
        mean = mean + problem.Z @ covariate_moments(problem)[0]
    return mean if problem.offset is None else mean + problem.offset


def weights_of_rows(problem: Problem) -> FloatArray:
    """Weight of each row, (N,); ones where the model has none."""
    return np.ones(problem.n_rows) if problem.weights is None else problem.weights
