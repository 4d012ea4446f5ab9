"""The arrays of a problem that the marginal density and the draws of coefficients read, and their scratch.

One function is then compiled for every problem: trees, leaf statistics, priors and data are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor_numba.data import PackedArrays, ScratchLayout, about_gamma, gamma_pivot
from nestor_numba.kernels import leaf_moments, levels, priors
from nestor_numba.kernels import marginal_places as places
from nestor_numba.kernels.levels import Shape
from nestor_numba.layout import Slots, Tree

if TYPE_CHECKING:
    from nestor.data.problem import LevelDesign, Problem
    from nestor.data.statistics import LeafStatistics
    from nestor.stats.arrays import FloatArray
    from nestor_numba.layout import IntArray


@dataclass(frozen=True)
class MarginalArrays:
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
        return int(self.integers[places.SCALARS])


def pack(problem: Problem, statistics: LeafStatistics) -> MarginalArrays:
    """Lay a problem out for the compiled functions of marginalized coefficients."""
    return _Packing(problem, statistics).arrays()


class _Packing:
    """Puts a problem together, piece by piece."""

    def __init__(self, problem: Problem, statistics: LeafStatistics) -> None:
        gamma = gamma_pivot(statistics)
        statistics = about_gamma(problem, statistics, gamma)
        self._problem, self._statistics, self._gamma = problem, statistics, gamma
        per_parent = any(level.per_parent for level in problem.levels)
        self._shape = Shape(statistics.n_effects, 1 + statistics.n_covariates, per_parent)
        self._tree = Tree.of(problem, statistics, self._shape.lanes)
        self._constants, self._integers, self._scratch = (
            PackedArrays(),
            PackedArrays(),
            ScratchLayout(),
        )
        self._header = np.zeros(places.HEADER, np.int64)
        self._integers.put(self._header)
        own = Slots.of(np.zeros(1, np.int64), 1, self._shape.lanes)
        self._slots = (own, *self._tree.slots)
        self._table = np.zeros((len(self._slots), levels.WIDTH), np.int64)

    def arrays(self) -> MarginalArrays:
        header, p = self._header, self._shape.p
        self._numbers()
        self._states()
        self._levels()
        self._scales()
        self._scalars()
        self._nodes()
        header[places.LEVELS] = len(self._table)
        header[places.TABLE] = self._integers.put(self._table)
        integers = self._integers.joined(np.int64)
        integers[: places.HEADER] = header
        scratch = np.zeros(self._scratch.length)
        scratch[header[places.VARIANCES] : header[places.VARIANCES] + p] = self._population()[1]
        noise = sum(p * slots.size for slots in self._slots) + self._shape.m - 1
        constants = self._constants.joined(np.float64)
        return MarginalArrays(self._shape, constants, integers, scratch, noise)

    def _numbers(self) -> None:
        header, s, problem = self._header, self._statistics, self._problem
        sigma = problem.priors.family["sigma"]
        constant = 0.5 * s.sum_log_weights - 0.5 * s.n_rows * np.log(2.0 * np.pi)
        known = sigma.value if sigma.is_fixed else np.nan
        header[places.NUMBERS] = self._constants.put(np.array([float(s.n_rows), known, constant]))
        header[places.RESIDUAL] = self._constants.put(s.residual)
        gamma = np.array([prior.args for prior in problem.priors.gamma.values()]).reshape(-1, 2)
        header[places.GAMMA_MEAN] = self._constants.put(gamma[:, 0] - self._gamma)
        header[places.GAMMA_PIVOT] = self._constants.put(self._gamma)
        header[places.GAMMA_VARIANCE] = self._constants.put(gamma[:, 1] ** 2)

    def _states(self) -> None:
        """Make room for the states of all levels but the leaves, and above the population."""
        header, width = self._header, self._shape.state
        # One slot, and nobody's.
        size = 2 * self._shape.lanes
        header[places.TOP], header[places.TOP_SIZE] = self._scratch.take(width * size), width * size
        header[places.ZERO_FROM] = header[places.TOP]
        state, above = header[places.TOP], np.zeros(1, np.int64)
        for row, slots in zip(self._table, self._slots, strict=True):
            row[levels.PARENT_STATE], row[levels.PARENT_SIZE] = state, size
            of_parent = np.append(above, size - self._shape.lanes)
            row[levels.PARENT_SLOT] = self._integers.put(of_parent[slots.parent])
            if slots is not self._slots[-1]:
                state, size, above = self._scratch.take(width * slots.size), slots.size, slots.slot
                row[levels.STATE] = state
        header[places.ZERO_TO] = self._scratch.length

    def _levels(self) -> None:
        """Put down the layout and the shifts of each level, and the leaves' square roots."""
        p, m = self._shape.p, self._shape.m
        top = np.zeros((p, m, self._slots[0].size))
        top[:, :, 0] = self._population()[0] - self._tree.pivots[0][..., 0]
        shifts = (top, *self._tree.shifts, self._tree.remainder)
        for row, slots, shift in zip(self._table, self._slots, shifts, strict=True):
            row[levels.SIZE], row[levels.GROUPS] = slots.size, len(slots.first)
            row[levels.FIRST] = self._integers.put(slots.first)
            row[levels.COUNT] = self._integers.put(slots.count)
            row[levels.CUT] = self._integers.put(slots.cut)
            row[levels.SHIFT] = self._constants.put(shift)
        self._table[:, levels.BUFFER] = self._scratch.take(self._shape.state * self._shape.lanes)
        triangle = [(i, j) for i in range(p) for j in range(i, p)]
        roots = np.stack([self._tree.root[i, j] for i, j in triangle])
        if self._shape.one_visit:
            families = self._shape.lanes * len(self._slots[-1].first)
            self._table[-1][levels.MOMENTS] = self._scratch.take(
                families * leaf_moments.width(self._shape)
            )
        self._table[-1][levels.ROOT] = self._constants.put(roots)

    def _scales(self) -> None:
        """Make room for the squares of all scales, and for their sums; the population's come first."""
        header, p = self._header, self._shape.p
        designs: tuple[LevelDesign | None, ...] = (None, *self._problem.levels)
        for row, slots, design in zip(self._table, self._slots, designs, strict=True):
            own = design is not None and design.per_parent
            row[levels.SCALES] = design.n_parents + 1 if design is not None and own else 1
            if self._shape.per_parent:
                nodes = slots.parent if own else np.zeros_like(slots.parent)
                row[levels.PARENT_NODE] = self._integers.put(nodes)
        header[places.SCALE_COUNT] = p * self._table[:, levels.SCALES].sum()
        begin = np.cumsum(p * self._table[:, levels.SCALES]) - p * self._table[:, levels.SCALES]
        header[places.VARIANCES] = self._scratch.take(int(header[places.SCALE_COUNT]))
        header[places.SUMS] = self._scratch.take(int(header[places.SCALE_COUNT]))
        self._table[:, levels.VARIANCE] = header[places.VARIANCES] + begin
        self._table[:, levels.SUMS] = header[places.SUMS] + begin

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
                    at = place[j] * row[levels.SCALES] + parent
                    squares.append(row[levels.VARIANCE] + at)
                    sums.append(row[levels.SUMS] + at)
        header[places.SIGMA] = -1
        sigma = problem.priors.family["sigma"]
        if not sigma.is_fixed:
            header[places.SIGMA] = len(found)
            found.append(sigma)
            nowhere = self._scratch.take(1)
            squares.append(nowhere)
            sums.append(nowhere)
        header[places.SCALARS] = len(found)
        header[places.PRIORS] = self._constants.put(priors.table(found))
        header[places.SQUARES] = self._integers.put(np.array(squares, np.int64))
        header[places.GRADIENTS] = self._integers.put(np.array(sums, np.int64))
        header[places.SCALES] = self._scratch.take(len(found))
        header[places.SLOPES] = self._scratch.take(len(found))

    def _nodes(self) -> None:
        """Put down what is needed to write coefficients in the problem's order."""
        header = self._header
        flat = [np.moveaxis(pivot, -1, 0).ravel() for pivot in self._tree.pivots]
        header[places.NODES] = self._integers.put(np.array([len(s.slot) for s in self._slots]))
        header[places.SLOTS] = self._integers.put(np.concatenate([s.slot for s in self._slots]))
        header[places.PIVOTS] = self._constants.put(np.concatenate(flat))
        header[places.ORDER] = self._integers.put(self._tree.effects)
