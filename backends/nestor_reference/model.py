"""The densities of a problem, written from the mathematics: a sum over its parts."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nestor.engines.support import needs_sampler
from nestor.errors import Unsupported
from nestor_reference.gaussian import read_scales

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.protocol import Draws, ProgressCallback, SamplerConfig
    from nestor.model.priors import Prior
    from nestor_exact.theta import Theta
    from nestor_reference.data import LeafRoots
    from nestor_reference.messages import MessagePassing


class ReferenceModel:
    """The log density of a problem, and its sampler.

    Parameters
    ----------
    problem : Problem
        Model and data.
    theta : Theta or None
        The posterior of the scales, to sample from; None for densities only.
    passing : MessagePassing or None
        If given the density is that of the scales, coefficients integrated out; if not the joint one.
    """

    def __init__(
        self,
        problem: Problem,
        theta: Theta | None = None,
        passing: MessagePassing | None = None,
    ) -> None:
        self._problem = problem
        self._theta = theta
        self._passing = passing

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None = None) -> Draws:
        """Draw from the posterior; see `nestor_exact.sampling.sample`.

        Raises
        ------
        Unsupported
            If the model was compiled for densities only, or for vectorized chains.
        EngineFailed
            If no proposal fits the posterior well enough.
        """
        theta = needs_sampler(self._theta)
        if config.chain_method == "vectorized":
            raise Unsupported("the reference runs chains sequential or parallel, not vectorized.")
        from nestor_exact.sampling import sample

        marginalized = self._passing is not None
        return sample(self._problem, theta, config, on_progress, marginalized=marginalized)

    def log_density(self, point: Mapping[str, NDArray[np.float64]]) -> float:
        """Log density at a point of the canonical variables, all constants included.

        log p(y, beta, theta) = log p(beta) + log p(gamma) + log p(family) + sum_k log p(tau_k)
        + sum_k sum_v log Normal(beta_v; beta_pa(v), tau_k) + sum_i log Family(y_i; eta_i); with coefficients
        integrated out log p(y, theta) = log p(family) + sum_k log p(tau_k) + log p(y | theta).
        """
        if self._passing is not None:
            return self._log_marginal(self._passing, point)
        values = self._problem.with_inherited(point)
        parts = self.log_parts(values)
        # Outside a prior's support the rest may be undefined (a negative scale); the density is zero.
        if parts["priors"] == -np.inf:
            return -np.inf
        return float(sum(parts.values()))

    def _log_marginal(
        self, passing: MessagePassing, point: Mapping[str, NDArray[np.float64]]
    ) -> float:
        prior = self._log_priors_of_scales(point)
        if prior == -np.inf:
            return -np.inf
        scales, _ = read_scales(self._problem, point)
        one = {name: array[None] for name, array in scales.items()}
        return prior + float(passing.up(one).log_marginal[0])

    def log_conditional(self, point: Mapping[str, NDArray[np.float64]]) -> float:
        """Log density of a point's coefficients given the outcome and its scales, all of them jointly.

        Raises
        ------
        Unsupported
            If the model was compiled with sampled coefficients.
        """
        one = {name: np.asarray(array)[None, None] for name, array in point.items()}
        return float(self._conditional(one)[1][0])

    def whitened(self, values: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        """Return the noise of the coefficients of draws: of exact ones, independent standard normal numbers.

        Parameters
        ----------
        values : mapping of str to ndarray, (chain, draw, *shape)
            Draws of every canonical variable.

        Returns
        -------
        dict of str to ndarray, (chain, draw, *shape)
            Of beta, every beta_<level> and gamma; 0 where an entry is inherited or fixed.

        Raises
        ------
        Unsupported
            If the model was compiled with sampled coefficients.
        """
        found, _ = self._conditional(values)
        return {name: array.reshape(values[name].shape) for name, array in found.items()}

    def _conditional(
        self, values: Mapping[str, NDArray[np.float64]]
    ) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
        """Noise and log density of the coefficients of draws, one after another."""
        if self._passing is None:
            raise Unsupported("only a model with marginalized coefficients knows their density.")
        passing = self._passing
        filled = self._problem.with_inherited(values)
        scales, _ = read_scales(self._problem, filled)
        flat = {n: a.reshape(-1, *a.shape[2:]) for n, a in (filled | scales).items()}
        n = len(flat["beta"])
        parts = []
        for begin in range(0, n, passing.batch):
            some = {name: array[begin : begin + passing.batch] for name, array in flat.items()}
            parts.append(passing.whiten(passing.up(some), some))
        noise = {m: np.concatenate([part.values[m] for part in parts]) for m in parts[0].values}
        return noise, np.concatenate([part.log_density for part in parts])

    def log_parts(self, values: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """Return the terms of the joint density: priors, one term per level, likelihood."""
        parts = {"priors": self._log_priors(values)}
        if parts["priors"] == -np.inf:
            return parts
        for level in self._problem.levels:
            parts[level.name] = self._log_level(level.name, values)
        parts["likelihood"] = (
            float(np.sum(self.log_likelihood(values)))
            if self._problem.has_rows
            else self._log_likelihood_of_leaves(values)
        )
        return parts

    @cached_property
    def _roots(self) -> LeafRoots:
        """What stands for rows that are not in memory."""
        from nestor_reference.data import roots_of

        return roots_of(self._problem)

    def _log_likelihood_of_leaves(self, values: Mapping[str, NDArray[np.float64]]) -> float:
        """Log density of the whole outcome, which is gaussian, from square roots of the leaves."""
        problem, roots = self._problem, self._roots
        gamma = values["gamma"] if problem.spec.covariates else np.zeros(0)
        squares = roots.squared_residuals(values[f"beta_{problem.levels[-1].name}"], gamma)
        prior = problem.priors.family["sigma"]
        sigma = prior.value if prior.is_fixed else float(values["sigma"])
        constants = 0.5 * roots.sum_log_weights - roots.n_rows * np.log(sigma * np.sqrt(2 * np.pi))
        return float(constants - 0.5 * squares / sigma**2)

    def _log_priors(self, values: Mapping[str, NDArray[np.float64]]) -> float:
        problem, priors = self._problem, self._problem.priors
        total = 0.0
        for j, effect in enumerate(problem.effects):
            if effect in priors.beta:
                total += _log_prior(priors.beta[effect], values["beta"][j])
        for j, prior in enumerate(priors.gamma.values()):
            total += _log_prior(prior, values["gamma"][j])
        return total + self._log_priors_of_scales(values)

    def _log_priors_of_scales(self, values: Mapping[str, NDArray[np.float64]]) -> float:
        priors, total = self._problem.priors, 0.0
        for level, by_effect in priors.tau.items():
            for j, prior in enumerate(by_effect.values()):
                total += _log_prior(prior, values[f"tau_{level}"][..., j])
        for name, prior in priors.family.items():
            if not prior.is_fixed:
                total += _log_prior(prior, values[name])
        return total

    def _log_level(self, name: str, values: Mapping[str, NDArray[np.float64]]) -> float:
        """Sum over nodes and varying effects of log Normal(beta_v; beta_pa(v), tau)."""
        from scipy import stats

        position = [level.name for level in self._problem.levels].index(name)
        level = self._problem.levels[position]
        if len(level.varying) == 0:
            return 0.0
        if position == 0:
            above = values["beta"][np.newaxis, :]
        else:
            above = values[f"beta_{self._problem.levels[position - 1].name}"]
        mean = above[level.parent][:, level.varying]
        tau = values[f"tau_{name}"]
        sd = tau[level.parent] if level.per_parent else np.broadcast_to(tau, mean.shape)
        nodes = values[f"beta_{name}"][:, level.varying]
        return float(np.sum(stats.norm.logpdf(nodes, loc=mean, scale=sd)))

    def log_likelihood(self, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Log density of each row's outcome, (N,); rows sorted by leaf.

        Raises
        ------
        DataError
            If the rows are not in memory.
        """
        from scipy import stats

        problem = self._problem
        nodes = values[f"beta_{problem.levels[-1].name}"][problem.leaf]
        eta = np.sum(problem.X * nodes, axis=1)
        if problem.spec.covariates:
            eta = eta + problem.Z @ values["gamma"]
        if problem.offset is not None:
            eta = eta + problem.offset
        family = {
            name: prior.value if prior.is_fixed else float(values[name])
            for name, prior in problem.priors.family.items()
        }
        weights = np.ones(problem.n_rows) if problem.weights is None else problem.weights
        scale = family["sigma"] / np.sqrt(weights)
        if problem.spec.family == "gaussian":
            found = stats.norm.logpdf(problem.y, loc=eta, scale=scale)
        else:
            found = stats.t.logpdf(problem.y, df=family["nu"], loc=eta, scale=scale)
        return np.asarray(found, dtype=np.float64)


def _log_prior(prior: Prior, value: NDArray[np.float64] | np.float64) -> float:
    low, high = prior.bounds
    # SciPy's supports include their ends, where a scale of 0 leaves the rest of the density undefined.
    if np.any((value <= low) | (value >= high)):
        return -np.inf
    return float(np.sum(prior.scipy().logpdf(value)))
