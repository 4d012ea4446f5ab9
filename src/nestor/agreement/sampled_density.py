"""After sampling: is the log density that was really sampled the reference's?

The density of step 0 may be compiled apart from the one that a sampler walks on. A sampler reports the
latter as ``lp``, on its unconstrained space, and the log-Jacobian of the way from there to the canonical
variables. Their difference is the log density at the draw: of all variables, or of the scales alone where
coefficients are marginalized.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor.agreement.density import DensityCheck, compare_densities
from nestor.agreement.surrogate_rows import rounding_of_sums, surrogate_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.protocol import DType

N_DRAWS = 20


def check_sampled_density(
    problem: Problem,
    contender: str,
    dtype: DType,
    values: Mapping[str, NDArray[np.float64]],
    stats: Mapping[str, NDArray[np.generic]],
    reference: Callable[[Mapping[str, NDArray[np.float64]]], float],
    *,
    marginalized: bool = False,
) -> DensityCheck | None:
    """Compare ``lp - log_jacobian`` at some draws with the reference's log density there.

    Parameters
    ----------
    problem : Problem
        Model and data.
    contender : str
        The engine's name.
    dtype : {"float64", "float32"}
        Its precision.
    values : mapping of str to ndarray, (chain, draw, *shape)
        Draws of the canonical variables.
    stats : mapping of str to ndarray, (chain, draw)
        The sampler's statistics.
    reference : callable
        The reference's log density of the same formulation at a point.
    marginalized : bool
        Whether that is the density of the scales alone; coefficients, which are then drawn and not sampled,
        have no part in it, nor has their rounding.

    Returns
    -------
    DensityCheck or None
        None if the sampler does not report ``lp`` and ``log_jacobian``, or has no draw with scales that a
        density is about.
    """
    if not {"lp", "log_jacobian"} <= set(stats):
        return None
    lp = np.asarray(stats["lp"], dtype=np.float64)
    log_jacobian = np.asarray(stats["log_jacobian"], dtype=np.float64)
    usable = usable_scales(problem, values)
    at = [where for where in _spread(*lp.shape) if usable[where]]
    if not at:
        return None
    points = [{name: array[where] for name, array in values.items()} for where in at]
    found = [float(lp[where] - log_jacobian[where]) for where in at]
    eps = float(np.finfo(dtype).eps)
    rounding = [rounding_of_sums(problem, point, marginalized=marginalized) for point in points]
    if not marginalized:
        own = (_rounding(problem, point, eps) for point in points)
        rounding = [a + b for a, b in zip(rounding, own, strict=True)]
    return compare_densities(contender, dtype, [reference(p) for p in points], found, rounding)


def usable_scales(problem: Problem, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
    """In which draws every scale and family parameter is finite and greater than zero, (chain, draw).

    In others the reference has nothing to say: NaN the gates find, and zero is where rounding ends.
    """
    found = np.ones(values["beta"].shape[:2], dtype=bool)
    for variable in problem.variables.values():
        if variable.role in ("scale", "family"):
            array = values[variable.name].reshape(*found.shape, -1)
            found &= ((array > 0) & np.isfinite(array)).all(axis=-1)
    return found


def _rounding(problem: Problem, point: Mapping[str, NDArray[np.float64]], eps: float) -> float:
    """Bound the effect of rounded coefficients on the log density, by its first and second derivative.

    A sampler that moves deviations z = (beta - parent) / tau returns beta, rounded by eps |beta|; the
    reference recovers z from it, off by eps |beta| / tau. With tau near zero that is many digits; so are
    residuals where sigma is small beside the outcome.
    """
    values = problem.with_inherited(point)
    above = values["beta"][None, :]
    linear = curved = 0.0
    with np.errstate(all="ignore"):
        for level in problem.levels:
            nodes = values[f"beta_{level.name}"]
            if len(level.varying):
                tau = level.scale_of_nodes(values[f"tau_{level.name}"])
                own, parent = nodes[:, level.varying], above[level.parent][:, level.varying]
                error = eps * (np.abs(own) + np.abs(parent)) / tau
                linear += float(np.sum((error * (own - parent) / tau) ** 2))
                curved += float(np.sum(error**2))
            above = nodes
        error, slope = _residuals(problem, values, eps)
        linear += float(np.sum((error * slope) ** 2))
        curved += float(np.sum(error**2))
    # Four standard deviations of independent roundings, and the mean of their squares.
    return float(4.0 * np.sqrt(linear) + 2.0 * curved)


def _residuals(
    problem: Problem, values: Mapping[str, NDArray[np.float64]], eps: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rounding of each row's residual, in its scale, and the slope of its log density there, (N,).

    Where rows are not in memory, of those that stand for them.
    """
    family = {
        name: prior.value if prior.is_fixed else float(values[name])
        for name, prior in problem.priors.family.items()
    }
    rows = surrogate_rows(problem)
    nodes = values[f"beta_{problem.levels[-1].name}"][rows.leaf]
    terms = [rows.y, *(-rows.X * nodes).T]
    if problem.spec.covariates:
        terms += list((-rows.Z * values["gamma"]).T)
    if rows.offset is not None:
        terms.append(-rows.offset)
    weights = np.ones(len(rows.y)) if rows.weights is None else rows.weights
    scale = family["sigma"] / np.sqrt(weights)
    z = np.sum(terms, axis=0) / scale
    slope = (family["nu"] + 1.0) * z / (family["nu"] + z**2) if "nu" in family else z
    return eps * np.sum(np.abs(terms), axis=0) / scale, slope


def _spread(n_chain: int, n_draw: int) -> list[tuple[int, int]]:
    """Chains and draws of `N_DRAWS` evenly spread positions, all chains among them where that is possible."""
    flat = np.unique(np.linspace(0, n_chain * n_draw - 1, N_DRAWS).round().astype(np.intp))
    return [(int(i) // n_draw, int(i) % n_draw) for i in flat]
