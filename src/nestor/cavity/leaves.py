"""Each leaf's rows as a triangle about its coefficients and gamma, sigma being 1.

With U, m_y and M_z of `nestor.statistics.leaf`, S the leaf's own share of the remainders there, and
coefficients (beta, gamma) = pivot + x,

    sum_i w_i (y_i - x_i' beta - z_i' gamma)^2 = |A (x, -1)|^2 + rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.cavity.remainders import log_weights, remainders
from nestor.cavity.triangles import put
from nestor.statistics.leaf import pooled_fit
from nestor.statistics.least_squares import semidefinite_root

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.problem import Problem
    from nestor.statistics import LeafStatistics

    type FloatArray = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class LeafTriangles:
    """What n leaves say of p effects and c covariates, d = p + c.

    Parameters
    ----------
    pivot : ndarray, (d,)
        Least-squares coefficients of all rows together, covariates last.
    A : ndarray, (d, d + 1, n)
        Triangles.
    rest : ndarray, (n,)
        What no coefficients explain.
    rows : ndarray of int64, (n,)
        Rows of each leaf.
    log_weights : ndarray, (n,)
        Sum of the logarithms of its weights.
    """

    pivot: FloatArray
    A: FloatArray
    rest: FloatArray
    rows: NDArray[np.int64]
    log_weights: FloatArray


def leaf_triangles(problem: Problem) -> LeafTriangles:
    """Read each leaf's rows once."""
    found = problem.statistics
    p, c, n = found.n_effects, found.n_covariates, found.n_leaves
    d, pivot = p + c, _pivot(found)
    beta, gamma = pivot[:p], pivot[p:]
    U, Mz = np.moveaxis(found.root, 0, -1), found.fit[:, :, 1:]
    my = found.fit[:, :, 0] - Mz @ gamma - beta
    A, rest = np.zeros((d, d + 1, n)), np.zeros(n)
    for row in U:
        explained = np.einsum("pn,npc->cn", row, Mz), np.einsum("pn,np->n", row, my)[None]
        rest += put(np.concatenate([row, *explained]), A) ** 2
    S = _gamma_first(remainders(problem, gamma))
    for i, row in enumerate(semidefinite_root(S, _negligible(U, Mz))):
        padded = np.concatenate([np.zeros((p, n)), row])
        rest += put(padded, A, first=min(p + i, d)) ** 2
    return LeafTriangles(pivot, A, rest, found.rows_per_leaf, log_weights(problem))


def _pivot(found: LeafStatistics) -> FloatArray:
    """Least-squares coefficients of effects and covariates, of all rows together: (p + c,)."""
    p = found.n_effects
    design = np.concatenate(
        [np.broadcast_to(np.eye(p), (found.n_leaves, p, p)), found.fit[:, :, 1:]], axis=2
    )
    design = found.root @ design
    outcome = found.root @ found.fit[:, :, :1]
    gram = np.einsum("nri,nrj->ij", design, design)
    linear = np.einsum("nri,nrj->ij", design, outcome)
    gram[p:, p:] += found.residual[1:, 1:]
    linear[p:] += found.residual[1:, :1]
    return pooled_fit(gram[None], linear[None])[:, 0]


def _gamma_first(S: FloatArray) -> FloatArray:
    """(n, 1 + c, 1 + c), the outcome first, to (c + 1, c + 1, n), the outcome last."""
    order = [*range(1, S.shape[1]), 0]
    return np.moveaxis(S[:, order][:, :, order], 0, -1)


def _negligible(U: FloatArray, Mz: FloatArray) -> FloatArray:
    """Squares of remainders that are only what rounding of the fitted part left, (c + 1, n)."""
    c, n = Mz.shape[2], Mz.shape[0]
    fitted = np.square(np.einsum("rpn,npc->rcn", U, Mz)).sum(axis=0)
    return np.concatenate([(8 * _EPS) ** 2 * fitted, np.zeros((1, n))]).reshape(c + 1, n)
