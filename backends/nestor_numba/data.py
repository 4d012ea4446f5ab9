"""The arrays of a problem that the compiled joint density reads: constants and integers.

The sampled point is laid out as `nestor.engines.coordinates.Coordinates` says.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.data.statistics import leaf_statistics, merged_rows
from nestor.engines.coordinates import PopulationCoordinates, ScaleCoordinates
from nestor.model.names import INTERCEPT
from nestor_numba.kernels import joint_places as at
from nestor_numba.kernels import location_priors, priors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.data.design import LevelDesign
    from nestor.data.problem import Problem
    from nestor.data.statistics import LeafStatistics
    from nestor.engines.formulation import Formulation
    from nestor.stats.arrays import FloatArray
    from nestor_numba.kernels.joint_places import Kind


def stride(n: int) -> int:
    """Length of a row of n nodes: a vector may begin at the last one."""
    return n + 2 * at.LANES


@dataclass(frozen=True)
class JointArrays:
    """What the compiled function takes beside a point.

    Parameters
    ----------
    kind : Kind
        What the function is written for.
    constants, integers, scratch : ndarray
        See `nestor_numba.kernels.joint_places`; the scratch as it is at first.
    """

    kind: Kind
    constants: FloatArray
    integers: NDArray[np.int64]
    scratch: FloatArray

    @property
    def dimension(self) -> int:
        """Number of sampled scalars."""
        return int(self.integers[at.DIMENSION])


def pack(problem: Problem, formulation: Formulation) -> JointArrays:
    """Lay a problem out for the compiled function of sampled coefficients.

    Raises
    ------
    Unsupported
        For priors that are not known here, and rows to be merged of which no two are the same.
    """
    return _Packing(problem, formulation).arrays()


class _Packing:
    """Puts a problem together, piece by piece."""

    def __init__(self, problem: Problem, formulation: Formulation) -> None:
        self._problem, self._formulation = problem, formulation
        self._scales, self._population = (
            ScaleCoordinates(problem),
            PopulationCoordinates.of(problem),
        )
        self._constants, self._integers, self._scratch = (
            PackedArrays(),
            PackedArrays(),
            ScratchLayout(),
        )
        self._header = np.zeros(at.HEADER, np.int64)
        self._integers.put(self._header)
        self._confined = self._population.priors[self._population.real :]
        self._counts = np.zeros(len(self._confined) + len(self._scales.priors))

    def arrays(self) -> JointArrays:
        header, problem = self._header, self._problem
        above = self._population.real + len(self._counts)
        nodes = sum(level.n * len(level.varying) for level in problem.levels)
        dimension = above + nodes
        header[at.DIMENSION], header[at.FULL] = dimension, dimension // at.LANES * at.LANES
        header[at.POINT] = self._scratch.take(stride(dimension))
        header[at.GRADIENT] = self._scratch.take(stride(dimension))
        self._scalars()
        self._levels(first=above)
        header[at.COUNTS] = self._constants.put(self._counts)
        kind = self._likelihood()
        integers = self._integers.joined(np.int64)
        integers[: at.HEADER] = header
        return JointArrays(
            kind, self._constants.joined(np.float64), integers, np.zeros(self._scratch.length)
        )

    def _scalars(self) -> None:
        header, found = self._header, (*self._confined, *self._scales.priors)
        names = [v.name for v in self._scales.variables if v.role == "family"]
        header[at.SCALARS], header[at.CONFINED] = len(found), len(self._confined)
        header[at.PRIORS] = self._constants.put(priors.table(found))
        for place in (at.SCALES, at.RECIPROCALS, at.SLOPES, at.DERIVATIVES):
            header[place] = self._scratch.take(len(found) + 1)
        # The family's parameters come last.
        for place, name in ((at.SIGMA, "sigma"), (at.NU, "nu")):
            header[place] = len(found) - len(names) + names.index(name) if name in names else -1

    def _locations(self, root_b: int, root_g: int) -> None:
        """Put down the population's priors, and where its coefficients go."""
        header, found = self._header, self._population
        c = len(self._problem.spec.covariates)
        header[at.LOCATIONS] = found.real
        table = location_priors.table(found.priors[: found.real])
        header[at.LOCATION_PRIORS] = self._constants.put(table)
        for place, root, own in (
            (at.GAMMA, root_b, at.LOCATION_VALUES),
            (at.GAMMA_SLOPES, root_g, at.LOCATION_SLOPES),
        ):
            header[place] = self._scratch.take(c)
            of_beta = root + stride(1) * np.arange(found.p)
            targets = np.append(of_beta, header[place] + np.arange(c))
            header[own] = self._integers.put(targets[found.order])

    def _levels(self, first: int) -> None:
        """Put down the table of levels; `first` is the place of the first node's scalar in the point."""
        header, p = self._header, len(self._problem.effects)
        above_b, above_g = self._scratch.take(p * stride(1)), self._scratch.take(p * stride(1))
        n_above = 1
        self._locations(above_b, above_g)
        widest = stride(max(level.n for level in self._problem.levels))
        # What is inherited is sampled nowhere: zeros, and a place for derivatives that nobody reads.
        nowhere = (self._scratch.take(widest), self._scratch.take(widest))
        table, scale = [], len(self._confined)
        for level in self._problem.levels:
            row = np.zeros(at.EFFECTS + at.PER_EFFECT * p, np.int64)
            size = stride(level.n)
            row[at.NODES], row[at.STRIDE] = level.n, size
            row[at.PARENTS], row[at.PARENT_STRIDE] = n_above, stride(n_above)
            row[at.ABOVE_B], row[at.ABOVE_G] = above_b, above_g
            above_b, above_g = self._scratch.take(p * size), self._scratch.take(p * size)
            row[at.B], row[at.G] = above_b, above_g
            row[at.DEVIATION] = self._scratch.take(p * size)
            self._tree(row, level)
            first, scale = self._effects(row, level, first, scale, nowhere)
            table.append(row)
            n_above = level.n
        header[at.LEVELS], header[at.TABLE] = len(table), self._integers.put(np.array(table))
        header[at.LEAVES], header[at.LEAF_STRIDE] = n_above, stride(n_above)
        header[at.LEAF_B], header[at.LEAF_G] = above_b, above_g

    def _tree(self, row: NDArray[np.int64], level: LevelDesign) -> None:
        children = np.bincount(level.parent, minlength=level.n_parents)
        step = len(level.varying) if level.per_parent else 0
        row[at.PARENT] = self._integers.put(_padded(level.parent))
        row[at.CHILDREN] = self._integers.put(np.append(0, np.cumsum(children)))
        row[at.NODE_SCALE] = self._integers.put(_padded(level.parent * step))
        row[at.PARENT_SCALE] = self._integers.put(np.arange(level.n_parents) * step)

    def _effects(
        self,
        row: NDArray[np.int64],
        level: LevelDesign,
        first: int,
        scale: int,
        nowhere: tuple[int, int],
    ) -> tuple[int, int]:
        """Where the scalars and scales of a level are; returns the first ones of the level below."""
        header, p, q = self._header, len(self._problem.effects), len(level.varying)
        centred = self._formulation.is_centered(level.name)
        flags = np.zeros((p, 2))
        # An inherited effect's flags are zero: what its scale is does not matter.
        places = [(scale if q else len(self._counts), *nowhere) for _ in range(p)]
        for k, j in enumerate(level.varying):
            flags[j] = (centred, not centred)
            begin = first + k * level.n
            places[j] = (scale + k, header[at.POINT] + begin, header[at.GRADIENT] + begin)
        row[at.FLAGS] = self._constants.put(flags)
        row[at.EFFECTS :] = np.ravel(places)
        scales = q * (level.n_parents if level.per_parent else 1)
        if centred and q:
            counts = np.bincount(level.parent, minlength=level.n_parents)
            each = counts if level.per_parent else counts.sum(keepdims=True)
            self._counts[scale : scale + scales] = np.repeat(each, q)
        return first + q * level.n, scale + scales

    def _likelihood(self) -> Kind:
        problem, header = self._problem, self._header
        student = problem.spec.family == "student_t"
        by_statistics = self._formulation.likelihood == "statistics"
        parameters = problem.priors.family
        known = {n: prior.value for n, prior in parameters.items() if prior.is_fixed}
        effects = problem.effects
        common = {
            "p": len(effects),
            "c": len(problem.spec.covariates),
            "ones": effects.index(INTERCEPT) if INTERCEPT in effects else -1,
            "per_parent": int(any(level.per_parent for level in problem.levels)),
            "student": int(student),
        }
        weights: float
        if by_statistics and not student:
            gamma, found = statistics_about_pivot(problem)
            weights = found.sum_log_weights
            more = put_statistics(header, self._constants, gamma, found, stride(found.n_leaves))
        else:
            logs = None if problem.weights is None else np.log(problem.weights)
            weights = 0.0 if logs is None else float(logs.sum())
            more = put_rows(header, self._constants, self._integers, problem, merged=by_statistics)
        constant = 0.5 * weights - 0.5 * problem.n_rows * np.log(2.0 * np.pi)
        nodes = sum(level.n * len(level.varying) for level in problem.levels)
        constant -= 0.5 * nodes * np.log(2.0 * np.pi)
        numbers = [problem.n_rows, known.get("sigma", 1.0), known.get("nu", 1.0), constant]
        header[at.NUMBERS] = self._constants.put(np.array(numbers, np.float64))
        return at.Kind(**common, **more)


