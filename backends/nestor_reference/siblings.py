"""Merge the triangles of siblings: neighbours in pairs, round after round, until each parent has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor_reference.rotations import insert

if TYPE_CHECKING:
    from nestor.stats.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class Round:
    """One round over triangles that lie one after another, siblings side by side.

    Parameters
    ----------
    kept : ndarray of int
        The first of each pair, and those that are left alone.
    paired : ndarray of int
        Positions among `kept` of those with a partner.
    partners : ndarray of int
        Their partners, in the same order.
    """

    kept: IntArray
    paired: IntArray
    partners: IntArray


def rounds(counts: IntArray) -> tuple[Round, ...]:
    """Plan the rounds for parents with so many children each, (parents,); at least one child each."""
    found = []
    while counts.max() > 1:
        first = np.cumsum(counts) - counts
        place = np.arange(counts.sum()) - np.repeat(first, counts)
        kept, partners = np.flatnonzero(place % 2 == 0), np.flatnonzero(place % 2 == 1)
        found.append(Round(kept, np.searchsorted(kept, partners - 1), partners))
        counts = (counts + 1) // 2
    return tuple(found)


def merge(A: FloatArray, plan: tuple[Round, ...]) -> FloatArray:
    """Put the triangles of siblings into one.

    Parameters
    ----------
    A : ndarray, (r, m, n, ...)
        The first r rows of triangles, (m, m), of n nodes; the others are zero.
    plan : tuple of Round
        Of `rounds`.

    Returns
    -------
    ndarray, (m, m, parents, ...), or (r, m, n, ...) where every parent has one child
        R'R is the sum of those of the children.
    """
    for one in plan:
        into = _square(A[:, :, one.kept[one.paired]])
        for i, row in enumerate(A[:, :, one.partners]):
            insert(into, row, first=i)
        if len(one.paired) == len(one.kept):
            A = into
            continue
        A = _square(A[:, :, one.kept])
        A[:, :, one.paired] = into
    return A


def _square(A: FloatArray) -> FloatArray:
    """Add rows of zeros to (r, m, ...)."""
    r, m = A.shape[:2]
    return A if r == m else np.concatenate([A, np.zeros((m - r, *A.shape[1:]))])
