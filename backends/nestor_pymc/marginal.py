"""The density of a gaussian outcome given its scales, all coefficients integrated out, as PyTensor's graph.

The pass up is `nestor_pymc.least_squares`; the gradient is PyTensor's own. Left over are the right-hand sides
of rows without coefficients, with cross-products G, the outcome first, that have delta = gamma - pivot as
their only unknown. With prior delta ~ Normal(mu, s^2), S = diag(s), M = I + S G_zz S and m = S G_zy + mu / s,

    log p(y | tau, sigma) = -N/2 log(2 pi sigma^2) + 1/2 sum log w - 1/2 sum log pi - 1/2 log det M
                            - 1/2 (G_yy + |mu / s|^2 - m' M^-1 m).

PyTensor fuses gathers, sums over children and all between into a few loops over nodes. With two effects and
two levels, value and gradient are some 450 operations, 200 of them for each leaf, with some 30 arrays kept
from the way up: for Chem97 (31,022 rows, 2,410 schools, 131 authorities) 0.5 million operations and 1.2 MB
through the second cache, so that about 0.1 ms is to be expected. Measured, with numba on one core: 0.12 ms,
as the rows' density takes with 5,089 sampled scalars, where this has 5; by leaf statistics these take 0.036.
Compilation without a cache took 30 s of a busy machine, where rows took 28 and statistics 20; it grows with
effects and levels, not with nodes: three effects took twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor_pymc.least_squares import Factor, ascended

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.data.problem import LevelDesign, Problem
    from nestor_pymc.data import LeafRows
    from nestor_pymc.least_squares import Remainder

_LOG_TWO_PI = np.log(2.0 * np.pi)


@dataclass(frozen=True, eq=False)
class GraphFamily:
    """Children and parents in a graph; see `nestor_pymc.least_squares.Family`.

    Parameters
    ----------
    parent : ndarray of intp, (n,)
        Parent of each node.
    n_parents : int
        How many there are.
    """

    parent: NDArray[np.intp]
    n_parents: int

    def total(self, children: Any) -> Any:
        """Sum over children."""
        import pytensor.tensor as pt

        if self.n_parents == 1:
            return children.sum(axis=-1, keepdims=True)
        if children.ndim > 1:
            # Vectors: PyTensor adds up by a plain loop over those, and by a slower one over matrices.
            return pt.stack([self.total(children[i]) for i in range(children.type.shape[0])])
        return pt.inc_subtensor(pt.zeros(self.n_parents)[self.parent], children)

    def copied(self, parents: Any) -> Any:
        """Copy to children."""
        return parents if self.n_parents == 1 else parents[..., self.parent]

    def positive(self, weight: Any) -> Any:
        """Ones for zeros."""
        import pytensor.tensor as pt

        return pt.switch(pt.gt(weight, 0.0), weight, 1.0)


def log_marginal(
    problem: Problem, rows: LeafRows, observed: Mapping[str, Any], scales: Mapping[str, Any]
) -> Any:
    """Log density of the outcome given the scales, all constants included, a scalar.

    Parameters
    ----------
    problem : Problem
        The tree and the priors of population coefficients.
    rows : LeafRows
        What does not depend on the outcome.
    observed : mapping of str to variable
        What does: shared variables of `LeafRows.observed`.
    scales : mapping of str to variable
        sigma, and tau_<level> of each level that has any: (q,), or (q, n_parents).
    """
    import pytensor.tensor as pt

    precision = scales["sigma"] ** -2.0
    levels = [
        (
            _variances(level, rows.order, scales.get(f"tau_{level.name}")),
            family_of(level, GraphFamily),
        )
        for level in reversed(problem.levels)
    ]
    prior_mean, prior_sd = population(problem, rows.order)
    root = {j: np.array(s * s) for j, s in enumerate(prior_sd) if s > 0}
    ascent = ascended(_leaves(rows, observed, precision), levels, (root, list(prior_mean)))
    log_growth = [pt.log(d.growth).sum() for part in ascent.deviations for d in part]
    gram = _gram(rows, observed, precision, ascent.remainders)
    constant = 0.5 * (rows.sum_log_weights - rows.n_rows * _LOG_TWO_PI)
    return (
        np.array(constant)
        - np.array(float(rows.n_rows)) * pt.log(scales["sigma"])
        - 0.5 * sum(log_growth)
        + _covariates(problem, observed, gram)
    )


def family_of[T](level: LevelDesign, kind: Callable[[NDArray[np.intp], int], T]) -> T | None:
    """A level's `Family`; None where every parent has one child."""
    return None if level.n == level.n_parents else kind(level.parent, level.n_parents)