def _padded(values: NDArray[np.int_]) -> NDArray[np.int64]:
    return np.append(values, np.zeros(at.LANES, np.int64))


def statistics_about_pivot(problem: Problem) -> tuple[FloatArray, LeafStatistics]:
    """A pivot of gamma, (c,), and the statistics of the outcome less what it explains."""
    gamma = gamma_pivot(problem.statistics)
    return gamma, about_gamma(problem, problem.statistics, gamma)


def put_statistics(
    header: NDArray[np.int64],
    constants: PackedArrays,
    gamma: FloatArray,
    statistics: LeafStatistics,
    stride: int,
) -> dict[str, int]:
    """Put leaf statistics down, rows of `stride` leaves; returns what they say of the kind."""
    p, n = statistics.n_effects, statistics.n_leaves
    triangular = not np.tril(statistics.root, -1).any()
    entries = [(i, j) for i in range(p) for j in (range(i, p) if triangular else range(p))]
    roots = np.zeros((len(entries), stride))
    for row, (i, j) in zip(roots, entries, strict=True):
        row[:n] = statistics.root[:, i, j]
    fit = np.zeros((p, 1 + len(gamma), stride))
    fit[..., :n] = np.moveaxis(statistics.fit, 0, -1)
    header[at.ROOT], header[at.FIT] = constants.put(roots), constants.put(fit)
    header[at.RESIDUAL] = constants.put(statistics.residual)
    header[at.GAMMA_PIVOT] = constants.put(gamma)
    return {"statistics": 1, "triangular": int(triangular), "weighted": 0, "counted": 0}


