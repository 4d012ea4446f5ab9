"""Mixtures of multivariate Student-t distributions: the proposals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nestor.stats.arrays import FloatArray


@dataclass(frozen=True)
class Mixture:
    """A mixture of k multivariate t distributions in d dimensions.

    Parameters
    ----------
    weights : ndarray, (k,)
        Positive, of sum 1.
    means : ndarray, (k, d)
        Centres.
    factors : ndarray, (k, d, d)
        Lower Cholesky factors of the scale matrices.
    dof : ndarray, (k,)
        Degrees of freedom.
    """

    weights: FloatArray
    means: FloatArray
    factors: FloatArray
    dof: FloatArray

    def __len__(self) -> int:
        return len(self.weights)

    def distances(self, x: FloatArray) -> FloatArray:
        """Squared Mahalanobis distances of points, (n, d), from every centre: (n, k)."""
        found = np.empty((len(x), len(self)))
        for i, (mean, inverse) in enumerate(zip(self.means, self._inverses, strict=True)):
            z = (x - mean) @ inverse.T
            found[:, i] = np.einsum("nj,nj->n", z, z)
        return found

    @cached_property
    def _inverses(self) -> FloatArray:
        return np.asarray(np.linalg.inv(self.factors))

    def log_components(self, x: FloatArray) -> FloatArray:
        """Log of weight times density of every component, (n, k)."""
        return self.log_components_at(self.distances(x), x.shape[1])

    def log_components_at(self, distances: FloatArray, d: int) -> FloatArray:
        """Compute the same from squared distances, (n, k), in d dimensions."""
        from scipy.special import gammaln

        nu = self.dof
        log_det = np.log(np.diagonal(self.factors, axis1=1, axis2=2)).sum(axis=1)
        constant = gammaln((nu + d) / 2) - gammaln(nu / 2) - d / 2 * np.log(nu * math.pi) - log_det
        tails = -(nu + d) / 2 * np.log1p(distances / nu)
        return np.asarray(np.log(self.weights) + constant + tails)

    def logpdf(self, x: FloatArray) -> FloatArray:
        """Log density at points, (n, d): (n,)."""
        return np.asarray(np.logaddexp.reduce(self.log_components(x), axis=1))

    def rvs(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draw n points, (n, d)."""
        which = rng.choice(len(self), size=n, p=self.weights)
        z = rng.standard_normal((n, self.means.shape[1]))
        stretch = np.sqrt(self.dof[which] / rng.chisquare(self.dof[which]))
        steps = np.einsum("nij,nj->ni", self.factors[which], z)
        return np.asarray(self.means[which] + stretch[:, None] * steps)


def join(parts: list[tuple[float, Mixture]]) -> Mixture:
    """Mix mixtures, each with its share."""
    total = sum(share for share, _ in parts)
    return Mixture(
        np.concatenate([share / total * mixture.weights for share, mixture in parts]),
        np.concatenate([mixture.means for _, mixture in parts]),
        np.concatenate([mixture.factors for _, mixture in parts]),
        np.concatenate([mixture.dof for _, mixture in parts]),
    )


def fit(
    x: FloatArray, weights: FloatArray, k: int, dof: float, rng: np.random.Generator
) -> Mixture:
    """Fit k components to weighted points by expectation-maximization (Peel and McLachlan 2000).

    Parameters
    ----------
    x : ndarray, (n, d)
        Points.
    weights : ndarray, (n,)
        Their weights, of sum 1.
    k : int
        Components to start with; those that come to hold too few points for a covariance are dropped.
    dof : float
        Degrees of freedom of every component, kept fixed.
    rng : Generator
        Chooses the first centres among the points.
    """
    mean = weights @ x
    centred = x - mean
    whole = (weights[:, None] * centred).T @ centred
    factor = _factor(whole, whole)
    means = x[rng.choice(len(x), size=k, p=weights)] if k > 1 else mean[None]
    found = Mixture(np.full(k, 1.0 / k), means, np.repeat(factor[None], k, 0), np.full(k, dof))
    for _ in range(_ITERATIONS):
        found = _improve(found, x, weights, whole)
    return found


_ITERATIONS = 12
#: Share of the whole covariance that keeps a component's own from collapsing.
_RIDGE = 1e-3


def _improve(mixture: Mixture, x: FloatArray, weights: FloatArray, whole: FloatArray) -> Mixture:
    """One step: responsibilities, then weighted means and scale matrices."""
    d = x.shape[1]
    distances = mixture.distances(x)
    log_parts = mixture.log_components_at(distances, d)
    shares = np.exp(log_parts - np.logaddexp.reduce(log_parts, axis=1)[:, None])
    shares = weights[:, None] * shares
    pull = shares * (mixture.dof + d) / (mixture.dof + distances)
    enough = shares.sum(axis=0) ** 2 > 2 * (d + 1) * np.sum(shares**2, axis=0)
    if not enough.any():
        return mixture
    means, factors = [], []
    for i in np.flatnonzero(enough):
        mean = pull[:, i] @ x / pull[:, i].sum()
        centred = x - mean
        scatter = (pull[:, i, None] * centred).T @ centred / shares[:, i].sum()
        means.append(mean)
        factors.append(_factor(scatter, whole))
    sums = shares.sum(axis=0)[enough]
    return Mixture(sums / sums.sum(), np.array(means), np.array(factors), mixture.dof[enough])


def _factor(scatter: FloatArray, whole: FloatArray) -> FloatArray:
    ridge = _RIDGE * np.diag(np.diag(whole)) + 1e-12 * np.eye(len(whole))
    return np.linalg.cholesky(scatter + ridge)
