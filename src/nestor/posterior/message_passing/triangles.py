"""Information about a vector as an upper triangle, for many nodes and draws at once.

A triangle A of shape (d, d + 1, ...) stands for the factor exp(-|A (x, -1)|^2 / 2) of a density of x, (d,).
Factors are multiplied by putting rows into one triangle, and variables integrated out by rotating their
columns away. Both are Givens rotations, which keep the information of rows of very different sizes, where
sums of cross-products lose it (Bjorck 1996, "Numerical Methods for Least Squares Problems", section 2.7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.stats.arrays import FloatArray


def add_row(row: FloatArray, into: FloatArray, first: int = 0) -> FloatArray:
    """Multiply a triangle by the factor of one row, in place; overwrites the row.

    Parameters
    ----------
    row : ndarray, (d + 1, ...)
        Zeros before column `first`.
    into : ndarray, (d, d + 1, ...)
        The triangle.
    first : int
        Where to begin.

    Returns
    -------
    ndarray, (...)
        Remainder in the last column: its square belongs to the exponent, whatever x is.
    """
    for j in range(first, len(into)):
        _rotate((into[j, j:], row[j:]))
    left: FloatArray = row[-1]
    return left


def multiply(A: FloatArray, B: FloatArray) -> FloatArray:
    """Product of the factors of two triangles, (d, d + 1, ...), up to a constant in x."""
    into, rows = A.copy(), B.copy()
    for i, row in enumerate(rows):
        add_row(row, into, first=i)
    return into


def propagate(A: FloatArray, sd: FloatArray, varying: NDArray[np.intp]) -> FloatArray:
    """Turn a factor of x into one of x', where x - x' is Normal and independent of x'.

    As x = x' + L u, u ~ Normal(0, I), the rows (I, 0) of u and (A L, A) of u and x' are rotated until u
    stands in the first ones only. The same holds with x and x' exchanged: up and down the tree alike.

    Parameters
    ----------
    A : ndarray, (d, d + 1, ...)
        A triangle, which is not changed.
    sd : ndarray, (q, ...)
        Standard deviations of the entries that differ, the diagonal of L; may be zero.
    varying : ndarray of intp, (q,)
        Which entries these are, in order.

    Returns
    -------
    ndarray, (d, d + 1, ...)
        A triangle. Nothing is inverted: with sd = 0 it is A.
    """
    q, below = len(varying), A.copy()
    noise = np.zeros((q, q, *A.shape[2:]))
    noise[range(q), range(q)] = 1.0
    above = np.zeros((q, *A.shape[1:]))
    # From the last row up, so that a row only receives entries in columns where it has its own.
    for i in reversed(range(len(A))):
        scaled = A[i, varying] * sd
        for k in range(q):
            if varying[k] >= i:
                _rotate((noise[k, k:], scaled[k:]), (above[k, i:], below[i, i:]))
    return below


def _rotate(*pairs: tuple[FloatArray, FloatArray]) -> None:
    """Rotate pairs of rows in place so that the first entry of the first pair's second row vanishes."""
    a, b = pairs[0][0][0], pairs[0][1][0]
    length = np.sqrt(a * a + b * b)
    nothing = length == 0
    cosine, sine = (a + nothing) / (length + nothing), b / (length + nothing)
    for one, other in pairs:
        kept = cosine * one
        kept += sine * other
        np.multiply(cosine, other, out=other)
        np.subtract(other, sine * one, out=other)
        one[:] = kept
