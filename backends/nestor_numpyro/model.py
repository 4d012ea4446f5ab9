"""The model in NumPyro.

Layout. Node coefficients are kept effect by effect, as rows (effect, node), and each row is spread to its
children and to the data by a gather of one vector whose indices are sorted. For 31,022 rows, 2,410 leaves
and 2 effects one value and gradient then took 150 us of one core (float64); a gather of whole rows (node,
effect) took 280 us, segment sums by differences of cumulative sums 220 us, and rows padded to strips of 8
per leaf 160 us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from nestor.resolve import blocks
from nestor_numpyro.distributions import DISTRIBUTIONS

if TYPE_CHECKING:
    from nestor.formulation import Formulation
    from nestor.priors import Prior
    from nestor.problem import LevelDesign, Problem
    from nestor_numpyro.data import ModelData

Model = Callable[["ModelData"], None]


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


def build_model(problem: Problem, formulation: Formulation) -> Model:
    """Write a problem as a NumPyro model.

    The sites and deterministic values named as in `Problem.variables` are the canonical variables.

    Parameters
    ----------
    problem : Problem
        The model and its tree; the arrays come as the model's argument.
    formulation : Formulation
        Which levels are centred.

    Returns
    -------
    callable
        The model, a function of `ModelData`.
    """
    priors = problem.priors
    population = [int(j) for j in problem.population_mask.nonzero()[0]]

    def model(data: ModelData) -> None:
        beta = [jnp.zeros(())] * len(problem.effects)
        for j, value in zip(population, _vector("beta", priors.beta), strict=True):
            beta[j] = value
        numpyro.deterministic("beta", jnp.stack(beta))

        coefficients = beta
        for level, parent in zip(problem.levels, data.parents, strict=True):
            coefficients = [_spread(values, parent) for values in coefficients]
            if len(level.varying):
                tau = _scales(level, priors.tau[level.name])
                centered = formulation.is_centered(level.name)
                _vary(coefficients, level, parent, tau, centered=centered)
            numpyro.deterministic(f"beta_{level.name}", jnp.stack(coefficients, axis=-1))

        eta = sum(
            x * _spread(values, data.leaf) for x, values in zip(data.X, coefficients, strict=True)
        )
        if data.offset is not None:
            eta = eta + data.offset
        if priors.gamma:
            gamma = _vector("gamma", priors.gamma)
            numpyro.deterministic("gamma", jnp.stack(gamma))
            eta = eta + sum(g * z for g, z in zip(gamma, data.Z, strict=True))
        _observe(problem, data, eta)

    return model


def _spread(values: Any, owner: Any) -> Any:
    """Give each child its owner's value, (n,) to (len(owner),); the root's value, (), as it is."""
    if jnp.ndim(values) == 0:
        return jnp.broadcast_to(values, owner.shape)
    return values.at[owner].get(mode="promise_in_bounds", indices_are_sorted=True)


def _vector(name: str, priors: Mapping[str, Prior], size: int | None = None) -> list[Any]:
    """Sample the entries of a vector, one site for each family of priors among them.

    Returns the entries in order, each a scalar, or with `size` a vector of `size` independent ones.
    """
    entries: list[Any] = [None] * len(priors)
    for block in blocks(priors):
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


def _scales(level: LevelDesign, priors: Mapping[str, Prior]) -> list[Any]:
    """Sample a level's standard deviations: per effect a scalar, or a vector (n_parents,)."""
    name = f"tau_{level.name}"
    tau = _vector(name, priors, level.n_parents if level.per_parent else None)
    numpyro.deterministic(name, jnp.stack(tau, axis=-1))
    return tau


def _vary(
    coefficients: list[Any],
    level: LevelDesign,
    parent: Any,
    tau: Sequence[Any],
    *,
    centered: bool,
) -> None:
    """Replace, in place, the inherited values (n,) of the effects that vary at a level."""
    mean = jnp.stack([coefficients[j] for j in level.varying])
    if level.per_parent:
        scale = jnp.stack([_spread(values, parent) for values in tau])
    else:
        scale = jnp.stack(tau)[:, None]
    if centered:
        own = numpyro.sample(coefficient_site(level.name), dist.Normal(mean, scale).to_event(2))
    else:
        standard = dist.Normal(0.0, 1.0).expand(mean.shape).to_event(2)
        own = mean + scale * numpyro.sample(deviation_site(level.name), standard)
    for j, values in zip(level.varying, own, strict=True):
        coefficients[j] = values


def _observe(problem: Problem, data: ModelData, eta: Any) -> None:
    """Condition on the outcome; a weight w makes a row's scale sigma / sqrt(w)."""
    parameters = {
        name: prior.value
        if prior.is_fixed
        else numpyro.sample(name, DISTRIBUTIONS[prior.family](*prior.args))
        for name, prior in problem.priors.family.items()
    }
    scale = parameters["sigma"]
    if data.scale_factor is not None:
        scale = scale * data.scale_factor
    if problem.spec.family == "gaussian":
        outcome = dist.Normal(eta, scale)
    else:
        outcome = dist.StudentT(parameters["nu"], eta, scale)
    numpyro.sample("y", outcome, obs=data.y)
