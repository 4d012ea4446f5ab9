"""Rank normalization of many samples at once."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

type FloatArray = NDArray[np.float64]
type IntArray = NDArray[np.intp]


@lru_cache(maxsize=8)
def _score_table(n: int) -> FloatArray:
    """Normal scores by doubled rank: average ranks are multiples of one half."""
    ranks = np.arange(2 * n + 1) / 2.0
    ranks[0] = 1.0  # never looked up; keeps the table finite
    table: FloatArray = ndtri((ranks - 3 / 8) / (n - 2 * 3 / 8 + 1))
    table.flags.writeable = False
    return table


def doubled_ranks(ordered: FloatArray) -> IntArray:
    """Twice the average rank of each value of rows that are already sorted.

    Parameters
    ----------
    ordered
        Shape (row, n), each row ascending.

    Returns
    -------
    array
        Shape (row, n), integers from 2 to 2n; equal values share one rank.
    """
    n_row, n = ordered.shape
    position = np.arange(n)
    starts = np.ones((n_row, n), dtype=bool)
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=starts[:, 1:])
    ends = np.ones((n_row, n), dtype=bool)
    ends[:, :-1] = starts[:, 1:]
    first = np.maximum.accumulate(np.where(starts, position, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, position, n)[:, ::-1], axis=1)[:, ::-1]
    ranks: IntArray = first + last + 2
    return ranks


def normal_scores(ordered: FloatArray, order: IntArray) -> FloatArray:
    """Replace values by the normal quantiles of their average ranks, row by row.

    The offset is Blom's (1958), (rank - 3/8) / (n + 1/4), as in Vehtari et al. (2021), eq. 14.

    Parameters
    ----------
    ordered
        Sorted values, shape (row, n).
    order
        The permutation that sorted them (`argsort`), shape (row, n).

    Returns
    -------
    array
        Shape (row, n), in the order of the unsorted values.
    """
    n = ordered.shape[1]
    table = _score_table(n)
    scores = np.empty_like(ordered)
    np.put_along_axis(scores, order, table[None, 2::2], axis=1)
    tied = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    if tied.any():
        averaged = table[doubled_ranks(ordered[tied])]
        rows = scores[tied]
        np.put_along_axis(rows, order[tied], averaged, axis=1)
        scores[tied] = rows
    return scores
