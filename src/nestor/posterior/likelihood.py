"""The log-likelihood of draws, computed from the canonical variables alone and never by an engine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nestor.data.problem import Problem
    from nestor.stats.arrays import FloatArray


#: Numbers in an intermediate array, rows times draws: 16 MB.
_CHUNK = 2_000_000
#: Draws at a time, so that the leaves' coefficients are never copied as a whole.
_DRAWS = 1000


def log_likelihood(problem: Problem, values: Mapping[str, FloatArray]) -> FloatArray:
    """Log density of the whole outcome at each draw.

    With eta_i = offset_i + x_i' beta_leaf(i) + z_i' gamma and scale sigma / sqrt(weight_i), rows are
    independent Normal or Student-t; all constants are included. Of a problem whose rows are not in
    memory it is computed from the statistics of the leaves.

    Parameters
    ----------
    problem : Problem
        Model and data.
    values : mapping of str to ndarray, (chain, draw, *shape)
        Every canonical variable.

    Returns
    -------
    ndarray, (chain, draw)
        Minus infinity or nan where a draw is not inside the family's support.
    """
    some = next(iter(values.values()))
    lead = some.shape[:2]
    flat = {name: np.asarray(v).reshape(-1, *v.shape[2:]) for name, v in values.items()}
    family = {
        name: np.full(lead, prior.value).ravel() if prior.is_fixed else flat[name]
        for name, prior in problem.priors.family.items()
    }
    some_draws = _by_rows if problem.has_rows else _by_leaves
    parts = [
        some_draws(
            problem, {n: v[s] for n, v in flat.items()}, {n: v[s] for n, v in family.items()}
        )
        for s in _slices(math.prod(lead), _DRAWS)
    ]
    return np.concatenate(parts).reshape(lead)


def _slices(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def _by_rows(
    problem: Problem, values: Mapping[str, FloatArray], family: Mapping[str, FloatArray]
) -> FloatArray:
    """Log-likelihood of draws (draw, *shape) that are few enough to be held beside a chunk of rows."""
    sigma = family["sigma"]
    # Nodes first, so that the rows of one leaf copy one contiguous run of draws.
    leaves = np.ascontiguousarray(np.moveaxis(values[f"beta_{problem.levels[-1].name}"], 0, -1))
    gamma = values["gamma"].T if problem.spec.covariates else None
    total = np.zeros(len(sigma))
    with np.errstate(all="ignore"):
        for rows in _slices(problem.n_rows, max(1, _CHUNK // len(sigma))):
            squared = _squared_residuals(problem, rows, leaves, gamma)
            total += _kernel(problem.spec.family, squared, family)
        return total + _constants(problem, family)


def _by_leaves(
    problem: Problem, values: Mapping[str, FloatArray], family: Mapping[str, FloatArray]
) -> FloatArray:
    """Log-likelihood of draws (draw, *shape) of a gaussian outcome from the leaves' statistics.

    With S, U, m_y and M_z as in `nestor.data.statistics.leaf` the sum of squares is
    (1, -gamma') S (1, -gamma) + sum over leaves |U (m_y - M_z gamma - beta)|^2.
    """
    found = problem.statistics
    beta = values[f"beta_{problem.levels[-1].name}"]
    draws = len(beta)
    gamma = values["gamma"] if problem.spec.covariates else np.zeros((draws, 0))
    signed = np.column_stack([np.ones(draws), -gamma])
    total = np.zeros(draws)
    with np.errstate(all="ignore"):
        width = max(1, _CHUNK // (draws * found.n_effects))
        for leaves in _slices(found.n_leaves, width):
            apart = np.einsum("npm,dm->dnp", found.fit[leaves], signed) - beta[:, leaves]
            total += np.square(np.einsum("npq,dnq->dnp", found.root[leaves], apart)).sum((1, 2))
        total += np.einsum("dm,mk,dk->d", signed, found.residual, signed)
        log_likelihood: FloatArray = -0.5 * total / family["sigma"] ** 2
        return log_likelihood + _constants(problem, family)


def _squared_residuals(
    problem: Problem, rows: slice, leaves: FloatArray, gamma: FloatArray | None
) -> FloatArray:
    """Weighted squared residuals of some rows at every draw, (rows, draw)."""
    target = problem.y[rows] if problem.offset is None else problem.y[rows] - problem.offset[rows]
    residual = np.repeat(target[:, None], leaves.shape[-1], axis=1)
    leaf = problem.leaf[rows]
    for j in range(leaves.shape[1]):
        residual -= problem.X[rows, j, None] * leaves[leaf, j]
    if gamma is not None:
        residual -= problem.Z[rows] @ gamma
    np.square(residual, out=residual)
    if problem.weights is not None:
        residual *= problem.weights[rows, None]
    return residual


def _kernel(name: str, squared: FloatArray, family: Mapping[str, FloatArray]) -> FloatArray:
    """Sum over rows of what depends on the residuals, (draw,)."""
    variance = family["sigma"] ** 2
    if name == "gaussian":
        total: FloatArray = -0.5 * squared.sum(axis=0) / variance
        return total
    nu = family["nu"]
    squared /= nu * variance
    found: FloatArray = -0.5 * (nu + 1.0) * np.log1p(squared, out=squared).sum(axis=0)
    return found


def _constants(problem: Problem, family: Mapping[str, FloatArray]) -> FloatArray:
    """What does not depend on the residuals, (draw,)."""
    from scipy.special import gammaln

    n = problem.n_rows
    constants: FloatArray = 0.5 * _sum_log_weights(problem) - n * np.log(family["sigma"])
    if problem.spec.family == "gaussian":
        return constants - 0.5 * n * math.log(2.0 * math.pi)
    nu = family["nu"]
    of_t = gammaln((nu + 1.0) / 2.0) - gammaln(nu / 2.0) - 0.5 * np.log(nu * math.pi)
    total: FloatArray = constants + n * of_t
    return total


def _sum_log_weights(problem: Problem) -> float:
    if not problem.has_rows:
        return problem.statistics.sum_log_weights
    return 0.0 if problem.weights is None else float(np.log(problem.weights).sum())