def put_rows(
    header: NDArray[np.int64],
    constants: PackedArrays,
    integers: PackedArrays,
    problem: Problem,
    *,
    merged: bool,
) -> dict[str, int]:
    """Put the columns of rows down, distinct ones with counts if asked; returns what they say of the kind.

    Raises
    ------
    Unsupported
        If rows are to be merged and no two are the same.
    """
    distinct = merged_rows(problem) if merged else None
    found = problem.rows if distinct is None else distinct
    effects = problem.effects
    columns = [found.y if found.offset is None else found.y - found.offset]
    columns += [x for x, effect in zip(found.X.T, effects, strict=True) if effect != INTERCEPT]
    columns += list(found.Z.T)
    if found.weights is not None:
        columns.append(found.weights)
    if distinct is not None:
        columns.append(distinct.count.astype(np.float64))
    stride = len(found.y) + at.LANES
    padded = np.zeros((len(columns), stride))
    for row, column in zip(padded, columns, strict=True):
        row[: -at.LANES] = column
    header[at.COLUMNS], header[at.ROW_STRIDE] = constants.put(padded), stride
    sizes = np.bincount(found.leaf, minlength=problem.index.n_leaves)
    header[at.STARTS] = integers.put(np.append(0, np.cumsum(sizes)))
    weighted = int(found.weights is not None)
    return {"statistics": 0, "triangular": 0, "weighted": weighted, "counted": int(merged)}


