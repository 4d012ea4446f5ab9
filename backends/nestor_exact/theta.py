"""theta: the scales and sigma without constraints, and the log posterior of theta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nestor.engines.coordinates import ScaleCoordinates
from nestor_exact.scores import from_scores, to_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nestor.data.problem import Problem
    from nestor.stats.arrays import FloatArray


class Passes(Protocol):
    """What a backend knows of the coefficients given the scales, for many sets of scales at once."""

    @property
    def batch(self) -> int:
        """Sets of scales at once beyond which memory, not time, would grow."""
        ...

    def up(self, scales: Mapping[str, FloatArray]) -> Any:
        """Integrate the coefficients out of scales, (B, *shape); the result has `log_marginal`, (B,)."""
        ...

    def down(self, up: Any, noise: Callable[[tuple[int, ...]], FloatArray]) -> Any:
        """Draw the coefficients: `values` by name, (B, *shape), and their `log_density`, (B,)."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """What is known at points of theta.

    Parameters
    ----------
    log_posterior : ndarray, (n,)
        log p(y, theta) with respect to theta: priors, Jacobian and marginal; minus infinity where it is 0.
    log_jacobian : ndarray, (n,)
        log |d scales / d theta|.
    """

    log_posterior: FloatArray
    log_jacobian: FloatArray


class Theta:
    """The unconstrained scales of a problem, (..., d): one entry after another, in the variables' order.

    An entry x with prior support (0, inf) has u = log x; one with bounds, u = log((x - lower) / (upper - x)).
    theta are the scores of u about a centre (see `nestor_exact.scores`): u = centre + log G(theta).

    Parameters
    ----------
    problem : Problem
        A gaussian outcome and Normal priors of population coefficients.
    passing : Passes
        The coefficients, integrated out and drawn.
    centre : ndarray, (d,), or None
        u at theta = 0; None for the priors' medians.
    """

    def __init__(self, problem: Problem, passing: Passes, centre: FloatArray | None = None) -> None:
        self._problem = problem
        self._passing = passing
        scales = ScaleCoordinates(problem)
        self._variables, self.priors = scales.variables, scales.priors
        self._distributions = [prior.scipy() for prior in self.priors]
        bounds = np.array([prior.bounds for prior in self.priors]).reshape(-1, 2)
        self._low, self._high = bounds[:, 0], bounds[:, 1]
        if centre is None:
            self._centre = np.zeros(len(self.priors))
            self._centre = self._unbound(np.array([d.ppf(0.5) for d in self._distributions]))
        else:
            self._centre = centre

    def __len__(self) -> int:
        return len(self.priors)

    @property
    def passing(self) -> Passes:
        """The passes over the tree."""
        return self._passing

    @property
    def known_sigma(self) -> float | None:
        """The residual scale where its value is given, else None."""
        sigma = self._problem.priors.family["sigma"]
        return sigma.value if sigma.is_fixed else None

    def centred(self, point: FloatArray) -> Theta:
        """Return the same posterior with its origin at a point, (d,), of this one."""
        return Theta(self._problem, self._passing, self._centre + from_scores(point)[0])

    def unconstrain(self, x: FloatArray) -> FloatArray:
        """Canonical entries to theta, (..., d)."""
        return to_scores(self._unbound(x) - self._centre)

    def _unbound(self, x: FloatArray) -> FloatArray:
        from scipy.special import logit

        with np.errstate(divide="ignore", invalid="ignore"):
            bounded = logit((x - self._low) / (self._high - self._low))
            return np.asarray(np.where(np.isfinite(self._high), bounded, np.log(x - self._low)))

    def constrain(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Theta to canonical entries, (..., d), and the logs of their derivatives, (..., d)."""
        from scipy.special import expit, log_expit

        scored, slope = from_scores(theta)
        u = self._centre + scored
        bounded = np.isfinite(self._high)
        width = np.where(bounded, self._high - self._low, 1.0)
        with np.errstate(over="ignore"):
            x = self._low + np.where(bounded, width * expit(u), np.exp(u))
        outer = np.where(bounded, np.log(width) + log_expit(u) + log_expit(-u), u)
        return x, outer + slope

    def scales(self, theta: FloatArray) -> dict[str, FloatArray]:
        """Canonical scales at theta, (n, d): each (n, *shape), and sigma also where it is known."""
        x, _ = self.constrain(theta)
        found, begin = {}, 0
        for variable in self._variables:
            end = begin + variable.random.size
            found[variable.name] = x[:, begin:end].reshape(len(x), *variable.shape)
            begin = end
        if self.known_sigma is not None:
            found["sigma"] = np.full(len(x), self.known_sigma)
        return found

    def log_prior(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log prior of the canonical entries, (n,), and the transform's log-Jacobian, (n,)."""
        x, slopes = self.constrain(theta)
        # At an end, where rounding put it, the rest of the density is undefined.
        inside = np.all((x > self._low) & (x < self._high), axis=-1)
        total = np.zeros(len(x))
        with np.errstate(all="ignore"):
            for j, distribution in enumerate(self._distributions):
                total = total + distribution.logpdf(x[:, j])
        return np.where(inside, total, -np.inf), slopes.sum(axis=-1)

    def evaluate(self, theta: FloatArray) -> Evaluation:
        """Log posterior at points, (n, d), in parts that fit in memory."""
        prior, jacobian = self.log_prior(theta)
        found = np.full(len(theta), -np.inf)
        possible = np.flatnonzero(np.isfinite(prior + jacobian))
        for begin in range(0, len(possible), self._passing.batch):
            part = possible[begin : begin + self._passing.batch]
            with np.errstate(all="ignore"):
                marginal = self._passing.up(self.scales(theta[part])).log_marginal
                total = prior[part] + jacobian[part] + marginal
            found[part] = np.where(np.isfinite(total), total, -np.inf)
        return Evaluation(found, jacobian)

    def log_posterior(self, theta: FloatArray) -> FloatArray:
        """Log posterior at points, (n, d), as `evaluate` finds it."""
        return self.evaluate(theta).log_posterior
