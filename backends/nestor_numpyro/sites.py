"""Names of the models' sites, prior families in NumPyro, and the sites that every formulation samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from nestor.data.resolved_priors import prior_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nestor.data.problem import LevelDesign, Problem
    from nestor.model.priors import Prior


#: From a family's name to a distribution of its parameters, in the order of `nestor.model.priors`.
#: NumPyro calls InverseGamma's scale "rate". It has no half Student-t: folding the symmetric one at zero
#: doubles its density.
DISTRIBUTIONS: Mapping[str, Callable[..., Any]] = {
    "Normal": dist.Normal,
    "StudentT": dist.StudentT,
    "Cauchy": dist.Cauchy,
    "HalfNormal": dist.HalfNormal,
    "HalfStudentT": lambda nu, sigma: dist.FoldedDistribution(dist.StudentT(nu, 0.0, sigma)),
    "HalfCauchy": dist.HalfCauchy,
    "Exponential": dist.Exponential,
    "Gamma": dist.Gamma,
    "InverseGamma": dist.InverseGamma,
    "LogNormal": dist.LogNormal,
    "Uniform": dist.Uniform,
}


def block_site(variable: str, family: str) -> str:
    """Name of the site that holds those entries of a vector whose priors are of one family.

    Sites that are not canonical variables carry a slash, which a level's name may not contain.
    """
    return f"{variable}/{family}"


def deviation_site(level: str) -> str:
    """Name of the site of a non-centred level's standardized deviations, (q, n)."""
    return f"{level}/deviation"


def coefficient_site(level: str) -> str:
    """Name of the site of a centred level's coefficients, (q, n)."""
    return f"{level}/coefficient"


def sample_vector(name: str, priors: Mapping[str, Prior], size: int | None = None) -> list[Any]:
    """Sample the entries of a vector, one site for each family of priors among them.

    Returns the entries in order, each a scalar, or with `size` a vector of `size` independent ones.
    """
    entries: list[Any] = [None] * len(priors)
    for block in prior_blocks(priors):
        if size is None:
            prior = DISTRIBUTIONS[block.family](*block.args).to_event(1)
        else:
            columns = (arg[:, None] for arg in block.args)
            shape = (len(block.positions), size)
            prior = DISTRIBUTIONS[block.family](*columns).expand(shape).to_event(2)
        site = numpyro.sample(block_site(name, block.family), prior)
        for position, value in zip(block.positions, site, strict=True):
            entries[position] = value
    return entries


def sample_scales(level: LevelDesign, priors: Mapping[str, Prior]) -> list[Any]:
    """Sample a level's standard deviations: per effect a scalar, or a vector (n_parents,)."""
    name = f"tau_{level.name}"
    tau = sample_vector(name, priors, level.n_parents if level.per_parent else None)
    numpyro.deterministic(name, jnp.stack(tau, axis=-1))
    return tau


def sample_family(problem: Problem) -> dict[str, Any]:
    """Sample the family's parameters; a known one is its value."""
    return {
        name: prior.value
        if prior.is_fixed
        else numpyro.sample(name, DISTRIBUTIONS[prior.family](*prior.args))
        for name, prior in problem.priors.family.items()
    }
