"""Rank normalization of many samples at once."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

if TYPE_CHECKING:
    from nestor.stats.arrays import FloatArray, IntArray


@lru_cache(maxsize=8)
def _score_table(n: int) -> FloatArray:
    """Normal scores by doubled rank: average ranks are multiples of one half."""
    ranks = np.arange(2 * n + 1) / 2.0
    ranks[0] = 1.0  # never looked up; keeps the table finite
    table: FloatArray = ndtri((ranks - 3 / 8) / (n - 2 * 3 / 8 + 1))
    table.flags.writeable = False
    return table


def tied_ranks(ordered: FloatArray) -> tuple[IntArray, IntArray]:
    """Twice the average ranks of values that occur more than once, in rows that are sorted.

    Parameters
    ----------
    ordered
        Shape (row, n), each row ascending.

    Returns
    -------
    positions : array
        Indices into the flat array of values that have an equal in their row, ascending.
    ranks : array
        Their doubled ranks, integers from 3 to 2n - 1; equal values share one.
    """
    n = ordered.shape[1]
    same = np.zeros((len(ordered), n + 1), dtype=bool)
    np.equal(ordered[:, 1:], ordered[:, :-1], out=same[:, 1:n])
    first = np.flatnonzero(same[:, 1:] & ~same[:, :-1])
    last = np.flatnonzero(same[:, :-1] & ~same[:, 1:])
    lengths = last - first + 1
    begins = np.cumsum(lengths) - lengths
    positions = np.arange(lengths.sum()) + np.repeat(first - begins, lengths)
    return positions, np.repeat(first % n + last % n + 2, lengths)


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
    positions, ranks = tied_ranks(ordered)
    row = positions // n
    scores[row, order.reshape(-1)[positions]] = table[ranks]
    return scores
