"""All that the compiled functions read of a problem, in two arrays, and how much scratch they need.

One function is then compiled for every problem: trees, leaf statistics, priors and data are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor_numba import covariates, leaf_moments, priors
from nestor_numba import level as column
from nestor_numba.layout import Slots, Tree
from nestor_numba.levels import Shape
from nestor_numba.piles import Pile, Room

if TYPE_CHECKING:
    from nestor.data.problem import LevelDesign, Problem
    from nestor.data.statistics import LeafStatistics
    from nestor_numba.layout import FloatArray, IntArray

# Places of the header, at the beginning of the integers.
#: Levels, the population's among them, and the place of their table.
LEVELS, TABLE = 0, 1
#: Number of sampled scalars; place among the constants of their priors; places among the integers of where
#: each one's square stands in the scratch, and its sum for the gradient; the scalar that is sigma, -1 if it
#: is known.
SCALARS, PRIORS, SQUARES, GRADIENTS, SIGMA = 2, 3, 4, 5, 6
#: Places among the constants of N, the known sigma, and the constant of the log density; of the remainders'
#: cross-products; of gamma's prior means, less its pivot, and variances.
NUMBERS, RESIDUAL, GAMMA_MEAN, GAMMA_VARIANCE = 7, 8, 9, 10
#: Places in the scratch: what must be zero before a pass (from, to); the state above the population and its
#: length; scalars and their slopes; squares of all scales, their sums for the gradient, and how many.
ZERO_FROM, ZERO_TO, TOP, TOP_SIZE, SCALES, SLOPES, VARIANCES, SUMS, SCALE_COUNT = range(11, 20)
#: Where each level's nodes are (integers: how many, their slots, the order of effects; constants: pivots).
NODES, SLOTS, PIVOTS, ORDER = 20, 21, 22, 23
#: Place among the constants of what was taken from gamma.
GAMMA_PIVOT = 24
HEADER = 25


@dataclass(frozen=True)
class Arena:
    """What compiled functions take beside a point.

    Parameters
    ----------
    shape : Shape
        What the functions are written for.
    constants : ndarray of float64
        Square roots, shifts, priors and a few numbers.
    integers : ndarray of int64
        A header of places, the levels' table, and the layout of the tree.
    scratch : ndarray of float64
        What a piece of scratch holds at first.
    noise : int
        Standard normal numbers that one draw of all coefficients takes.
    """

    shape: Shape
    constants: FloatArray
    integers: IntArray
    scratch: FloatArray
    noise: int

    @property
    def dimension(self) -> int:
        """Number of sampled scalars."""
        return int(self.integers[SCALARS])


def pack(problem: Problem, statistics: LeafStatistics) -> Arena:
    """Lay a problem out for the compiled functions of marginalized coefficients."""
    return _Packing(problem, statistics).arena()


class _Packing:
    """Puts a problem together, piece by piece."""

    def __init__(self, problem: Problem, statistics: LeafStatistics) -> None:
        gamma = covariates.pivot(statistics)
        statistics = covariates.less(problem, statistics, gamma)
        self._problem, self._statistics, self._gamma = problem, statistics, gamma
        per_parent = any(level.per_parent for level in problem.levels)
        self._shape = Shape(statistics.n_effects, 1 + statistics.n_covariates, per_parent)
        self._tree = Tree.of(problem, statistics, self._shape.lanes)
        self._constants, self._integers, self._scratch = Pile(), Pile(), Room()
        self._header = np.zeros(HEADER, np.int64)
        self._integers.put(self._header)
        own = Slots.of(np.zeros(1, np.int64), 1, self._shape.lanes)
        self._slots = (own, *self._tree.slots)
        self._table = np.zeros((len(self._slots), column.WIDTH), np.int64)

    def arena(self) -> Arena:
        header, p = self._header, self._shape.p
        self._numbers()
        self._states()
        self._levels()
        self._scales()
        self._scalars()
        self._nodes()
        header[LEVELS] = len(self._table)
        header[TABLE] = self._integers.put(self._table)
        integers = self._integers.together(np.int64)
        integers[:HEADER] = header
        scratch = np.zeros(self._scratch.length)
        scratch[header[VARIANCES] : header[VARIANCES] + p] = self._population()[1]
        noise = sum(p * slots.size for slots in self._slots) + self._shape.m - 1
        constants = self._constants.together(np.float64)
        return Arena(self._shape, constants, integers, scratch, noise)

    def _numbers(self) -> None:
        header, s, problem = self._header, self._statistics, self._problem
        sigma = problem.priors.family["sigma"]
        constant = 0.5 * s.sum_log_weights - 0.5 * s.n_rows * np.log(2.0 * np.pi)
        known = sigma.value if sigma.is_fixed else np.nan
        header[NUMBERS] = self._constants.put(np.array([float(s.n_rows), known, constant]))
        header[RESIDUAL] = self._constants.put(s.residual)
        gamma = np.array([prior.args for prior in problem.priors.gamma.values()]).reshape(-1, 2)
        header[GAMMA_MEAN] = self._constants.put(gamma[:, 0] - self._gamma)
        header[GAMMA_PIVOT] = self._constants.put(self._gamma)
        header[GAMMA_VARIANCE] = self._constants.put(gamma[:, 1] ** 2)

    def _states(self) -> None:
        """Make room for the states of all levels but the leaves, and above the population."""
        header, width = self._header, self._shape.state
        # One slot, and nobody's.
        size = 2 * self._shape.lanes
        header[TOP], header[TOP_SIZE] = self._scratch.take(width * size), width * size
        header[ZERO_FROM] = header[TOP]
        state, above = header[TOP], np.zeros(1, np.int64)
        for row, slots in zip(self._table, self._slots, strict=True):
            row[column.PARENT_STATE], row[column.PARENT_SIZE] = state, size
            of_parent = np.append(above, size - self._shape.lanes)
            row[column.PARENT_SLOT] = self._integers.put(of_parent[slots.parent])
            if slots is not self._slots[-1]:
                state, size, above = self._scratch.take(width * slots.size), slots.size, slots.slot
                row[column.STATE] = state
        header[ZERO_TO] = self._scratch.length

    def _levels(self) -> None:
        """Put down the layout and the shifts of each level, and the leaves' square roots."""
        p, m = self._shape.p, self._shape.m
        top = np.zeros((p, m, self._slots[0].size))
        top[:, :, 0] = self._population()[0] - self._tree.pivots[0][..., 0]
        shifts = (top, *self._tree.shifts, self._tree.remainder)
        for row, slots, shift in zip(self._table, self._slots, shifts, strict=True):
            row[column.SIZE], row[column.GROUPS] = slots.size, len(slots.first)
            row[column.FIRST] = self._integers.put(slots.first)
            row[column.COUNT] = self._integers.put(slots.count)
            row[column.CUT] = self._integers.put(slots.cut)
            row[column.SHIFT] = self._constants.put(shift)
        self._table[:, column.BUFFER] = self._scratch.take(self._shape.state * self._shape.lanes)
        triangle = [(i, j) for i in range(p) for j in range(i, p)]
        roots = np.stack([self._tree.root[i, j] for i, j in triangle])
        if self._shape.one_visit:
            families = self._shape.lanes * len(self._slots[-1].first)
            self._table[-1][column.MOMENTS] = self._scratch.take(
                families * leaf_moments.width(self._shape)
            )
        self._table[-1][column.ROOT] = self._constants.put(roots)

    def _scales(self) -> None:
        """Make room for the squares of all scales, and for their sums; the population's come first."""
        header, p = self._header, self._shape.p
        designs: tuple[LevelDesign | None, ...] = (None, *self._problem.levels)
        for row, slots, design in zip(self._table, self._slots, designs, strict=True):
            own = design is not None and design.per_parent
            row[column.SCALES] = design.n_parents + 1 if design is not None and own else 1
            if self._shape.per_parent:
                nodes = slots.parent if own else np.zeros_like(slots.parent)
                row[column.PARENT_NODE] = self._integers.put(nodes)
        header[SCALE_COUNT] = p * self._table[:, column.SCALES].sum()
        begin = np.cumsum(p * self._table[:, column.SCALES]) - p * self._table[:, column.SCALES]
        header[VARIANCES] = self._scratch.take(int(header[SCALE_COUNT]))
        header[SUMS] = self._scratch.take(int(header[SCALE_COUNT]))
        self._table[:, column.VARIANCE] = header[VARIANCES] + begin
        self._table[:, column.SUMS] = header[SUMS] + begin

    def _population(self) -> tuple[FloatArray, FloatArray]:
        """Prior mean, (p, m), and variance, (p,), of the population's effects, in the tree's order."""
        p, m = self._shape.p, self._shape.m
        mean, variance = np.zeros((p, m)), np.zeros(p)
        for place, j in enumerate(self._tree.effects):
            effect = self._problem.effects[j]
            if effect in self._problem.priors.beta:
                location, scale = self._problem.priors.beta[effect].args
                mean[place, 0], variance[place] = location, scale * scale
        return mean, variance

    def _scalars(self) -> None:
        """Put down the sampled scalars: every tau, level by level, then sigma unless it is known."""
        header, problem = self._header, self._problem
        place = np.argsort(self._tree.effects)
        found, squares, sums = [], [], []
        for k, design in enumerate(problem.levels, start=1):
            row = self._table[k]
            by_effect = list(problem.priors.tau[design.name].values())
            for parent in range(design.n_parents if design.per_parent else 1):
                for prior, j in zip(by_effect, design.varying, strict=True):
                    found.append(prior)
                    at = place[j] * row[column.SCALES] + parent
                    squares.append(row[column.VARIANCE] + at)
                    sums.append(row[column.SUMS] + at)
        header[SIGMA] = -1
        sigma = problem.priors.family["sigma"]
        if not sigma.is_fixed:
            header[SIGMA] = len(found)
            found.append(sigma)
            nowhere = self._scratch.take(1)
            squares.append(nowhere)
            sums.append(nowhere)
        header[SCALARS] = len(found)
        header[PRIORS] = self._constants.put(priors.table(found))
        header[SQUARES] = self._integers.put(np.array(squares, np.int64))
        header[GRADIENTS] = self._integers.put(np.array(sums, np.int64))
        header[SCALES] = self._scratch.take(len(found))
        header[SLOPES] = self._scratch.take(len(found))

    def _nodes(self) -> None:
        """Put down what is needed to write coefficients in the problem's order."""
        header = self._header
        flat = [np.moveaxis(pivot, -1, 0).ravel() for pivot in self._tree.pivots]
        header[NODES] = self._integers.put(np.array([len(s.slot) for s in self._slots]))
        header[SLOTS] = self._integers.put(np.concatenate([s.slot for s in self._slots]))
        header[PIVOTS] = self._constants.put(np.concatenate(flat))
        header[ORDER] = self._integers.put(self._tree.effects)