#: Share of a covariate's squares that must be left of it beside the effects, or within leaves. What little is
#: left of one that they explain would ask for a coefficient far from any that the prior allows.
_LEFT = 1e-6


def gamma_pivot(statistics: LeafStatistics) -> FloatArray:
    """Least-squares gamma, (c,), as far as the data say anything; any value would do.

    That of all leaves with one beta, and then from within leaves, where sigma may be small beside what
    differs between them.
    """
    if statistics.n_covariates == 0:
        return np.zeros(0)
    explained = statistics.root @ statistics.fit[..., 1:]
    squares = np.square(explained).sum(axis=(0, 1)) + np.diag(statistics.residual)[1:]
    size = np.sqrt(np.where(squares > 0, squares, 1.0))
    away = statistics.root @ (statistics.fit - statistics.pooled)
    within = statistics.residual
    of_all = within + np.einsum("npi,npj->ij", away, away)
    gamma = _step(of_all, size, np.zeros(len(size)))
    return gamma + _step(within, size, gamma)


def _step(squares: FloatArray, size: FloatArray, gamma: FloatArray) -> FloatArray:
    """What least squares add to gamma, (c,), given cross-products with the outcome first, (1 + c, 1 + c)."""
    information, along = np.linalg.eigh(squares[1:, 1:] / np.outer(size, size))
    known = information > _LEFT
    score = (squares[1:, 0] - squares[1:, 1:] @ gamma) / size
    step = along[:, known] @ (along[:, known].T @ score / information[known])
    return np.asarray(step / size)


def about_gamma(problem: Problem, statistics: LeafStatistics, gamma: FloatArray) -> LeafStatistics:
    """Statistics of the outcome less the covariates times `gamma`."""
    if not gamma.size:
        return statistics
    if problem.has_rows:
        # From the rows again, since the difference below loses what gamma explains.
        return leaf_statistics(problem.with_outcome(problem.y - problem.Z @ gamma))
    fit, away = statistics.fit.copy(), np.eye(1 + len(gamma))
    fit[..., 0] -= fit[..., 1:] @ gamma
    away[1:, 0] = -gamma
    return replace(statistics, fit=fit, residual=away.T @ statistics.residual @ away)


@dataclass
class PackedArrays:
    """Arrays that are put down one after another."""

    parts: list[NDArray[Any]] = field(default_factory=list)
    length: int = 0

    def put(self, values: NDArray[Any]) -> int:
        """Put an array on top; returns where it begins."""
        begin = self.length
        self.parts.append(np.ravel(values))
        self.length += values.size
        return begin

    def joined(self, dtype: type) -> NDArray[Any]:
        """All of them."""
        return np.concatenate([np.zeros(0, dtype), *self.parts]).astype(dtype)


@dataclass
class ScratchLayout:
    """ScratchLayout for arrays that hold zeros at first."""

    length: int = 0

    def take(self, size: int) -> int:
        """Make room; returns where it begins."""
        begin, self.length = self.length, self.length + size
        return begin
