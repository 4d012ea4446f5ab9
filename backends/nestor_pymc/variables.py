"""Which free random variables the model has, and how they map to the canonical variables and back.

The model keeps coefficients by effect, (q, n) rather than (n, q): each effect's vector is then contiguous,
and PyTensor's gather and scatter-add over it run about three times as fast as over rows of a matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.resolve import PriorBlock, blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.formulation import Formulation
    from nestor.priors import Prior
    from nestor.problem import LevelDesign, Problem

Arrays = Mapping[str, "NDArray[np.float64]"]


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
    return Vector(name, blocks(priors)) if priors else None


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
        (deviations from the parent in units of tau) where it is not.
    family : tuple of str
        The outcome family's parameters that are not fixed.
    """

    def __init__(self, problem: Problem, formulation: Formulation) -> None:
        priors = problem.priors
        self.problem = problem
        self.formulation = formulation
        self.beta = _vector("beta", priors.beta)
        self.gamma = _vector("gamma", priors.gamma)
        self.tau: dict[str, Vector] = {}
        self.node: dict[str, str] = {}
        for level in problem.levels:
            vector = _vector(f"tau_{level.name}", priors.tau[level.name])
            if vector is not None:
                kind = "beta" if formulation.is_centered(level.name) else "z"
                self.tau[level.name] = vector
                self.node[level.name] = f"{kind}_{level.name}"
        self.family = tuple(name for name, p in priors.family.items() if not p.is_fixed)

    def is_centered(self, level: LevelDesign) -> bool:
        """Whether the coefficients of `level` are sampled themselves."""
        return self.formulation.is_centered(level.name)

    def to_free(self, point: Arrays) -> tuple[dict[str, NDArray[np.float64]], float]:
        """Map a point of the canonical variables to the free random variables, natural scale.

        Parameters
        ----------
        point : mapping of str to ndarray
            Every canonical variable; standard deviations must be greater than zero.

        Returns
        -------
        values : dict of str to ndarray
            One entry for each free random variable.
        log_jacobian : float
            Log absolute determinant of the free variables with respect to the canonical ones:
            minus sum log tau over the deviations of non-centred levels.
        """
        problem = self.problem
        filled = problem.with_inherited(point)
        free = {name: filled[name] for name in self.family}
        if self.beta is not None:
            free |= self.beta.scatter(filled["beta"][problem.population_mask])
        if self.gamma is not None:
            free |= self.gamma.scatter(filled["gamma"])
        above, log_jacobian = filled["beta"][None, :], 0.0
        for level in problem.levels:
            value = filled[f"beta_{level.name}"]
            if level.name in self.node:
                tau = filled[f"tau_{level.name}"]
                free |= self.tau[level.name].scatter(tau.T)
                node = value[:, level.varying]
                if not self.is_centered(level):
                    scale = level.scale_of_nodes(tau)
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
            Every variable of `Problem.variables`, inherited and fixed entries filled in.
        """
        problem = self.problem
        lead = next(iter(free.values())).shape[:2]
        found = {name: free[name] for name in self.family}
        if self.gamma is not None:
            found["gamma"] = self.gamma.gather(free, 2)
        found["beta"] = np.zeros((*lead, len(problem.effects)))
        if self.beta is not None:
            found["beta"][..., problem.population_mask] = self.beta.gather(free, 2)
        above = found["beta"][..., None]
        for level in problem.levels:
            # (chain, draw, p, n): by effect, as the model keeps it
            value = above[..., level.parent]
            if level.name in self.node:
                tau = self.tau[level.name].gather(free, 2)
                node = free[self.node[level.name]]
                if not self.is_centered(level):
                    scale = tau[..., level.parent] if level.per_parent else tau[..., None]
                    node = value[..., level.varying, :] + scale * node
                value[..., level.varying, :] = node
                found[f"tau_{level.name}"] = np.moveaxis(tau, 2, -1)
            found[f"beta_{level.name}"] = np.moveaxis(value, 2, -1)
            above = value
        return {
            name: np.ascontiguousarray(found[name], dtype=np.float64) for name in problem.variables
        }
