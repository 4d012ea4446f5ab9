"""Slots: where the nodes of a level stand, so that children are summed without a scatter.

The children of a parent are padded to a dense column. Parents with similar numbers of children stand
side by side in one slice, an array (width, parents); slices follow one another in one flat array of slots.
This is the sliced ELL format of sparse matrices (Monakov, Lokhmotov and Avetisyan 2010), with the widths
chosen by dynamic programming rather than fixed. Sums over children are then sums over the slow axis, which
vectorize, and their gradient is a broadcast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nestor.data.problem import LevelDesign

    type Indices = np.ndarray[tuple[int], np.dtype[np.int32]]

#: What one more slice costs, in slots: some five microseconds of a core at a few nanoseconds a slot.
SLICE_COST = 150
#: Columns that a sum over few parents is split into, so that it still vectorizes.
LANES = 64


@dataclass(frozen=True)
class Slice:
    """Parents with similar numbers of children.

    Parameters
    ----------
    width : int
        Slots of each parent; a multiple of `lanes`.
    parents : int
        Number of parents.
    lanes : int
        Sums run over ``width // lanes`` rows of ``lanes * parents`` slots first, then over lanes.
    """

    width: int
    parents: int
    lanes: int

    @property
    def slots(self) -> int:
        """Slots in all."""
        return self.width * self.parents


@dataclass(frozen=True)
class Layout:
    """The static part of a level's slots: what a program is compiled for.

    Parameters
    ----------
    slices : tuple of Slice
        One after another in the flat array.
    n : int
        Nodes of the level.
    in_order : bool
        Whether the parents of all slices, one after another, are 0, 1, 2, ...
    """

    slices: tuple[Slice, ...]
    n: int
    in_order: bool

    @property
    def slots(self) -> int:
        """Slots in all, padding included."""
        return sum(s.slots for s in self.slices)

    @property
    def n_parents(self) -> int:
        """Parents in all."""
        return sum(s.parents for s in self.slices)


@dataclass(frozen=True)
class Places:
    """Where nodes and parents stand.

    Parameters
    ----------
    node : ndarray of int32, (slots,)
        Node in each slot; n in padding.
    slot : ndarray of int32, (n,)
        Slot of each node.
    order : ndarray of int32, (n_parents,)
        Parents in the order of the slices.
    rank : ndarray of int32, (n_parents,)
        Its inverse: where each parent stands in it.
    """

    node: Indices
    slot: Indices
    order: Indices
    rank: Indices


def lay_out(level: LevelDesign) -> tuple[Layout, Places]:
    """Choose the slots of a level's nodes.

    Parameters
    ----------
    level : LevelDesign
        Its `parent` is non-decreasing, and every parent has a child.
    """
    children = np.bincount(level.parent, minlength=level.n_parents)
    starts = np.concatenate([[0], np.cumsum(children)[:-1]])
    width = _slice_widths(children)
    order = np.argsort(width, kind="stable")
    slices, nodes = [], []
    for wide in np.unique(width):
        parents = order[width[order] == wide]
        lanes = max(1, min(LANES // len(parents), int(wide) // LANES))
        padded = int(-(-wide // lanes) * lanes)
        place = np.arange(padded)[:, None]
        inside = place < children[parents]
        nodes.append(np.where(inside, starts[parents] + place, level.n).ravel())
        slices.append(Slice(padded, len(parents), lanes))
    node = np.concatenate(nodes)
    full = node < level.n
    slot = np.empty(level.n, np.int32)
    slot[node[full]] = np.flatnonzero(full)
    rank = np.empty(level.n_parents, np.int32)
    rank[order] = np.arange(level.n_parents)
    in_order = bool(np.all(rank == np.arange(level.n_parents)))
    places = Places(node.astype(np.int32), slot, order.astype(np.int32), rank)
    return Layout(tuple(slices), level.n, in_order), places


def _slice_widths(children: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Indices:
    """Width of the slice of each parent, such that slots and slices together cost least."""
    # Up to 16 exactly, then 8 steps to the octave, so that there are few numbers to choose among.
    step = 2 ** np.maximum(0, np.floor(np.log2(children)).astype(np.int64) - 3)
    rounded = -(-children // step) * step
    widths, kinds, counts = np.unique(rounded, return_inverse=True, return_counts=True)
    above = np.concatenate([[0], np.cumsum(counts)])
    best, first = np.zeros(len(widths) + 1), np.zeros(len(widths), np.int64)
    for last in range(len(widths)):
        cost = best[: last + 1] + widths[last] * (above[last + 1] - above[: last + 1])
        first[last] = np.argmin(cost)
        best[last + 1] = cost[first[last]] + SLICE_COST
    chosen, last = np.zeros(len(widths), np.int32), len(widths) - 1
    while last >= 0:
        chosen[first[last] : last + 1] = widths[last]
        last = int(first[last]) - 1
    return np.asarray(chosen[kinds])
