"""Coefficients given the scales, drawn exactly and jointly: one pass up and one down, many draws at once.

The pass up is `nestor_pymc.least_squares`, as in the sampled density, here with NumPy. Then gamma is drawn,
from its precision and linear term in `nestor_pymc.marginal`, then the population, and from there down each
node's deviations from its parent, effect by effect: eps ~ Normal(u_rho - u' beta, x / pi).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nestor.engines.lazy import load
from nestor_pymc.least_squares import Ascent, Deviation, Factor, ascended
from nestor_pymc.marginal import covariate_prior, family_of, population

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.data.problem import LevelDesign, Problem
    from nestor.stats.arrays import FloatArray
    from nestor_pymc.data import LeafRows


#: Bytes of the arrays that a chunk of draws keeps at the same time.
_CHUNK_BYTES = 16_000_000


@dataclass(frozen=True, eq=False)
class ArrayFamily:
    """Children and parents in arrays; see `nestor_pymc.least_squares.Family`.

    Parameters
    ----------
    parent : ndarray of intp, (n,)
        Parent of each node, non-decreasing; every parent has a child.
    n_parents : int
        How many there are.
    """

    parent: NDArray[np.intp]
    n_parents: int
    _starts: NDArray[np.intp] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", np.searchsorted(self.parent, np.arange(self.n_parents)))

    def total(self, children: FloatArray) -> FloatArray:
        """Sum over children."""
        return np.add.reduceat(children, self._starts, axis=-1)

    def copied(self, parents: FloatArray) -> FloatArray:
        """Copy to children."""
        return parents if self.n_parents == 1 else parents[..., self.parent]

    def positive(self, weight: FloatArray) -> FloatArray:
        """Ones for zeros."""
        return np.where(weight > 0.0, weight, 1.0)


class ConditionalSampler:
    """Draws the coefficients of a problem that its scales' draws leave out.

    Parameters
    ----------
    problem : Problem
        Tree and priors.
    rows : LeafRows
        Its rows, reduced.
    """

    def __init__(self, problem: Problem, rows: LeafRows) -> None:
        self._problem = problem
        self._rows = rows
        self._mean, self._sd = population(problem, rows.order)
        self._gamma_mean, self._gamma_sd = covariate_prior(problem)
        # From the leaves up, then the root.
        self._levels = tuple(reversed(problem.levels))
        self._families = [family_of(level, ArrayFamily) for level in self._levels]
        column = np.argsort(rows.order)
        self._varying = [[int(c) for c in column[level.varying]] for level in self._levels]
        self._varying.append([int(j) for j in np.flatnonzero(self._sd > 0)])
        nodes = [*(level.n for level in self._levels), 1]
        self._noise = rows.n_covariates + sum(
            n * len(varying) for n, varying in zip(nodes, self._varying, strict=True)
        )
        p = len(rows.order)
        per_node = (p + 2) * (p + 1 + rows.n_covariates)
        self._batch = max(1, _CHUNK_BYTES // (8 * per_node * sum(nodes)))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of beta, of every beta_<level> and of gamma, if there is one."""
        variables = self._problem.variables.values()
        return {v.name: v.shape for v in variables if v.role in ("population", "node")}

    @property
    def batch(self) -> int:
        """How many draws at a time keep memory bounded."""
        return self._batch

    @property
    def noise(self) -> int:
        """How many normal numbers a draw takes."""
        return self._noise

    def given(self, scales: Mapping[str, FloatArray], eps: FloatArray) -> dict[str, FloatArray]:
        """Coefficients of B draws, (B, *shape), from their noise, (B, noise); zeros give the means."""
        variances = [self._variances(level, scales) for level in self._levels]
        root = {j: np.square(self._sd[j]) for j in self._varying[-1]}
        precision = self._sigma(scales, len(eps)) ** -2.0
        ascent = ascended(
            self._leaves(precision),
            list(zip(variances, self._families, strict=True)),
            (root, list(self._mean)),
        )
        found = {}
        noise = _Noise(eps)
        delta = np.zeros((len(eps), 0))
        if self._rows.n_covariates:
            delta = self._covariates(ascent, precision[:, 0], noise)
            found["gamma"] = delta + self._rows.pivot
        beta = [np.full((len(eps), 1), mean) for mean in self._mean]
        _descend(beta, ascent.deviations[-1], root, delta, noise)
        found["beta"] = self._ordered(beta)[:, 0]
        steps = zip(self._levels, ascent.deviations[:-1], variances, strict=True)
        for level, deviations, variance in reversed(list(steps)):
            beta = [b[:, level.parent] for b in beta]
            _descend(beta, deviations, variance, delta, noise)
            found[f"beta_{level.name}"] = self._ordered(beta)
        return found

    def _sigma(self, scales: Mapping[str, FloatArray], batch: int) -> FloatArray:
        prior = self._problem.priors.family["sigma"]
        return np.full((batch, 1), prior.value) if prior.is_fixed else scales["sigma"][:, None]

    def _variances(
        self, level: LevelDesign, scales: Mapping[str, FloatArray]
    ) -> dict[int, FloatArray]:
        """Variances of a level's deviations by column, (B, n or 1)."""
        if not len(level.varying):
            return {}
        squares = np.moveaxis(scales[f"tau_{level.name}"], -1, 0) ** 2.0
        by_effect = squares[..., level.parent] if level.per_parent else squares[..., None]
        columns = self._varying[self._levels.index(level)]
        return dict(zip(columns, by_effect, strict=True))

    def _leaves(self, precision: FloatArray) -> Factor:
        rows, p = self._rows, len(self._rows.order)
        found = []
        for j in range(p):
            row = {k: rows.slopes[j, k] for k in range(j + 1, p)} | {p: rows.fit[j]}
            if rows.n_covariates:
                row[p + 1] = rows.covariates[j][:, None]
            found.append(row)
        return Factor(tuple(w * precision for w in rows.weights), tuple(found))

    def _covariates(self, ascent: Ascent, precision: FloatArray, noise: _Noise) -> FloatArray:
        """Draw delta = gamma - pivot, (B, c): see `nestor_pymc.marginal` for its precision."""
        within = precision[:, None, None] * self._rows.residual
        zy, zz = within[:, 1:, 0].copy(), within[:, 1:, 1:].copy()
        p = len(self._mean)
        for remainder in ascent.remainders:
            # (B, c, n)
            right = np.moveaxis(remainder.right[p + 1], 0, 1)
            weighted = right * remainder.weight[:, None]
            zy += np.sum(weighted * remainder.right[p][:, None], axis=-1)
            zz += weighted @ np.swapaxes(right, 1, 2)
        sd = self._gamma_sd
        root = np.linalg.cholesky(np.eye(len(sd)) + sd[:, None] * zz * sd)
        linear = sd * zy + (self._gamma_mean - self._rows.pivot) / sd
        g = np.linalg.solve(root, linear[..., None])
        eps = noise.take(len(sd))[..., None]
        return np.asarray(sd * np.linalg.solve(np.swapaxes(root, 1, 2), g + eps)[..., 0])

    def _ordered(self, beta: Sequence[FloatArray]) -> FloatArray:
        """(B, n, p), effects in the problem's order."""
        return np.stack([beta[c] for c in np.argsort(self._rows.order)], axis=-1)


