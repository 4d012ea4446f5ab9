"""The free random variables of the model, and their maps to the canonical variables and back.

The model keeps coefficients by effect, (q, n) rather than (n, q): each effect's vector is then contiguous,
and PyTensor's gather and scatter-add over it run about three times as fast as over rows of a matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nestor.data.resolved_priors import PriorBlock, prior_blocks
from nestor.data.statistics import merged_rows
from nestor_pymc.data import LeafRows
from nestor_pymc.recovery import ConditionalDraws, ConditionalSampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.data.problem import LevelDesign, Problem
    from nestor.data.statistics import MergedRows
    from nestor.engines.formulation import Formulation
    from nestor.model.priors import Prior

Arrays = Mapping[str, "NDArray[np.float64]"]

#: Name of the shared variable that holds the outcome, where the likelihood is over rows.
OUTCOME = "outcome"


@dataclass(frozen=True)
class Vector:
    """A vector of parameters with its priors, as one random variable per prior family.

    Parameters
    ----------
    name : str
        The canonical variable.
    blocks : tuple of PriorBlock
        Its entries, by family.
    """

    name: str
    blocks: tuple[PriorBlock, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the random variables, one for each block."""
        if len(self.blocks) == 1:
            return (self.name,)
        return tuple(f"{self.name}[{block.family}]" for block in self.blocks)

    @property
    def order(self) -> NDArray[np.intp]:
        """Positions in the concatenated blocks of the vector's entries, in order."""
        return np.argsort([i for block in self.blocks for i in block.positions])

    def gather(self, free: Arrays, axis: int) -> NDArray[np.float64]:
        """Put the blocks together along `axis`, in the order of the vector's entries."""
        joined = np.concatenate([free[name] for name in self.names], axis=axis)
        return np.take(joined, self.order, axis=axis)

    def scatter(self, value: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Split a vector, entries along the first axis, into its blocks."""
        pairs = zip(self.names, self.blocks, strict=True)
        return {name: value[list(block.positions)] for name, block in pairs}


def _vector(name: str, priors: Mapping[str, Prior]) -> Vector | None:
    return Vector(name, prior_blocks(priors)) if priors else None


class Variables:
    """The free random variables of a problem under a formulation.

    Attributes
    ----------
    beta, gamma : Vector or None
        Population coefficients that are not fixed at zero; coefficients that do not vary.
    tau : mapping of level to Vector
        Group-level standard deviations; entries along the first axis, parents along the second.
    node : mapping of level to str
        The random variable of a level's nodes, (q, n): ``beta_<level>`` where it is centred, ``z_<level>``
        (deviations from the parent in units of tau) where it is not. Empty, and beta and gamma None, where
        coefficients are marginalized.
    family : tuple of str
        The outcome family's parameters that are not fixed.
    """

    def __init__(self, problem: Problem, formulation: Formulation) -> None:
        priors = problem.priors
        self.problem = problem
        self.formulation = formulation
        self.beta = self.gamma = None
        if not formulation.is_marginalized:
            self.beta = _vector("beta", priors.beta)
            self.gamma = _vector("gamma", priors.gamma)
        self.tau: dict[str, Vector] = {}
        self.node: dict[str, str] = {}
        for level in problem.levels:
            vector = _vector(f"tau_{level.name}", priors.tau[level.name])
            if vector is not None:
                self.tau[level.name] = vector
                if not formulation.is_marginalized:
                    kind = "beta" if formulation.is_centered(level.name) else "z"
                    self.node[level.name] = f"{kind}_{level.name}"
        self.family = tuple(name for name, p in priors.family.items() if not p.is_fixed)

    @cached_property
    def rows(self) -> LeafRows:
        """The problem's rows, reduced."""
        return LeafRows.of(self.problem)

    @cached_property
    def conditional_sampler(self) -> ConditionalSampler:
        """What draws marginalized coefficients."""
        return ConditionalSampler(self.problem, self.rows)

    @cached_property
    def merged(self) -> MergedRows | None:
        """Distinct rows with counts, where they stand for an outcome that has no leaf statistics."""
        if self.formulation.likelihood == "rows" or self.problem.spec.family == "gaussian":
            return None
        return merged_rows(self.problem)

    @property
    def observed(self) -> Arrays:
        """What the model needs of the outcome, by the names of its shared variables."""
        if self.merged is not None:
            return {OUTCOME: self.merged.y}
        if self.formulation.likelihood == "statistics":
            return self.rows.observed
        return {OUTCOME: self.problem.y}

    def with_outcome(self, y: NDArray[np.float64]) -> Variables:
        """Return the variables of the same model for another outcome."""
        return Variables(self.problem.with_outcome(y), self.formulation)

    def is_centered(self, level: LevelDesign) -> bool:
        """Whether the coefficients of `level` are sampled themselves."""
        return self.formulation.is_centered(level.name)

    def to_free(self, point: Arrays) -> tuple[dict[str, NDArray[np.float64]], float]:
        """Map a point of the canonical variables to the free random variables, natural scale.

        Parameters
        ----------
        point : mapping of str to ndarray
            Every canonical variable, but for coefficients that are marginalized; standard deviations must
            be greater than zero.

        Returns
        -------
        values : dict of str to ndarray
            One entry for each free random variable.
        log_jacobian : float
            Log absolute determinant of the free variables with respect to the canonical ones:
            minus sum log tau over the deviations of non-centred levels.
        """
        problem = self.problem
        free = {name: point[name] for name in self.family}
        for name, vector in self.tau.items():
            free |= vector.scatter(np.asarray(point[f"tau_{name}"]).T)
        if self.formulation.is_marginalized:
            return free, 0.0
        filled = problem.with_inherited(point)
        if self.beta is not None:
            free |= self.beta.scatter(filled["beta"][problem.population_mask])
        if self.gamma is not None:
            free |= self.gamma.scatter(filled["gamma"])
        above, log_jacobian = filled["beta"][None, :], 0.0
        for level in problem.levels:
            value = filled[f"beta_{level.name}"]
            if level.name in self.node:
                node = value[:, level.varying]
                if not self.is_centered(level):
                    scale = level.scale_of_nodes(filled[f"tau_{level.name}"])
                    node = (node - above[level.parent][:, level.varying]) / scale
                    log_jacobian -= float(np.log(scale).sum())
                free[self.node[level.name]] = np.ascontiguousarray(node.T)
            above = value
        return free, log_jacobian

    def to_canonical(self, free: Arrays) -> dict[str, NDArray[np.float64]]:
        """Map draws of the free random variables, natural scale, to the canonical variables.

        Parameters
        ----------
        free : mapping of str to ndarray, (chain, draw, *shape)
            One entry for each free random variable.

        Returns
        -------
        dict of str to ndarray, (chain, draw, *shape)
            Every variable of `Problem.variables` but for coefficients that are marginalized; inherited and
            fixed entries filled in.
        """
        found = {name: free[name] for name in self.family}
        for name, vector in self.tau.items():
            found[f"tau_{name}"] = np.moveaxis(vector.gather(free, 2), 2, -1)
        if not self.formulation.is_marginalized:
            found |= self._coefficients(free)
        return {
            name: np.ascontiguousarray(found[name], dtype=np.float64)
            for name in self.problem.variables
            if name in found
        }

    def conditional_draws(self, scales: Arrays, first: int, seed: int) -> ConditionalDraws | None:
        """Return draws of the marginalized coefficients given draws of the scales; None if they are sampled.

        Parameters
        ----------
        scales : mapping of str to ndarray, (chain, draw, *shape)
            What it returned.
        first : int
            Number of the first draw in its chain.
        seed : int
            Of the run.
        """
        if not self.formulation.is_marginalized:
            return None
        return ConditionalDraws(self.conditional_sampler, scales, first, seed)

    def _coefficients(self, free: Arrays) -> dict[str, NDArray[np.float64]]:
        """Coefficients of sampled nodes, (chain, draw, *shape)."""
        problem = self.problem
        lead = next(iter(free.values())).shape[:2]
        found = {} if self.gamma is None else {"gamma": self.gamma.gather(free, 2)}
        found["beta"] = np.zeros((*lead, len(problem.effects)))
        if self.beta is not None:
            found["beta"][..., problem.population_mask] = self.beta.gather(free, 2)
        above = found["beta"][..., None]
        for level in problem.levels:
            # (chain, draw, p, n): by effect, as the model keeps it
            value = above[..., level.parent]
            if level.name in self.node:
                node = free[self.node[level.name]]
                if not self.is_centered(level):
                    tau = self.tau[level.name].gather(free, 2)
                    scale = tau[..., level.parent] if level.per_parent else tau[..., None]
                    node = value[..., level.varying, :] + scale * node
                value[..., level.varying, :] = node
            found[f"beta_{level.name}"] = np.moveaxis(value, 2, -1)
            above = value
        return found
