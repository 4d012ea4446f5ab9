"""The marginal density and the exact conditional posterior of coefficients by dense linear algebra.

Obvious on purpose: it builds the joint covariance of all rows, so it is for small problems only, and what
passes messages over the tree is checked against it.

With every coefficient written as a sum of independent Normal deviations phi with variances S (the
population's, gamma's, and each node's from its parent),

    y = m_y + B phi + e,   e ~ Normal(0, sigma^2 / w),
    y ~ Normal(m_y, V),   V = B S B' + diag(sigma^2 / w),

and, with coefficients = m + K phi, their conditional mean and covariance given y are
m + K S B' V^-1 (y - m_y) and K S K' - K S B' V^-1 B S K'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import SpecError, Unsupported
from nestor_reference.gaussian import (
    covariate_moments,
    prior_mean_of_rows,
    read_scales,
    require_gaussian,
    root_moments,
    weights_of_rows,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from nestor.data.problem import Problem, Variable
    from nestor.stats.arrays import FloatArray


#: Rows, and coefficients, beyond which dense matrices are refused (each takes 70 MB at this size).
LARGEST = 3000


@dataclass(frozen=True)
class DenseConditional:
    """The exact conditional posterior of all coefficients given the scales.

    Parameters
    ----------
    mean, sd : dict of str to ndarray
        Of beta, every beta_<level> and gamma, in canonical shapes; inherited entries are filled in.
    covariance : ndarray, (n, n)
        Of all of them, flattened one after another in the order of `mean`.
    """

    mean: dict[str, FloatArray]
    sd: dict[str, FloatArray]
    covariance: FloatArray


def log_marginal_dense(problem: Problem, scales: Mapping[str, ArrayLike]) -> float:
    """Log density of the outcome given the scales, coefficients integrated out: log p(y | tau, sigma).

    Parameters
    ----------
    problem : Problem
        A gaussian outcome and Normal priors of population coefficients.
    scales : mapping of str to array_like
        Every tau_<level>, and sigma unless it is fixed, in canonical shapes.

    Returns
    -------
    float
        All constants included.

    Raises
    ------
    Unsupported
        If the problem is not of that kind, or has more than 3,000 rows or coefficients.
    SpecError
        If the scales do not fit the problem.
    """
    joint = _joint(problem, scales)
    factor = np.linalg.cholesky(joint.covariance_of_rows)
    z = np.linalg.solve(factor, joint.residual)
    log_det = float(np.sum(np.log(np.diag(factor))))
    return float(-0.5 * problem.n_rows * np.log(2 * np.pi) - log_det - 0.5 * z @ z)


def conditional_dense(problem: Problem, scales: Mapping[str, ArrayLike]) -> DenseConditional:
    """Return the exact conditional posterior of all coefficients given the scales.

    Parameters and errors are those of `log_marginal_dense`.
    """
    joint = _joint(problem, scales)
    cross = joint.K @ (joint.variances[:, None] * joint.B.T)
    gain = np.linalg.solve(joint.covariance_of_rows, cross.T).T
    covariance = (joint.K * joint.variances) @ joint.K.T - gain @ cross.T
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    mean = joint.mean + gain @ joint.residual
    return DenseConditional(_shaped(problem, mean), _shaped(problem, sd), covariance)


@dataclass(frozen=True)
class _Joint:
    """The pieces of the module's formulas: K, B, S and the moments of rows and coefficients."""

    K: FloatArray
    B: FloatArray
    variances: FloatArray
    mean: FloatArray
    residual: FloatArray
    covariance_of_rows: FloatArray


def _joint(problem: Problem, scales: Mapping[str, ArrayLike]) -> _Joint:
    require_gaussian(problem)
    _require_small(problem)
    values, batch = read_scales(problem, scales)
    if batch:
        raise SpecError(f"dense linear algebra takes one set of scales at a time, not {batch}.")
    K, sd = _deviations(problem, values)
    variances = sd**2
    B = _design(problem) @ K
    noise = float(values["sigma"]) ** 2 / weights_of_rows(problem)
    residual = problem.y - prior_mean_of_rows(problem)
    covariance = (B * variances) @ B.T + np.diag(noise)
    return _Joint(K, B, variances, _prior_mean(problem), residual, covariance)


def _require_small(problem: Problem) -> None:
    size = max(problem.n_rows, sum(v.random.size for v in _coefficients(problem)))
    if size > LARGEST:
        raise Unsupported(
            f"dense linear algebra is for small problems: this one has {problem.n_rows} rows or up to "
            f"{size} coefficients, more than {LARGEST}. Use log_marginal or conditional_mean."
        )


def _coefficients(problem: Problem) -> list[Variable]:
    return [v for v in problem.variables.values() if v.role in ("population", "node")]


def _deviations(
    problem: Problem, values: Mapping[str, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Return K, (coefficients, deviations), and the standard deviations of the deviations."""
    p, c = len(problem.effects), len(problem.spec.covariates)
    sds = [root_moments(problem)[1], covariate_moments(problem)[1]]
    for level in problem.levels:
        tau = values.get(f"tau_{level.name}", np.empty(0))
        sds.append(level.scale_of_nodes(tau).ravel())
    sd = np.concatenate(sds)
    above = np.zeros((1, p, len(sd)))
    above[0, :, :p] = np.eye(p)
    blocks, used = [above], p + c
    for level in problem.levels:
        nodes = above[level.parent].copy()
        for v in range(level.n):
            for j in level.varying:
                nodes[v, j, used] = 1.0
                used += 1
        blocks.append(nodes)
        above = nodes
    gamma = np.zeros((c, len(sd)))
    gamma[:, p : p + c] = np.eye(c)
    return np.concatenate([*(block.reshape(-1, len(sd)) for block in blocks), gamma]), sd


def _design(problem: Problem) -> FloatArray:
    """Design of the rows in all coefficients, (N, coefficients): a row sees its leaf's, and gamma."""
    p = len(problem.effects)
    nodes = problem.levels[-1].n
    leaf = np.zeros((problem.n_rows, nodes, p))
    leaf[np.arange(problem.n_rows), problem.leaf] = problem.X
    unseen = np.zeros((problem.n_rows, p * (1 + sum(level.n for level in problem.levels[:-1]))))
    return np.hstack([unseen, leaf.reshape(problem.n_rows, -1), problem.Z])


def _prior_mean(problem: Problem) -> FloatArray:
    nodes = 1 + sum(level.n for level in problem.levels)
    return np.concatenate([np.tile(root_moments(problem)[0], nodes), covariate_moments(problem)[0]])


def _shaped(problem: Problem, flat: FloatArray) -> dict[str, FloatArray]:
    found, begin = {}, 0
    for variable in _coefficients(problem):
        end = begin + variable.random.size
        found[variable.name] = flat[begin:end].reshape(variable.shape)
        begin = end
    return found
