"""Adaptation: from a Gaussian's mode to a mixture that follows the posterior's skewness and tails.

Rounds of adaptive multiple importance sampling: points from the current mixture join those of the rounds
before, each weighted by the posterior over the average of the mixtures that were drawn from; a new mixture
is fitted to them, and judged by the effective share of the weights of its own fresh points. A part of the
first mixture and components that are wide along one scale each always stay in the proposal, so that its
tails never become light.

Sources: Cappe, Douc, Guillin, Marin and Robert (2008), Statistics and Computing 18 (fitting mixtures of t by
population Monte Carlo); Cornuet, Marin, Mira and Robert (2012), Scandinavian Journal of Statistics 39
(weights over several rounds); Ionides (2008), JCGS 17 (truncating weights before they are used).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor_exact.mixture import Mixture, fit, join
from nestor_exact.pareto import effective_share, largest_weight

if TYPE_CHECKING:
    from collections.abc import Callable

    from nestor.stats.arrays import FloatArray
    from nestor_exact.theta import Theta


#: Proposals that one iteration of warmup stands for: an evaluation costs a small part of a trajectory.
PROPOSALS_PER_WARMUP = 50
#: Shares of the first mixture, and of components stretched along one scale each, in every proposal. A
#: scale's own tail is the commonest misfit: a tau near zero that is possible, though a mode lies elsewhere.
_FIRST, _STRETCHED = 0.05, 0.15
#: Standard deviations of a stretched component along its scale, in those of the posterior.
_STRETCH = 4.0
#: Effective share of the weights, and largest of them over their mean, at which little is left to gain.
_GOOD, _HARMLESS = 0.8, 8.0
#: Rounds without a better mixture after which adaptation ends.
_PATIENCE = 3
_MOST_COMPONENTS = 10
#: Rounds whose points a mixture is fitted to; the first ones know the least.
_REMEMBERED = 5
_DOF = 8.0


@dataclass(frozen=True)
class Adaptation:
    """A proposal, and what finding it took.

    Parameters
    ----------
    proposal : Mixture
        Fixed from now on.
    rounds, evaluations : int
        Rounds of adaptation, and points at which the posterior was evaluated in them.
    """

    proposal: Mixture
    rounds: int
    evaluations: int


def adapt(
    theta: Theta,
    first: Mixture,
    budget: int,
    rng: np.random.Generator,
    report: Callable[[int], None],
) -> Adaptation:
    """Find a proposal with at most `budget` points.

    Parameters
    ----------
    theta : Theta
        The posterior.
    first : Mixture
        At its modes.
    budget : int
        Points at which it may be evaluated. Too few for one round leave the mixture at the modes.
    rng : Generator
        Of the points.
    report : callable
        Called with the number of points so far.
    """
    size = max(1000, 200 * len(theta))
    best, best_share = first, -1.0
    current, pool = first, _Pool()
    rounds = since = 0
    good = False
    while (rounds + 1) * size <= budget and since < _PATIENCE and not good:
        x = current.rvs(rng, size)
        log_posterior = theta.log_posterior(x)
        log_weights = log_posterior - current.logpdf(x)
        share = effective_share(log_weights)
        good = share >= _GOOD and largest_weight(log_weights) <= _HARMLESS
        since = 0 if share > 1.02 * best_share else since + 1
        if share > best_share:
            best, best_share = current, share
        pool.add(current, x, log_posterior)
        rounds += 1
        report(rounds * size)
        fitted = pool.fit(rng)
        parts = [
            (1 - _FIRST - _STRETCHED, fitted),
            (_STRETCHED, _stretched(fitted)),
            (_FIRST, first),
        ]
        current = join(parts)
    return Adaptation(best, rounds, rounds * size)


def _stretched(mixture: Mixture) -> Mixture:
    """One component per coordinate, with the mixture's moments, but wide along that coordinate."""
    mean = mixture.weights @ mixture.means
    about = mixture.means - mean
    within = np.einsum("k,kij,klj->il", mixture.weights, mixture.factors, mixture.factors)
    covariance = within + (mixture.weights[:, None] * about).T @ about
    d = len(mean)
    along = [np.diag(row) for row in (_STRETCH**2 - 1) * np.diag(np.diag(covariance))]
    factors = np.linalg.cholesky(covariance + np.array(along))
    means = np.repeat(mean[None], d, axis=0)
    return Mixture(np.full(d, 1.0 / d), means, factors, np.full(d, _DOF))


class _Pool:
    """Points of the last rounds, with their weights over the average of these rounds' mixtures."""

    def __init__(self) -> None:
        self._mixtures: list[Mixture] = []
        self._x: list[FloatArray] = []
        self._log_posterior: list[FloatArray] = []

    def add(self, mixture: Mixture, x: FloatArray, log_posterior: FloatArray) -> None:
        """Keep the points of a round, and forget those of long ago."""
        self._mixtures.append(mixture)
        self._x.append(x)
        self._log_posterior.append(log_posterior)
        for kept in (self._mixtures, self._x, self._log_posterior):
            del kept[:-_REMEMBERED]

    def fit(self, rng: np.random.Generator) -> Mixture:
        """Fit a mixture of as many components as the effective number of points can bear."""
        x = np.concatenate(self._x)
        proposal = join([(1.0, mixture) for mixture in self._mixtures])
        log_w = np.concatenate(self._log_posterior) - proposal.logpdf(x)
        w = np.exp(log_w - log_w.max())
        w = np.minimum(w, w.mean() * np.sqrt(len(w)))
        w = w / w.sum()
        d = x.shape[1]
        bearable = 1.0 / np.sum(w**2) / (5 * (d + 1) * (d + 2) / 2)
        return fit(x, w, int(np.clip(bearable, 1, _MOST_COMPONENTS)), _DOF, rng)