def population(
    problem: Problem, order: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Prior means and standard deviations of the population's coefficients, each (p,).

    Both are zero where the coefficient is fixed at zero.
    """
    priors = problem.priors.beta
    args = [priors[e].args if e in priors else (0.0, 0.0) for e in problem.effects]
    mean, sd = np.array(args, dtype=np.float64)[order].T
    return mean, sd


def covariate_prior(problem: Problem) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Prior means and standard deviations of gamma, each (c,)."""
    args = [prior.args for prior in problem.priors.gamma.values()]
    mean, sd = np.array(args, dtype=np.float64).reshape(-1, 2).T
    return mean, sd


def _variances(level: LevelDesign, order: NDArray[np.intp], tau: Any) -> dict[int, Any]:
    """Variances of a level's deviations, by column."""
    column = np.argsort(order)
    found = {}
    for i, effect in enumerate(level.varying):
        variance = tau[i] ** 2.0
        found[int(column[effect])] = variance[level.parent] if level.per_parent else variance
    return found


def _leaves(rows: LeafRows, observed: Mapping[str, Any], precision: Any) -> Factor:
    p = len(rows.order)
    found = []
    for j in range(p):
        row: dict[int, Any] = {k: rows.slopes[j, k] for k in range(j + 1, p)}
        row[p] = observed["outcome_fit"][j]
        if rows.n_covariates:
            row[p + 1] = rows.covariates[j]
        found.append(row)
    return Factor(tuple(w * precision for w in rows.weights), tuple(found))


def _gram(
    rows: LeafRows, observed: Mapping[str, Any], precision: Any, remainders: Sequence[Remainder]
) -> tuple[Any, Any, Any]:
    """G_yy, G_zy and G_zz; the latter two None without covariates."""
    import pytensor.tensor as pt

    p, within = len(rows.order), observed["outcome_residual"] * precision
    yy = within[0, 0] + sum((r.weight * r.right[p] ** 2.0).sum() for r in remainders)
    if not rows.n_covariates:
        return yy, None, None
    zy, zz = within[1:, 0], within[1:, 1:]
    for remainder in remainders:
        right = pt.as_tensor(remainder.right[p + 1])
        weighted = right * remainder.weight
        zy = zy + (weighted * remainder.right[p]).sum(axis=-1)
        # Not a matrix product, whose compilation takes longer than all the rest.
        zz = zz + (weighted[:, None] * right).sum(axis=-1)
    return yy, zy, zz


def _covariates(problem: Problem, observed: Mapping[str, Any], gram: tuple[Any, Any, Any]) -> Any:
    """What depends on G, gamma integrated out."""
    import pytensor.tensor as pt

    yy, zy, zz = gram
    if zz is None:
        return -0.5 * yy
    mean, sd = covariate_prior(problem)
    ratio = (mean - observed["outcome_pivot"]) / sd
    M, m = np.eye(len(sd)) + sd[:, None] * zz * sd, sd * zy + ratio
    left, log_det = yy + (ratio**2.0).sum(), 0.0
    # Elimination, one covariate after another: what is left at last is G_yy + |mu / s|^2 - m' M^-1 m.
    for i in range(len(sd)):
        pivot, row, first = M[0, 0], M[0, 1:], m[0]
        log_det = log_det + pt.log(pivot)
        left = left - first**2.0 / pivot
        if i + 1 < len(sd):
            m = m[1:] - row * (first / pivot)
            M = M[1:, 1:] - row[:, None] * (row / pivot)
    return -0.5 * (log_det + left)
