"""The order in which the kernels store the nodes of a level: groups of families, children interleaved.

A vector operation works on several nodes at once, one in each lane; there are four or eight. Adding up the
messages of children, and handing down what their parent knows, would then mix lanes, or leave most of them
empty where families are small. So each lane is given a family of its own: families are sorted by size, as
many as there are lanes form a group, and the group's children are stored child by child, its families side
by side (the sliced ELLPACK format of sparse matrices, Monakov, Lokhmotov and Avetisyan 2010). A family that
is much larger than others is cut, and adds up in several lanes. A node's place in this order is its slot;
places that no node has hold zeros, which change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.model.names import INTERCEPT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.data.statistics import LeafStatistics
    from nestor.stats.arrays import FloatArray

    type IntArray = NDArray[np.int64]

#: What one group costs beside its children, in children of all its families.
_GROUP_COST = 3.0


@dataclass(frozen=True)
class Slots:
    """Where the nodes of one level are.

    Parameters
    ----------
    first, count : ndarray of int64, (groups,)
        Slot of a group's first child, and how many children its largest family has.
    parent : ndarray of int64, (groups * lanes,)
        Each family's parent, as a node; the number of parents where a lane has none.
    cut : ndarray of int64, (groups,)
        1 where a group has a part of a family that was cut.
    slot : ndarray of int64, (n,)
        Slot of each node.
    size : int
        Number of slots, a multiple of `lanes`; the last `lanes` of them are nobody's.
    """

    first: IntArray
    count: IntArray
    parent: IntArray
    cut: IntArray
    slot: IntArray
    size: int

    @classmethod
    def of(cls, parent: IntArray, n_parents: int, lanes: int) -> Slots:
        """Lay out nodes that are sorted by parent, `lanes` families to a group."""
        children = np.bincount(parent, minlength=n_parents)
        longest = min(_lengths(children), key=lambda length: _cost(children, length, lanes))
        return _laid_out(children, longest, lanes)


def _lengths(children: IntArray) -> list[int]:
    """Lengths at which families may be cut."""
    most = int(children.max())
    return [length for length in (1, 2, 4, 8, 16, 32, 64, 128, 256) if length < most] + [most]


def _cut(children: IntArray, longest: int) -> tuple[IntArray, IntArray, IntArray]:
    """Cut families into pieces of at most `longest` children: the parent, first child and size of each."""
    pieces = -(-children // longest)
    parent = np.repeat(np.arange(len(children)), pieces)
    number = np.arange(len(parent)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begin = (np.cumsum(children) - children)[parent] + number * longest
    count = np.minimum(children[parent] - number * longest, longest)
    return parent, begin, count


def _cost(children: IntArray, longest: int, lanes: int) -> float:
    count = np.sort(_cut(children, longest)[2])[::-1]
    largest = count[::lanes]
    return float(largest.sum() + _GROUP_COST * len(largest))


def _laid_out(children: IntArray, longest: int, lanes: int) -> Slots:
    parent, begin, count = _cut(children, longest)
    # Stable, so that neighbours stay neighbours: what they write to their parents is near.
    order = np.argsort(-count, kind="stable")
    groups = -(-len(order) // lanes)
    parents = np.full(groups * lanes, len(children), np.int64)
    parents[: len(order)] = parent[order]
    largest = count[order][::lanes].astype(np.int64)
    first = lanes * (np.cumsum(largest) - largest)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    piece = np.repeat(np.arange(len(order)), count)
    child = np.arange(len(piece)) - np.repeat(begin, count)
    slot = first[rank[piece] // lanes] + lanes * child + rank[piece] % lanes
    several = np.append(np.bincount(parent, minlength=len(children)) > 1, False)
    cut = several[parents].reshape(-1, lanes).any(axis=1).astype(np.int64)
    return Slots(first, largest, parents, cut, slot, int(lanes * (largest.sum() + 1)))


@dataclass(frozen=True)
class Tree:
    """Arrays of a problem whose coefficients are integrated out, by slot.

    Effects are put in an order in which the intercept comes first, so that square roots are triangular.

    Parameters
    ----------
    slots : tuple of Slots
        From the first level to the leaves.
    effects : ndarray of intp, (p,)
        The problem's effect that stands at each place.
    root : ndarray, (p, p, size of the last level)
        U of each leaf: upper triangular, U'U = X'WX.
    remainder : ndarray, (p, m, size of the last level)
        U (pivot of the parent - m) of each leaf; m columns, of the outcome and of each covariate.
    shifts : tuple of ndarray, (p, m, size of the level)
        Of inner nodes: pivot of the parent less the node's own.
    pivots : tuple of ndarray, (p, m, n)
        By node, the population's first; a leaf's is its parent's.
    """

    slots: tuple[Slots, ...]
    effects: NDArray[np.intp]
    root: FloatArray
    remainder: FloatArray
    shifts: tuple[FloatArray, ...]
    pivots: tuple[FloatArray, ...]

    @classmethod
    def of(cls, problem: Problem, statistics: LeafStatistics, lanes: int) -> Tree:
        """Lay out the tree and its leaf statistics for SIMD vectors of `lanes` doubles."""
        order = np.argsort([e != INTERCEPT for e in problem.effects], kind="stable")
        slots = tuple(
            Slots.of(level.parent.astype(np.int64), level.n_parents, lanes)
            for level in problem.levels
        )
        root = np.ascontiguousarray(statistics.root[:, order][:, :, order])
        fit = np.ascontiguousarray(statistics.fit[:, order])
        inner = [level.parent for level in problem.levels[:-1]]
        leaf = problem.levels[-1]
        pivots = _pivots([*inner, leaf.parent], root, fit)
        shifts = [
            np.moveaxis(above[parent] - own, 0, -1)
            for above, own, parent in zip(pivots, pivots[1:], inner, strict=False)
        ]
        own = pivots[-1][leaf.parent]
        remainder = np.moveaxis(root @ own - root @ fit, 0, -1)
        return cls(
            slots,
            order,
            _placed(np.moveaxis(root, 0, -1), slots[-1]),
            _placed(remainder, slots[-1]),
            tuple(_placed(shift, places) for shift, places in zip(shifts, slots, strict=False)),
            tuple(np.moveaxis(pivot, 0, -1) for pivot in (*pivots, own)),
        )


def _placed(values: FloatArray, slots: Slots) -> FloatArray:
    found = np.zeros((*values.shape[:-1], slots.size))
    found[..., slots.slot] = values
    return found


def _pivots(parents: list[NDArray[np.intp]], root: FloatArray, fit: FloatArray) -> list[FloatArray]:
    """A point for each inner node near which its coefficients will be, (n, p, m); the population's first.

    Any points would do; near ones keep what is added up small. Here it is what the rows below a node say by
    least squares; where they say nothing it is the parent's.
    """
    gram = np.swapaxes(root, 1, 2) @ root
    linear = np.swapaxes(root, 1, 2) @ (root @ fit)
    sums = []
    for parent in reversed(parents):
        starts = np.searchsorted(parent, np.arange(parent[-1] + 1))
        gram, linear = np.add.reduceat(gram, starts), np.add.reduceat(linear, starts)
        sums.append((gram, linear))
    above = np.zeros((1, *fit.shape[1:]))
    found = []
    for (A, b), parent in zip(reversed(sums), [np.zeros(1, np.intp), *parents], strict=False):
        above = above[parent] + _solve(A, b - A @ above[parent])
        found.append(above)
    return found


def _solve(A: FloatArray, b: FloatArray) -> FloatArray:
    """Solve many small semidefinite systems, (n, p, p) and (n, p, m), as far as they say anything."""
    diagonal = np.einsum("nii->ni", A)
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = A * scale[:, :, None] * scale[:, None, :]
    # A ridge far above rounding: where directions can hardly be told apart the pivot stays where it was.
    scaled = scaled + 1e-12 * np.eye(A.shape[1])
    return scale[:, :, None] * np.linalg.solve(scaled, scale[:, :, None] * b)
