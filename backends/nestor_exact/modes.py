"""Modes of the log posterior of theta, and a Gaussian's covariance at each: where adaptation starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import EngineFailed
from nestor_exact.mixture import Mixture, join

if TYPE_CHECKING:
    from collections.abc import Callable

    from nestor.stats.arrays import FloatArray
    from nestor_exact.theta import Theta


#: Prior draws among which the starting points of the optimizer are chosen.
_CANDIDATES = 400
_STARTS = 3
#: Standard deviations beyond this, in units of theta (a factor of 150), come from flat directions.
_WIDEST = 5.0
#: Modes closer than this, in standard deviations of the better one, are one mode.
_APART = 0.5
_DOF = 4.0
#: Minus the log density where the density is zero, for the optimizer.
_CLIFF = 1e12


def laplace_mixture(theta: Theta, rng: np.random.Generator) -> tuple[Theta, Mixture]:
    """Multivariate t distributions at the modes, each narrow and wide.

    Returns
    -------
    theta : Theta
        The posterior in coordinates whose origin is the highest mode.
    mixture : Mixture
        In these coordinates.

    Raises
    ------
    EngineFailed
        If the posterior density is zero at all of several hundred points from the priors.
    """
    starts = [_climb(theta.log_posterior, start) for start in _starts(theta, rng)]
    heights = theta.log_posterior(np.array(starts))
    canonical, _ = theta.constrain(np.array(starts)[np.argsort(-heights)])
    theta = theta.centred(starts[int(np.argmax(heights))])
    modes: list[tuple[float, FloatArray, FloatArray]] = []
    # A mode depends a little on the coordinates.
    for start in theta.unconstrain(canonical):
        mode = _climb(theta.log_posterior, start)
        if all(_distance(mode, point, factor) > _APART for _, point, factor in modes):
            factor = np.linalg.cholesky(_covariance(theta.log_posterior, mode))
            modes.append((float(theta.log_posterior(mode[None])[0]), mode, factor))
    parts = []
    for height, mode, factor in modes:
        mass = height + float(np.sum(np.log(np.diag(factor))))
        parts += [(mass, _single(mode, factor)), (mass + np.log(0.25), _single(mode, 2.0 * factor))]
    best = max(mass for mass, _ in parts)
    # A mode of little mass by its height may have more by its skewness.
    return theta, join([(max(np.exp(mass - best), 0.01), mixture) for mass, mixture in parts])


def _single(mean: FloatArray, factor: FloatArray) -> Mixture:
    return Mixture(np.ones(1), mean[None], factor[None], np.array([_DOF]))


def _distance(point: FloatArray, mean: FloatArray, factor: FloatArray) -> float:
    return float(np.linalg.norm(np.linalg.solve(factor, point - mean)) / np.sqrt(len(point)))


def _starts(theta: Theta, rng: np.random.Generator) -> list[FloatArray]:
    """Return the best of many draws from the priors, some of them shrunken together towards small scales."""
    q = rng.uniform(0.02, 0.98, size=(_CANDIDATES, len(theta)))
    x = np.column_stack([p.scipy().ppf(q[:, j]) for j, p in enumerate(theta.priors)])
    found = theta.unconstrain(x)
    shift = rng.uniform(0.0, 3.0, size=(_CANDIDATES, 1))
    found[::2] -= shift[::2]
    heights = theta.log_posterior(found)
    order = [i for i in np.argsort(-heights) if np.isfinite(heights[i])]
    if not order:
        raise EngineFailed(
            f"the posterior density is zero, or not a number, at all of {_CANDIDATES} points from the "
            "priors of the scales. Check the outcome's scale against the priors."
        )
    # The best, and two that differ from it.
    step = max(1, len(order) // 10)
    return [found[i] for i in order[: _STARTS * step : step]]


def _climb(log_posterior: Callable[[FloatArray], FloatArray], start: FloatArray) -> FloatArray:
    from scipy.optimize import minimize

    step = 1e-4 * np.eye(len(start))

    def down(point: FloatArray) -> tuple[float, FloatArray]:
        around = log_posterior(np.concatenate([point[None], point + step, point - step]))
        forward, backward = np.split(around[1:], 2)
        with np.errstate(invalid="ignore"):
            slope = (backward - forward) / 2e-4
        # Where the density is zero the line search only needs to turn back.
        height = -float(around[0]) if np.isfinite(around[0]) else _CLIFF
        return height, np.nan_to_num(slope, posinf=0, neginf=0)

    found = np.asarray(minimize(down, start, jac=True, method="BFGS").x)
    heights = log_posterior(np.array([start, found]))
    return found if heights[1] > heights[0] else start


def _covariance(log_posterior: Callable[[FloatArray], FloatArray], mode: FloatArray) -> FloatArray:
    """Inverse of minus the Hessian by central differences, eigenvalues bounded to be a covariance."""
    d = len(mode)
    h = np.full(d, 1e-2)
    for _ in range(2):  # the steps become about a third of a standard deviation
        at = log_posterior(np.concatenate([mode[None], mode + np.diag(h), mode - np.diag(h)]))
        curvature = (2 * at[0] - at[1 : d + 1] - at[d + 1 :]) / h**2
        with np.errstate(invalid="ignore", divide="ignore"):
            sd = np.where(curvature > _WIDEST**-2, curvature**-0.5, _WIDEST)
        h = 0.3 * sd
    steps = np.diag(h)
    i, j = np.triu_indices(d)
    corners = np.concatenate(
        [mode + a * steps[i] + b * steps[j] for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    )
    pp, pm, mp, mm = np.split(log_posterior(corners), 4)
    hessian = np.zeros((d, d))
    hessian[i, j] = hessian[j, i] = np.nan_to_num(-(pp - pm - mp + mm) / (4 * h[i] * h[j]))
    # In units of each direction's own width, so that the bounds do not depend on theirs.
    scaled = hessian * np.outer(sd, sd)
    values, vectors = np.linalg.eigh(scaled)
    values = np.clip(values, 0.04, 100.0)
    covariance = (vectors / values) @ vectors.T * np.outer(sd, sd)
    return np.asarray(covariance)
