"""Givens rotations of the rows of many tiny matrices at once.

A rotation takes two rows to two others with the same inner products, the first entry of the second being
zero. It adds squares and never subtracts what is nearly equal, so that factors keep all their digits where
the matrices that they are square roots of would lose them (Golub and Van Loan 2013, section 5.1.8).

The matrix axes come first, so that each entry is one long array over all nodes and draws: a few loops over
tiny matrices then replace a library call per matrix, which would cost a hundred times the arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nestor.stats.arrays import FloatArray


def angle(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Cosine and sine of the rotation that takes (a, b), (...), to (sqrt(a^2 + b^2), 0)."""
    length = np.sqrt(a * a + b * b)
    if length.min(initial=1.0) > 0.0:
        return a / length, b / length
    safe = np.where(length > 0, length, 1.0)
    return np.where(length > 0, a / safe, 1.0), b / safe


def rotate(cosine: FloatArray, sine: FloatArray, above: FloatArray, below: FloatArray) -> None:
    """Rotate pairs of rows, (m, ...), in place."""
    before = sine * above
    above *= cosine
    above += sine * below
    below *= cosine
    below -= before


def insert(triangle: FloatArray, row: FloatArray, first: int = 0) -> None:
    """Put rows into upper triangular factors: of R'R + rr' instead of R'R; both in place.

    Parameters
    ----------
    triangle : ndarray, (m, m, ...)
        R.
    row : ndarray, (m, ...)
        r; used up.
    first : int
        Entries of r before this one are zero.
    """
    for j in range(first, len(triangle)):
        cosine, sine = angle(triangle[j, j], row[j])
        rotate(cosine, sine, triangle[j, j:], row[j:])


def solve(R: FloatArray, b: FloatArray) -> FloatArray:
    """X of R x = b for upper triangular R, (p, p, ...), and b, (p, ...)."""
    x = np.empty(np.broadcast_shapes(b.shape, R.shape[1:]))
    for i in reversed(range(len(R))):
        x[i] = b[i]
        for k in range(i + 1, len(R)):
            x[i] -= R[i, k] * x[k]
        x[i] /= R[i, i]
    return x


def multiply(A: FloatArray, b: FloatArray) -> FloatArray:
    """Products of matrices, (p, m, ...), and vectors, (m, ...)."""
    return np.asarray(sum(A[:, k] * b[None, k] for k in range(len(b))))
