"""Products of siblings' factors: of all siblings, and for each one of all its siblings, in linear time.

Siblings are multiplied in pairs, pairs in pairs, until each parent has one factor left; on the way back
each of a pair receives the message of its pair times its partner's factor. There is no division, so that a
very informative sibling does not hide the information of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.posterior.message_passing.triangles import multiply

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.stats.arrays import FloatArray

    type Positions = NDArray[np.intp]


@dataclass(frozen=True)
class SiblingPairs:
    """One round of pairwise products: m factors become k.

    Parameters
    ----------
    left : ndarray of intp, (k,)
        The first of each pair, and those without a partner.
    paired : ndarray of intp, (l,)
        Positions of the pairs among the k.
    right : ndarray of intp, (l,)
        The second of each pair, in the same order.
    """

    left: Positions
    paired: Positions
    right: Positions


def plan_rounds(parent: Positions, n_parents: int) -> tuple[SiblingPairs, ...]:
    """Plan the rounds for nodes with non-decreasing parents, (n,); every parent has a child."""
    counts, found = np.bincount(parent, minlength=n_parents), []
    while counts.max() > 1:
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        left, right = np.flatnonzero(place % 2 == 0), np.flatnonzero(place % 2 == 1)
        found.append(SiblingPairs(left, np.searchsorted(left, right - 1), right))
        counts = (counts + 1) // 2
    return tuple(found)


def multiply_siblings(A: FloatArray, rounds: tuple[SiblingPairs, ...]) -> list[FloatArray]:
    """Multiply siblings: return triangles (d, d + 1, n, B) before each round, then the parents' products."""
    found = [A]
    for pairing in rounds:
        A = found[-1][:, :, pairing.left]
        firsts = A[:, :, pairing.paired]
        A[:, :, pairing.paired] = multiply(firsts, found[-1][:, :, pairing.right])
        found.append(A)
    return found


def multiply_others(
    outside: FloatArray, gathered: list[FloatArray], rounds: tuple[SiblingPairs, ...]
) -> FloatArray:
    """For each child, multiply its parent's message from elsewhere by all its siblings' messages.

    Parameters
    ----------
    outside : ndarray, (d, d + 1, n_parents, B)
        Messages to the parents from outside their subtrees.
    gathered, rounds
        Of `gather` and `pairings`.

    Returns
    -------
    ndarray, (d, d + 1, n, B)
        For each child, about its parent.
    """
    for pairing, before in zip(reversed(rounds), reversed(gathered[:-1]), strict=True):
        found = np.empty_like(before)
        found[:, :, pairing.left] = outside
        here, lefts = outside[:, :, pairing.paired], pairing.left[pairing.paired]
        found[:, :, lefts] = multiply(here, before[:, :, pairing.right])
        found[:, :, pairing.right] = multiply(here, before[:, :, lefts])
        outside = found
    return outside
