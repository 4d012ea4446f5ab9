"""Log density at a point of the canonical variables."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpyro.infer.util import log_density as site_log_density

from nestor.data.resolved_priors import prior_blocks
from nestor_numpyro.sites import block_site, coefficient_site, deviation_site

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.model.priors import Prior
    from nestor_numpyro.data import ModelData
    from nestor_numpyro.execution import Execution
    from nestor_numpyro.model import Model

Point = Mapping[str, "NDArray[np.float64]"]


class LogDensity:
    """The log density of one model, with respect to its canonical variables; compiled once.

    The data are an argument, so that models which differ in their outcome only share it.

    Parameters
    ----------
    problem : Problem
        Names, shapes and priors of the variables.
    formulation : Formulation
        Which levels are centred: for the others the change of variables from deviations to
        coefficients costs minus the sum of the logarithms of their scales. Where coefficients are
        marginalized, those of a point are not looked at.
    model : callable
        The NumPyro model.
    execution : Execution
        Device and precision.
    """

    def __init__(
        self, problem: Problem, formulation: Formulation, model: Model, execution: Execution
    ) -> None:
        self._problem = problem
        self._formulation = formulation
        self._model = model
        self._execution = execution
        self._program: Callable[..., Any] | None = None

    def compile(self, data: ModelData) -> Callable[..., Any]:
        """Compile for data of these shapes, unless that is done; the data stay an argument."""
        import jax

        if self._program is None:
            model = self._model

            def density(sites: Mapping[str, Any], data: ModelData) -> Any:
                return site_log_density(model, (data,), {}, sites)[0]

            example = {v.name: np.ones(v.shape) for v in self._problem.variables.values()}
            with self._execution.scope():
                sites, _ = self._sites(example)
                self._program = jax.jit(density).lower(sites, data).compile()
        return self._program

    def __call__(self, point: Point, data: ModelData) -> float:
        """Log density at `point`, given `data`; minus infinity outside the support."""
        entries = _scales(self._problem, point)
        if not self._formulation.is_marginalized:
            entries = itertools.chain(entries, _coefficients(self._problem, point))
        if not all(_inside(prior, value) for prior, value in entries):
            return -math.inf
        program = self.compile(data)
        sites, jacobian = self._sites(point)
        with self._execution.scope():
            return float(program(sites, data)) + jacobian

    def _sites(self, point: Point) -> tuple[dict[str, NDArray[Any]], float]:
        """Values of the model's sites at a point, and the log Jacobian of getting there."""
        problem, priors = self._problem, self._problem.priors
        sites: dict[str, NDArray[Any]] = {}
        for level in problem.levels:
            if len(level.varying):
                name = f"tau_{level.name}"
                sites |= _block_values(name, priors.tau[level.name], np.asarray(point[name]))
        for name, prior in priors.family.items():
            if not prior.is_fixed:
                sites[name] = np.asarray(point[name])
        jacobian = 0.0
        if not self._formulation.is_marginalized:
            more, jacobian = self._coefficient_sites(problem.with_inherited(point))
            sites |= more
        return {
            n: np.ascontiguousarray(v, self._execution.dtype) for n, v in sites.items()
        }, jacobian

    def _coefficient_sites(self, point: Point) -> tuple[dict[str, NDArray[Any]], float]:
        """Values of the coefficients' sites, and the log Jacobian of getting from them to coefficients."""
        problem, priors = self._problem, self._problem.priors
        sites = _block_values("beta", priors.beta, point["beta"][problem.population_mask])
        if priors.gamma:
            sites |= _block_values("gamma", priors.gamma, point["gamma"])
        jacobian = 0.0
        above = np.where(problem.population_mask, point["beta"], 0.0)[None, :]
        for level in problem.levels:
            own = point[f"beta_{level.name}"]
            if len(level.varying):
                tau = point[f"tau_{level.name}"]
                values = own[:, level.varying]
                if self._formulation.is_centered(level.name):
                    sites[coefficient_site(level.name)] = values.T
                else:
                    scale = level.scale_of_nodes(tau)
                    mean = above[level.parent][:, level.varying]
                    sites[deviation_site(level.name)] = ((values - mean) / scale).T
                    jacobian -= float(np.log(scale).sum())
            above = own
        return sites, jacobian


def _block_values(
    name: str, priors: Mapping[str, Prior], values: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Split the last axis of `values` by prior family, as the model's sites have it: (q, ...)."""
    return {
        block_site(name, block.family): np.asarray(values)[..., list(block.positions)].T
        for block in prior_blocks(priors)
    }


def _coefficients(problem: Problem, point: Point) -> Iterator[tuple[Prior, Any]]:
    """Priors of the population's coefficients with the values that they govern."""
    priors = problem.priors
    beta = np.asarray(point["beta"])[problem.population_mask]
    yield from zip(priors.beta.values(), beta, strict=True)
    if priors.gamma:
        yield from zip(priors.gamma.values(), np.asarray(point["gamma"]), strict=True)


def _scales(problem: Problem, point: Point) -> Iterator[tuple[Prior, Any]]:
    """Priors of scales and of the family's parameters with the values that they govern."""
    priors = problem.priors
    for level in problem.levels:
        if len(level.varying):
            tau = np.asarray(point[f"tau_{level.name}"])
            yield from zip(priors.tau[level.name].values(), tau.T, strict=True)
    for name, prior in priors.family.items():
        if not prior.is_fixed:
            yield prior, point[name]


def _inside(prior: Prior, value: Any) -> bool:
    lower, upper = prior.bounds
    return bool(np.all((lower < np.asarray(value)) & (np.asarray(value) < upper)))