class _Noise:
    """Normal numbers, (B, noise), given out from the left."""

    def __init__(self, eps: FloatArray) -> None:
        self._eps = eps
        self._taken = 0

    def take(self, n: int) -> FloatArray:
        """Give out the next (B, n)."""
        begin, self._taken = self._taken, self._taken + n
        return self._eps[:, begin : self._taken]


def _descend(
    beta: list[FloatArray],
    deviations: Sequence[Deviation],
    variances: Mapping[int, FloatArray],
    delta: FloatArray,
    noise: _Noise,
) -> None:
    """Add their deviations to the parents' coefficients `beta`, in place of these in the list."""
    p = len(beta)
    # The last that was integrated out is given nothing but the parent: it is drawn first.
    for deviation in reversed(deviations):
        j, gains = deviation.effect, deviation.gains
        # (1 - u_j) beta_j, 1 - u_j = 1 / pi
        mean = beta[j] / deviation.growth + gains[p]
        for k in range(p):
            if k != j:
                mean = mean - gains[k] * beta[k]
        for i, covariate in enumerate(delta.T):
            mean = mean - gains[p + 1][i] * covariate[:, None]
        sd = np.sqrt(variances[j] / deviation.growth)
        beta[j] = mean + sd * noise.take(beta[j].shape[1])


#: Tells these streams from others of the same seed.
_STREAM = 0xC0EF


class DrawNoise:
    """Normal numbers of each draw of a chain, the same ones in whatever order draws are asked for.

    A draw's number is the highest word of the counter of a generator that encrypts its counter (Philox:
    Salmon, Moraes, Dror and Shaw, 2011, SC '11), so that no two draws' counters ever meet.

    Parameters
    ----------
    seed, chain : int
        Of the run.
    """

    def __init__(self, seed: int, chain: int) -> None:
        words = np.random.SeedSequence([seed, chain, _STREAM]).generate_state(2, np.uint64)
        self._key = words.astype(np.uint64)
        self._bits = np.random.Philox(key=self._key)
        self._fresh = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def __call__(self, draws: range, numbers: int) -> FloatArray:
        """Standard normal numbers of some draws, (draws, numbers)."""
        found = np.empty((len(draws), numbers))
        for row, number in zip(found, draws, strict=True):
            # Setting the state takes a fifth of the time of making a generator.
            counter = np.array([0, 0, 0, number], np.uint64)
            self._bits.state = {
                **self._fresh,
                "state": {"counter": counter, "key": self._key},
            }
            self._generator.standard_normal(out=row)
        return found


@dataclass(frozen=True, eq=False)
class ConditionalDraws:
    """The marginalized coefficients of a run, drawn given its scales; see `LazyDraws`.

    Parameters
    ----------
    sampler : ConditionalSampler
        What draws them.
    scales : mapping of str to ndarray, (chain, draw, *shape)
        Every tau_<level>, and sigma unless it is fixed.
    first : int
        Number of the first of these draws in its chain.
    seed : int
        Of the run: with the chain's and the draw's number it decides a draw's noise.
    """

    sampler: ConditionalSampler
    scales: Mapping[str, FloatArray]
    first: int
    seed: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each variable, (chain, draw, *shape)."""
        lead = next(iter(self.scales.values())).shape[:2]
        return {name: (*lead, *shape) for name, shape in self.sampler.shapes.items()}

    def blocks(self) -> Iterator[tuple[int, int, Mapping[str, FloatArray]]]:
        """Draw them, as many draws at a time as `ConditionalSampler.batch` says."""
        chains, draws = next(iter(self.scales.values())).shape[:2]
        for chain in range(chains):
            noise = DrawNoise(self.seed, chain)
            for begin in range(0, draws, self.sampler.batch):
                end = min(begin + self.sampler.batch, draws)
                some = {name: array[chain, begin:end] for name, array in self.scales.items()}
                numbers = range(self.first + begin, self.first + end)
                yield chain, begin, self.sampler.given(some, noise(numbers, self.sampler.noise))

    def load(self) -> dict[str, FloatArray]:
        """All of them in memory, (chain, draw, *shape)."""
        return load(self)
