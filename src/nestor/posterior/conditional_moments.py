"""Exact means and standard deviations of all coefficients given the scales, without draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nestor.data.problem import check_problem
from nestor.errors import SpecError
from nestor.errors.arguments import floats
from nestor.posterior.message_passing import Predictive

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import ArrayLike

    from nestor.data.problem import Problem
    from nestor.stats.arrays import FloatArray


class ConditionalMoments(NamedTuple):
    """Means and standard deviations of beta, every beta_<level> and gamma, with their coordinates."""

    mean: xr.Dataset
    sd: xr.Dataset


def conditional_moments(problem: Problem, scales: Mapping[str, ArrayLike]) -> ConditionalMoments:
    """Means and standard deviations of the coefficients given the outcome and one set of scales.

    They are the moments of the exact draws that a marginalized engine makes at these scales (for the method
    see `nestor.posterior.message_passing.predictive`). Their means, averaged over draws of the scales, are
    posterior means with less Monte Carlo error than the means of the draws (Rao-Blackwell).

    Parameters
    ----------
    problem : Problem
        A gaussian outcome and Normal priors of population coefficients; rows need not be in memory.
    scales : mapping of str to array_like
        Every tau_<level>, and sigma unless it is known, in canonical shapes; other names are ignored.

    Returns
    -------
    ConditionalMoments
        Labelled as draws are; an effect that is fixed at zero has mean and sd zero.

    Raises
    ------
    SpecError
        If a scale is missing, has another shape, or is no finite number or negative, or sigma is not
        greater than zero; or if `problem` is none, or `scales` no mapping.
    Unsupported
        If coefficients do not integrate out exactly.
    """
    import xarray as xr

    check_problem(problem)
    found = Predictive.of_leaves(problem).moments(_read(problem, scales))
    p = len(problem.effects)
    names = ["beta", *(f"beta_{level.name}" for level in problem.levels)]
    parts: list[dict[str, tuple[tuple[str, ...], FloatArray]]] = [{}, {}]
    for which, values in enumerate(parts):
        for name, moments in zip(names, found, strict=True):
            array = moments[which][:p, :, 0].T
            values[name] = (problem.variables[name].dims, array[0] if name == "beta" else array)
        beta = np.where(problem.population_mask, values["beta"][1], 0.0)
        values["beta"] = (values["beta"][0], beta)
        if problem.spec.covariates:
            values["gamma"] = (("covariate",), found[0][which][p:, 0, 0])
    coords = {name: (problem.coord_dims[name], value) for name, value in problem.coords.items()}
    used = {"effect", "covariate", *(level.name for level in problem.levels)}
    kept = {name: value for name, value in coords.items() if value[0] in used}
    mean, sd = (xr.Dataset(values, coords=kept) for values in parts)
    return ConditionalMoments(mean, sd)


def _read(problem: Problem, scales: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    """Check the scales and give each one leading axis."""
    if not hasattr(scales, "keys"):
        raise SpecError(
            "scales are wanted as a mapping of names to numbers, such as {'tau_g': [1.0], 'sigma': 1.0}, "
            f"not {type(scales).__name__}."
        )
    found = {}
    for variable in problem.variables.values():
        if variable.role not in ("scale", "family"):
            continue
        if variable.name not in scales:
            raise SpecError(f"the scales lack {variable.name}.")
        array = floats(variable.name, scales[variable.name])
        if array.shape != variable.shape:
            raise SpecError(
                f"{variable.name} has shape {array.shape}; it must be {variable.shape}."
            )
        positive = variable.role == "family"
        if not np.all(np.isfinite(array) & (array > 0 if positive else array >= 0)):
            raise SpecError(
                f"{variable.name} must be finite and {'positive' if positive else 'at least zero'} "
                "throughout."
            )
        found[variable.name] = array[None]
    sigma = problem.priors.family["sigma"]
    if sigma.is_fixed:
        found["sigma"] = np.array([sigma.value])
    return found
