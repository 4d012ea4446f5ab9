"""The model in NumPyro.

Layout. Node coefficients are kept effect by effect, as rows (effect, node), and each row is spread to its
children and to the data by a gather of one vector whose indices are sorted. For 31,022 rows, 2,410 leaves
and 2 effects one value and gradient then took 150 us of one core (float64); a gather of whole rows (node,
effect) took 280 us, segment sums by differences of cumulative sums 220 us, and rows padded to strips of 8
per leaf 160 us.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from nestor_numpyro.sites import (
    coefficient_site,
    deviation_site,
    sample_family,
    sample_scales,
    sample_vector,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.data.problem import LevelDesign, Problem
    from nestor.engines.formulation import Formulation
    from nestor_numpyro.data import ModelData, RowsData, StatisticsData

Model = Callable[["ModelData"], None]

_LOG_TWO_PI = math.log(2.0 * math.pi)


def build_model(problem: Problem, formulation: Formulation) -> Model:
    """Write a problem as a NumPyro model.

    The sites and deterministic values named as in `Problem.variables` are the canonical variables.

    Parameters
    ----------
    problem : Problem
        The model and its tree; the arrays come as the model's argument.
    formulation : Formulation
        Which levels are centred, and whether the likelihood is over rows or by statistics.

    Returns
    -------
    callable
        The model, a function of `RowsData` or `StatisticsData`.
    """
    priors = problem.priors
    population = [int(j) for j in problem.population_mask.nonzero()[0]]

    by_leaf = formulation.likelihood == "statistics" and problem.spec.family == "gaussian"
    observe = _statistics if by_leaf else _rows

    def model(data: Any) -> None:
        beta = [jnp.zeros(())] * len(problem.effects)
        for j, value in zip(population, sample_vector("beta", priors.beta), strict=True):
            beta[j] = value
        numpyro.deterministic("beta", jnp.stack(beta))

        coefficients = beta
        for level, parent in zip(problem.levels, data.parents, strict=True):
            coefficients = [_spread(values, parent) for values in coefficients]
            if len(level.varying):
                tau = sample_scales(level, priors.tau[level.name])
                centered = formulation.is_centered(level.name)
                _vary(coefficients, level, parent, tau, centered=centered)
            numpyro.deterministic(f"beta_{level.name}", jnp.stack(coefficients, axis=-1))
        gamma = []
        if priors.gamma:
            gamma = sample_vector("gamma", priors.gamma)
            numpyro.deterministic("gamma", jnp.stack(gamma))
        observe(problem, data, coefficients, gamma)

    return model


def _spread(values: Any, owner: Any) -> Any:
    """Give each child its owner's value, (n,) to (len(owner),); the root's value, (), as it is."""
    if jnp.ndim(values) == 0:
        return jnp.broadcast_to(values, owner.shape)
    return values.at[owner].get(mode="promise_in_bounds", indices_are_sorted=True)


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


def _rows(
    problem: Problem, data: RowsData, coefficients: Sequence[Any], gamma: Sequence[Any]
) -> None:
    """Condition on the outcome of each row; a weight w makes its scale sigma / sqrt(w)."""
    eta = sum(
        x * _spread(values, data.leaf) for x, values in zip(data.X, coefficients, strict=True)
    )
    if data.offset is not None:
        eta = eta + data.offset
    if gamma:
        eta = eta + sum(g * z for g, z in zip(gamma, data.Z, strict=True))
    parameters = sample_family(problem)
    scale = parameters["sigma"]
    if data.scale_factor is not None:
        scale = scale * data.scale_factor
    if problem.spec.family == "gaussian":
        outcome = dist.Normal(eta, scale)
    else:
        outcome = dist.StudentT(parameters["nu"], eta, scale)
    if data.count is None:
        numpyro.sample("y", outcome, obs=data.y)
    else:
        numpyro.factor("y", jnp.sum(data.count * outcome.log_prob(data.y)))


def _statistics(
    problem: Problem, data: StatisticsData, coefficients: Sequence[Any], gamma: Sequence[Any]
) -> None:
    """Condition on each leaf's gaussian outcomes by its statistics; see `nestor.data.statistics.leaf`."""
    sigma = sample_family(problem)["sigma"]
    one = jnp.stack(
        [jnp.ones(()), *(at - g for g, at in zip(gamma, data.gamma_pivot, strict=True))]
    )
    away = [
        sum(g * m for g, m in zip(one, fit, strict=True)) - values
        for fit, values in zip(data.fit, coefficients, strict=True)
    ]
    squares = one @ data.residual @ one
    for row in data.root:
        squares = squares + jnp.sum(sum(u * v for u, v in zip(row, away, strict=True)) ** 2)
    constant = data.sum_log_weights - data.n_rows * (_LOG_TWO_PI + 2.0 * jnp.log(sigma))
    numpyro.factor("y", 0.5 * (constant - squares / sigma**2))
