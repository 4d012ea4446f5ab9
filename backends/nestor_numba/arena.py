"""All that the compiled functions read of a problem, in two arrays, and how much scratch they need.

One function is then compiled for every problem: trees, leaf statistics, priors and data are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nestor_numba import level as column
from nestor_numba import priors
from nestor_numba.layout import LANES, Slots, Tree

if TYPE_CHECKING:
    from nestor.problem import LevelDesign, Problem
    from nestor.statistics import LeafStatistics
    from nestor_numba.layout import FloatArray, IntArray

# Places of the header at the beginning of the integers.
#: Levels, the population's among them; place of their table; numbers of effects and of columns (1 + c).
LEVELS, TABLE, EFFECTS, COLUMNS = 0, 1, 2, 3
#: Number of sampled scalars; place among the constants of their priors; place among the integers of where each
#: one's square stands in the scratch (-1: nowhere) and of where its sum for the gradient does.
SCALARS, PRIORS, SQUARES, GRADIENTS = 4, 5, 6, 7
#: The scalar that is sigma, -1 if it is known; place among the constants of N, the known sigma, and the
#: constant of the log density.
SIGMA, NUMBERS = 8, 9
#: Places among the constants of the remainders' cross-products and of gamma's prior means and variances.
RESIDUAL, GAMMA_MEAN, GAMMA_VARIANCE = 10, 11, 12
#: Places in the scratch: what must be zero before a pass (from, to), values and slopes of the scalars, the
#: quadratic form, the factor, gamma's own, the state above the population.
ZERO_FROM, ZERO_TO, VALUES, SLOPES, FORM, FACTOR, GAMMA, TOP = 13, 14, 15, 16, 17, 18, 19, 20
#: Length of the scratch, and of one draw's noise; places of nodes' slots, pivots and effects.
SCRATCH, NOISE = 21, 22
NODES, SLOTS, PIVOTS, ORDER = 23, 24, 25, 26
HEADER = 40


@dataclass
class _Pile:
    """Arrays put one after another; remembers where each begins."""

    parts: list[FloatArray] = field(default_factory=list)
    length: int = 0

    def put(self, values: FloatArray | IntArray) -> int:
        begin = self.length
        flat = np.ravel(values)
        self.parts.append(flat)
        self.length += len(flat)
        return begin

    def together(self, dtype: type) -> FloatArray:
        return np.concatenate([np.zeros(0, dtype), *self.parts]).astype(dtype)


@dataclass
class _Scratch:
    length: int = 0

    def room(self, size: int) -> int:
        begin, self.length = self.length, self.length + size
        return begin


@dataclass(frozen=True)
class Arena:
    """What compiled functions take beside a point.

    Parameters
    ----------
    constants : ndarray of float64
        Square roots, shifts, priors and a few numbers.
    integers : ndarray of int64
        A header of places, the levels' table, and the layout of the tree.
    """

    constants: FloatArray
    integers: IntArray

    @property
    def scratch_size(self) -> int:
        """Numbers of scratch that one call needs; zeros at first."""
        return int(self.integers[SCRATCH])

    @property
    def noise_size(self) -> int:
        """Standard normal numbers that one draw of all coefficients needs."""
        return int(self.integers[NOISE])

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
        self._problem, self._statistics = problem, statistics
        self._tree = Tree.of(problem, statistics)
        self._p, self._m = statistics.n_effects, 1 + statistics.n_covariates
        self._constants, self._integers, self._scratch = _Pile(), _Pile(), _Scratch()
        self._header = np.zeros(HEADER, np.int64)
        self._integers.put(self._header)
        self._state_width = self._p * (self._p + 1) // 2 + self._p * self._m

    def arena(self) -> Arena:
        header, p, m = self._header, self._p, self._m
        header[EFFECTS], header[COLUMNS] = p, m
        header[SCALARS] = 0
        self._numbers()
        self._levels()
        self._scalars()
        from nestor_numba.kernel_any import local_size

        local = self._scratch.room(LANES * local_size.py_func(p, m))
        self._table[:, column.LOCAL] = local
        self._nodes()
        header[LEVELS] = len(self._table)
        header[TABLE] = self._integers.put(self._table)
        header[SCRATCH] = self._scratch.length
        integers = self._integers.together(np.int64)
        integers[:HEADER] = header
        return Arena(self._constants.together(np.float64), integers)

    def _numbers(self) -> None:
        header, s, problem = self._header, self._statistics, self._problem
        sigma = problem.priors.family["sigma"]
        constant = 0.5 * s.sum_log_weights - 0.5 * s.n_rows * np.log(2.0 * np.pi)
        known = sigma.value if sigma.is_fixed else np.nan
        header[NUMBERS] = self._constants.put(np.array([float(s.n_rows), known, constant]))
        header[RESIDUAL] = self._constants.put(s.residual)
        gamma = np.array([prior.args for prior in problem.priors.gamma.values()]).reshape(-1, 2)
        header[GAMMA_MEAN] = self._constants.put(gamma[:, 0])
        header[GAMMA_VARIANCE] = self._constants.put(gamma[:, 1] ** 2)

    def _levels(self) -> None:
        """Fill the table: the population as a level of one node, then the problem's."""
        p, m, header = self._p, self._m, self._header
        mean, variance = self._population()
        own = Slots.of(np.zeros(1, np.int64), 1)
        top = np.zeros((p, m, own.size))
        top[:, :, 0] = mean - self._tree.root_pivot
        slots = (own, *self._tree.slots)
        shifts = (top, *self._tree.shifts)
        # The state above the population: one slot, and nobody's.
        size, state = 2 * LANES, self._scratch.room(self._state_width * 2 * LANES)
        header[TOP], header[ZERO_FROM] = state, state
        self._table = np.zeros((len(slots), column.WIDTH), np.int64)
        states = []
        for k in range(len(slots) - 1):
            states.append(self._scratch.room(self._state_width * slots[k].size))
        header[FORM] = self._scratch.room(m * m)
        header[ZERO_TO] = self._scratch.length
        header[FACTOR] = self._scratch.room(m * m)
        header[GAMMA] = self._scratch.room(4 * m * m + 4 * m)
        designs: tuple[LevelDesign | None, ...] = (None, *self._problem.levels)
        above = np.zeros(1, np.int64)
        for k, (places, design) in enumerate(zip(slots, designs, strict=True)):
            row = self._table[k]
            row[column.SIZE], row[column.GROUPS] = places.size, len(places.first)
            row[column.FIRST] = self._integers.put(places.first)
            row[column.COUNT] = self._integers.put(places.count)
            slot_of_parent = np.append(above, size - LANES)
            row[column.PARENT_SLOT] = self._integers.put(slot_of_parent[places.parent])
            row[column.PARENT_STATE], row[column.PARENT_SIZE] = state, size
            row[column.SHIFT] = self._constants.put(shifts[k])
            if k < len(states):
                state, size, above = states[k], places.size, places.slot
                row[column.STATE] = state
                row[column.STEPS] = self._scratch.room(p * (p + m + 1) * size)
            else:
                triangle = [(i, j) for i in range(p) for j in range(i, p)]
                roots = np.stack([self._tree.root[i, j] for i, j in triangle])
                row[column.ROOT] = self._constants.put(roots)
            per_parent = design is not None and design.per_parent
            scales = design.n_parents + 1 if design is not None and per_parent else 1
            row[column.PER_PARENT], row[column.SCALES] = per_parent, scales
            row[column.PARENT_NODE] = self._integers.put(places.parent if per_parent else [])
            row[column.VARIANCE] = self._scratch.room(p * scales)
            row[column.SUMS] = self._scratch.room(p * scales)
            row[column.EFFECTS], row[column.COLUMNS] = p, m
            row[column.FORM], row[column.FACTOR] = header[FORM], header[FACTOR]
        self._slots = slots
        self._root_variance = self._constants.put(variance)

    def _population(self) -> tuple[FloatArray, FloatArray]:
        """Prior mean, (p, m), and variance, (p,), of the population's effects, in the tree's order."""
        mean, variance = np.zeros((self._p, self._m)), np.zeros(self._p)
        for place, j in enumerate(self._tree.effects):
            effect = self._problem.effects[j]
            if effect in self._problem.priors.beta:
                location, scale = self._problem.priors.beta[effect].args
                mean[place, 0], variance[place] = location, scale**2
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
            squares.append(-1)
            sums.append(-1)
        header[SCALARS] = len(found)
        header[PRIORS] = self._constants.put(priors.table(found))
        header[SQUARES] = self._integers.put(np.array(squares, np.int64))
        header[GRADIENTS] = self._integers.put(np.array(sums, np.int64))
        header[VALUES] = self._scratch.room(len(found))
        header[SLOPES] = self._scratch.room(len(found))

    def _nodes(self) -> None:
        """Put down what is needed to write coefficients in the problem's order."""
        header = self._header
        pivots = (self._tree.root_pivot[..., None], *self._tree.pivots)
        header[NODES] = self._integers.put(np.array([len(s.slot) for s in self._slots]))
        header[SLOTS] = self._integers.put(np.concatenate([s.slot for s in self._slots]))
        header[PIVOTS] = self._constants.put(np.concatenate([np.ravel(v) for v in pivots]))
        header[ORDER] = self._integers.put(self._tree.effects)
        header[NOISE] = sum(self._p * s.size for s in self._slots) + self._m - 1
        header[HEADER - 1] = self._root_variance
