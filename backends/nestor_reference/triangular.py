"""Cholesky factors and triangular solves of many tiny matrices at once.

The matrix axes come first, so that each entry is one long array over all nodes and draws: a few loops over
p then replace a library call per matrix, which for p = 2 would cost a hundred times the arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    type FloatArray = NDArray[np.float64]


def cholesky(M: FloatArray) -> FloatArray:
    """Lower factor R of M = R R', (p, p, ...); what M has above its diagonal is not read."""
    R = np.zeros_like(M)
    for j in range(len(M)):
        R[j, j] = np.sqrt(M[j, j] - np.sum(R[j, :j] ** 2, axis=0))
        for i in range(j + 1, len(M)):
            R[i, j] = (M[i, j] - np.sum(R[i, :j] * R[j, :j], axis=0)) / R[j, j]
    return R


def solve_lower(R: FloatArray, B: FloatArray) -> FloatArray:
    """X of R X = B for lower R, (p, p, ...), and B, (p, m, ...)."""
    X = np.empty(np.broadcast_shapes(B.shape, (*B.shape[:2], *R.shape[2:])))
    for i in range(len(R)):
        X[i] = B[i]
        for k in range(i):
            X[i] -= R[i, k] * X[k]
        X[i] /= R[i, i]
    return X


def solve_upper(R: FloatArray, B: FloatArray) -> FloatArray:
    """X of R' X = B for lower R, (p, p, ...), and B, (p, m, ...)."""
    X = np.empty(np.broadcast_shapes(B.shape, (*B.shape[:2], *R.shape[2:])))
    for i in reversed(range(len(R))):
        X[i] = B[i]
        for k in range(i + 1, len(R)):
            X[i] -= R[k, i] * X[k]
        X[i] /= R[i, i]
    return X


def multiply(A: FloatArray, B: FloatArray) -> FloatArray:
    """Matrix product of (p, q, ...) and (q, m, ...)."""
    return np.asarray(sum(A[:, k, None] * B[None, k] for k in range(len(B))))
