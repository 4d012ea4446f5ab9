"""Least squares in many leaves at once, some of which are rank-deficient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nestor.stats.arrays import FloatArray


_EPS = float(np.finfo(np.float64).eps)


def negligible(weight: FloatArray, mean: FloatArray) -> FloatArray:
    """Bound below which a sum of squares is the rounding error of a constant predictor's mean.

    Shapes (n,) and (q, n) to (q, n).
    """
    return np.asarray(weight * (4 * _EPS * mean) ** 2)


def semidefinite_root(S: FloatArray, nothing: FloatArray) -> FloatArray:
    """Upper U of U'U = S, (q, q, n); a row of zeros where a pivot is at most `nothing`, (q, n)."""
    q = len(S)
    U = np.zeros_like(S)
    for j in range(q):
        left = S[j, j] - np.sum(U[:j, j] ** 2, axis=0)
        known = left > np.maximum(nothing[j], 4 * q * _EPS * S[j, j] * (j > 0))
        pivot = np.sqrt(np.where(known, left, 1.0))
        U[j, j] = np.where(known, pivot, 0.0)
        for k in range(j + 1, q):
            above = S[j, k] - np.sum(U[:j, j] * U[:j, k], axis=0)
            U[j, k] = np.where(known, above / pivot, 0.0)
    return U


def solve_root(U: FloatArray, right: FloatArray) -> FloatArray:
    """B of U'U B = right, (q, m, n); zero in directions without information."""
    q = len(U)
    safe = np.where(U > 0, U, 1.0)
    half: FloatArray = np.zeros_like(right)
    for j in range(q):
        part = right[j] - np.sum(U[:j, j, None] * half[:j], axis=0)
        half[j] = np.where(U[j, j] > 0, part / safe[j, j], 0.0)
    found: FloatArray = np.zeros_like(right)
    for j in reversed(range(q)):
        part = half[j] - np.sum(U[j, j + 1 :, None] * found[j + 1 :], axis=0)
        found[j] = np.where(U[j, j] > 0, part / safe[j, j], 0.0)
    return found
