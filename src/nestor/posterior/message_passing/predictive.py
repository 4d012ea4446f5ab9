"""The density of each leaf's (or row's) outcome given all other outcomes and the scales.

The state of a node is x = (beta_v, gamma) minus a pivot; gamma is an effect that varies at no level, so that
all nodes have the root's. Messages about it are triangles (see the module `triangles` here). They go up the
tree, from leaves to the root, and from the root's prior down again: a child receives the message that its
parent has from above, times the messages of all its siblings, widened by the child's own standard
deviations. At a leaf this is the cavity density: the density of its coefficients given all rows but its own.
With D its triangle, A the triangle of the leaf's rows, and R the triangle of D and A together,

    log p(y_v | y_-v, theta) = log |det D| - log |det R| - e / 2 - (n_v / 2) log(2 pi sigma^2)
                               + sum_i log(w_i) / 2,

where e is the squared remainder in the last column after the rotations, plus the residual sum of squares
that no coefficients can reduce, over sigma^2. For rows in place of leaves the tree has one more level, at
which nothing varies: a row has its leaf's coefficients.

Sources: Pearl (1988), chapter 7, for propagation both ways, exact on a tree; Vehtari, Mononen, Tolvanen,
Sivula and Winther (2016), JMLR 17, for leave-one-out densities from cavities of Gaussians.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from nestor.data.design import LevelDesign
from nestor.data.marginalization import not_marginalizable
from nestor.errors import Unsupported
from nestor.posterior.message_passing.leaf_factors import UnitFactors, leaf_factors, row_factors
from nestor.posterior.message_passing.siblings import (
    SiblingPairs,
    multiply_others,
    multiply_siblings,
    plan_rounds,
)
from nestor.posterior.message_passing.triangles import add_row, multiply, propagate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nestor.data.problem import Problem
    from nestor.stats.arrays import FloatArray


#: Numbers in the largest array of a pass.
_LARGEST_ARRAY = 400_000
_LOG_TWO_PI = float(np.log(2 * np.pi))
#: A precision for known coefficients: a power of two, which rotations divide out without rounding, and
#: whose square does not overflow.
_KNOWN = 2.0**300


@dataclass(frozen=True)
class _Messages:
    """Messages from the nodes of a level to their parents, multiplied pair by pair in rounds."""

    gathered: list[FloatArray]
    rounds: tuple[SiblingPairs, ...]


class Predictive:
    """Log density of each unit (leaf or row) given all other units, for many sets of scales.

    Parameters
    ----------
    problem : Problem
        A gaussian outcome and Normal priors of population coefficients.
    units : UnitFactors
        Likelihood factor of each unit.
    levels : tuple of LevelDesign
        Those of the problem, and of the units if they are no leaves.

    Attributes
    ----------
    batch : int
        Number of sets of scales to evaluate at once; larger batches cost memory and save no time.
    """

    def __init__(
        self, problem: Problem, units: UnitFactors, levels: tuple[LevelDesign, ...]
    ) -> None:
        self._units, self._levels = units, levels
        self._root = _root(problem, units.pivot)
        self._rounds = [plan_rounds(level.parent, level.n_parents) for level in levels]
        self.batch = max(1, _LARGEST_ARRAY // units.A.size)

    @classmethod
    def of_leaves(cls, problem: Problem) -> Self:
        """Make the units leaves; rows need not be in memory.

        Raises
        ------
        Unsupported
            If coefficients do not integrate out exactly.
        """
        _require_gaussian(problem, "a leaf")
        return cls(problem, leaf_factors(problem), problem.levels)

    @classmethod
    def of_rows(cls, problem: Problem) -> Self:
        """Make the units rows.

        Raises
        ------
        Unsupported
            If coefficients do not integrate out exactly.
        DataError
            If rows are not in memory.
        """
        _require_gaussian(problem, "a row")
        leaves, nothing = problem.index.n_leaves, np.zeros(0, np.intp)
        rows = LevelDesign("row", problem.leaf, leaves, nothing, per_parent=False)
        return cls(problem, row_factors(problem), (*problem.levels, rows))

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self._units.rest)

    def log_density(self, scales: Mapping[str, FloatArray]) -> FloatArray:
        """Log density of each unit's outcome given all other outcomes and the scales, with all constants.

        Parameters
        ----------
        scales : mapping of str to ndarray, (B, *shape)
            Every tau_<level>, and sigma, also where its value is known.

        Returns
        -------
        ndarray, (n, B)
        """
        sigma = scales["sigma"]
        A = self._units.A[..., None] / sigma
        sds = [_deviation_sds(level, scales) for level in self._levels]
        return self._unit_log_density(self._down(self._up(A, sds), sds), A, sigma)

    def moments(self, scales: Mapping[str, FloatArray]) -> list[tuple[FloatArray, FloatArray]]:
        """Means and standard deviations of all coefficients given the outcome and the scales.

        A node's posterior is the product of its parent's message and the message of its own subtree.

        Parameters
        ----------
        scales : mapping of str to ndarray, (B, *shape)
            As for `log_density`.

        Returns
        -------
        list of (mean, sd), each (d, n, B)
            Of the population (n = 1), then of each level; d are effects and covariates.
        """
        A = self._units.A[..., None] / scales["sigma"]
        sds = [_deviation_sds(level, scales) for level in self._levels]
        messages = self._up(A, sds)
        own = [*(one.gathered[-1] for one in messages), A]
        D = np.repeat(self._root[:, :, None, None], A.shape[-1], axis=-1)
        found = [_moments(multiply(D, own[0]), self._units.pivot)]
        for level, sd, one, A_k in zip(self._levels, sds, messages, own[1:], strict=True):
            D = propagate(multiply_others(D, one.gathered, one.rounds), sd, level.varying)
            found.append(_moments(multiply(D, A_k), self._units.pivot))
        return found

    def _up(self, A: FloatArray, sds: list[FloatArray]) -> list[_Messages]:
        """Pass up: the messages of each level to its parents, levels from the top down."""
        found = []
        for level, sd, rounds in self._backwards(sds):
            found.append(
                _Messages(multiply_siblings(propagate(A, sd, level.varying), rounds), rounds)
            )
            A = found[-1].gathered[-1]
        return found[::-1]

    def _down(self, messages: list[_Messages], sds: list[FloatArray]) -> FloatArray:
        """Pass down: from the root's prior to the units' cavity densities, (d, d + 1, n, B)."""
        draws = messages[0].gathered[0].shape[-1]
        D = np.repeat(self._root[:, :, None, None], draws, axis=-1)
        for level, sd, one in zip(self._levels, sds, messages, strict=True):
            others = multiply_others(D, one.gathered, one.rounds)
            D = propagate(others, sd, level.varying)
        return D

    def _unit_log_density(self, D: FloatArray, A: FloatArray, sigma: FloatArray) -> FloatArray:
        units, rows = self._units, self._units.rows[:, None]
        total = units.rest[:, None] / sigma**2
        log_det = _log_det(D)
        for i, row in enumerate(A):
            total += add_row(row, D, first=i) ** 2
        log_det -= _log_det(D)
        constants = 0.5 * units.log_weights[:, None] - rows * (0.5 * _LOG_TWO_PI + np.log(sigma))
        return np.asarray(log_det - 0.5 * total + constants)

    def _backwards(
        self, sds: list[FloatArray]
    ) -> list[tuple[LevelDesign, FloatArray, tuple[SiblingPairs, ...]]]:
        return list(zip(self._levels, sds, self._rounds, strict=True))[::-1]


def _require_gaussian(problem: Problem, unit: str) -> None:
    if reason := not_marginalizable(problem):
        raise Unsupported(f"{unit} cannot be left out exactly: {reason}.")


def _moments(R: FloatArray, pivot: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviations, (d, n, B), of exp(-|R (x - pivot, -1)|^2 / 2), by back substitution."""
    d = len(R)
    # Columns of the inverse of the triangle; the last column solves for the mean.
    right = np.zeros((d, d + 1, *R.shape[2:]))
    right[range(d), range(d)] = 1.0
    right[:, d] = R[:, d]
    for i in reversed(range(d)):
        for k in range(i + 1, d):
            right[i] -= R[i, k] * right[k]
        right[i] /= R[i, i]
    mean = right[:, d] + pivot[:, None, None]
    return mean, np.sqrt(np.sum(right[:, :d] ** 2, axis=1))


def _log_det(A: FloatArray) -> FloatArray:
    return np.asarray(sum(np.log(np.abs(A[j, j])) for j in range(len(A))))


def _root(problem: Problem, pivot: FloatArray) -> FloatArray:
    """Prior of the population's effects and gamma as a triangle, (d, d + 1); known ones are 0."""
    beta, gamma = problem.priors.beta, problem.priors.gamma
    priors = [*(beta.get(effect) for effect in problem.effects), *gamma.values()]
    found = np.zeros((len(priors), len(priors) + 1))
    for j, prior in enumerate(priors):
        mean, precision = (0.0, _KNOWN) if prior is None else (prior.args[0], 1 / prior.args[1])
        found[j, j], found[j, -1] = precision, precision * (mean - pivot[j])
    return found


def _deviation_sds(level: LevelDesign, scales: Mapping[str, FloatArray]) -> FloatArray:
    """Standard deviations of a level's deviations, (q, n or 1, B)."""
    if not len(level.varying):
        return np.zeros((0, 1, 1))
    tau = scales[f"tau_{level.name}"]
    return (level.scale_of_nodes(tau) if level.per_parent else tau[:, None]).T
