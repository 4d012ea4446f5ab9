"""The arrays of each level, the canonical variables, and the index of their random scalars."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from nestor.errors import DataError
from nestor.errors.text import printable, short_repr

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.data.index import TreeIndex
    from nestor.data.problem import Problem
    from nestor.model.spec import ModelSpec
    from nestor.stats.arrays import FloatArray

Role = Literal["population", "node", "scale", "family"]

_POPULATION = {
    "beta": "population coefficients of the effects that vary by group",
    "gamma": "population coefficients of the terms that do not vary by group",
}


@dataclass(frozen=True)
class LevelDesign:
    """The arrays of one level, as a backend needs them.

    Parameters
    ----------
    name : str
        The level.
    parent : ndarray of intp, (n,)
        Each node's parent on the level above (zeros on the first level); non-decreasing.
    n_parents : int
        Nodes on the level above; 1 for the root.
    varying : ndarray of intp, (q,)
        Effects that vary at this level, as positions in `Problem.effects`.
    per_parent : bool
        Whether standard deviations belong to each parent node, shape (n_parents, q), or to the level, (q,).
    """

    name: str
    parent: NDArray[np.intp]
    n_parents: int
    varying: NDArray[np.intp]
    per_parent: bool

    __repr__ = short_repr

    @property
    def n(self) -> int:
        """Number of nodes."""
        return len(self.parent)

    def scale_of_nodes(self, tau: FloatArray) -> FloatArray:
        """Standard deviations of each node's deviation: (..., q) or (..., n_parents, q) to (..., n, q)."""
        if self.per_parent:
            return tau[..., self.parent, :]
        return np.broadcast_to(tau[..., None, :], (*tau.shape[:-1], self.n, tau.shape[-1]))


@dataclass(frozen=True)
class Variable:
    """A canonical variable: its dims and shape, which entries are random, and its role.

    Parameters
    ----------
    name : str
        As in the draws.
    dims : tuple of str
        Names of its dimensions beyond chain and draw.
    shape : tuple of int
        Its shape.
    random : ndarray of bool, shape
        False where an entry is inherited from the parent or fixed.
    role : {"population", "node", "scale", "family"}
        Decides which convergence bound applies and how it is drawn in pictures.
    description : str
        What it is, in a sentence; the draws keep it as the attribute ``long_name``.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    random: NDArray[np.bool_]
    role: Role
    description: str

    __repr__ = short_repr


def level_designs(spec: ModelSpec, index: TreeIndex) -> tuple[LevelDesign, ...]:
    """Return the arrays of each level, top down.

    Raises
    ------
    DataError
        If effects vary at a level that has a single node.
    """
    designs: list[LevelDesign] = []
    n_parents = 1
    for k, (level, nodes) in enumerate(zip(spec.levels, index.levels, strict=True)):
        if nodes.n == 1 and level.effects:
            raise DataError(
                f"level {level.name!r} has a single node ({nodes.paths[0]!r}), so the variation between "
                "its nodes cannot be estimated. Leave the level out."
            )
        varying = np.array([spec.effects.index(e) for e in level.effects], dtype=np.intp)
        # Nodes of the first level share one parent, the root: per parent and per level are the same there.
        per_parent = level.scale == "parent" and k > 0
        designs.append(LevelDesign(level.name, nodes.parent, n_parents, varying, per_parent))
        n_parents = nodes.n
    return tuple(designs)


def variables(problem: Problem) -> list[Variable]:
    """List the canonical variables, from the population down, then the family's parameters."""
    p = len(problem.effects)
    found = [
        Variable(
            "beta", ("effect",), (p,), problem.population_mask, "population", _POPULATION["beta"]
        )
    ]
    above = "effect"
    for level in problem.levels:
        q = len(level.varying)
        if q:
            effect = "effect" if q == p else f"effect_{level.name}"
            dims = (above, effect) if level.per_parent else (effect,)
            shape = (level.n_parents, q) if level.per_parent else (q,)
            parent = "the population" if above == "effect" else f"its {above}"
            what = f"standard deviation of each {level.name}'s coefficients around {parent}'s"
            if level.per_parent:
                what += f", for each {above}"
            random = np.ones(shape, bool)
            found.append(Variable(f"tau_{level.name}", dims, shape, random, "scale", what))
        above = level.name
    for level in problem.levels:
        random = np.zeros((level.n, p), bool)
        random[:, level.varying] = True
        what = f"coefficients of each {level.name}: the total, not the deviation from its parent"
        dims = (level.name, "effect")
        found.append(Variable(f"beta_{level.name}", dims, random.shape, random, "node", what))
    if c := len(problem.spec.covariates):
        random = np.ones(c, bool)
        what = _POPULATION["gamma"]
        found.append(Variable("gamma", ("covariate",), (c,), random, "population", what))
    for name, prior in problem.priors.family.items():
        if not prior.is_fixed:
            what = f"{name} of the {problem.spec.family} outcome"
            found.append(Variable(name, (), (), np.ones((), bool), "family", what))
    return found


def coords(problem: Problem) -> dict[str, NDArray[np.generic] | Sequence[str]]:
    """Label every dimension, and give each node's own label and ancestors."""
    effects = problem.effects
    found: dict[str, NDArray[np.generic] | Sequence[str]] = {"effect": list(effects)}
    for level in problem.levels:
        if 0 < len(level.varying) < len(effects):
            found[f"effect_{level.name}"] = [effects[j] for j in level.varying]
    if problem.spec.covariates:
        found["covariate"] = list(problem.spec.covariates)
    for k, nodes in enumerate(problem.index.levels):
        found[nodes.name] = nodes.paths
        found[f"{nodes.name}_label"] = nodes.label_text
        for above in problem.index.levels[:k]:
            ancestor = problem.index.ancestor(above.name, of=nodes.name)
            found[f"{above.name}_of_{nodes.name}"] = above.paths[ancestor]
    return found


def coord_dims(problem: Problem) -> dict[str, str]:
    """Say along which dimension each coordinate runs."""
    dims = {name: name for variable in problem.variables.values() for name in variable.dims}
    for k, level in enumerate(problem.levels):
        dims[f"{level.name}_label"] = level.name
        dims |= {f"{above.name}_of_{level.name}": level.name for above in problem.levels[:k]}
    return dims


def with_inherited(problem: Problem, values: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Fill in inherited and fixed entries of every canonical variable, (..., *shape)."""
    filled = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
    above = np.where(problem.population_mask, filled["beta"], 0.0)
    filled["beta"] = above
    above = above[..., None, :]
    for level in problem.levels:
        name = f"beta_{level.name}"
        inherited = above[..., level.parent, :].copy()
        inherited[..., level.varying] = filled[name][..., level.varying]
        filled[name] = above = inherited
    return filled


class ParameterIndex:
    """The random scalars of a problem, flattened in the order of its variables.

    Attributes
    ----------
    variables : tuple of Variable
        Those with a random entry.
    variable, position : ndarray, (n,)
        For each scalar, the variable (as a position in `variables`) and the flat position in it.
    """

    def __init__(self, problem: Problem) -> None:
        self.variables = problem.random_variables
        positions = [np.flatnonzero(v.random) for v in self.variables]
        self.position = np.concatenate(positions)
        self.variable = np.repeat(np.arange(len(positions)), [len(p) for p in positions])
        self._coords = problem.coords

    def __len__(self) -> int:
        return len(self.position)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Readable names, such as ``beta_county[no degree/CA/Lake, month]``."""
        return tuple(self.label(i) for i in range(len(self)))

    def label(self, i: int) -> str:
        """Readable name of scalar `i`."""
        variable = self.variables[int(self.variable[i])]
        if not variable.dims:
            return printable(variable.name)
        where = np.unravel_index(self.position[i], variable.shape)
        parts = (
            printable(str(self._coords[d][j])) for d, j in zip(variable.dims, where, strict=True)
        )
        return f"{printable(variable.name)}[{', '.join(parts)}]"

    @cached_property
    def is_node(self) -> NDArray[np.bool_]:
        """Which scalars are node coefficients, (n,)."""
        by_variable = np.array([v.role == "node" for v in self.variables])
        return by_variable[self.variable]

    @cached_property
    def is_scale(self) -> NDArray[np.bool_]:
        """Which scalars are scales or parameters of the family, that is, not coefficients, (n,)."""
        by_variable = np.array([v.role in ("scale", "family") for v in self.variables])
        return by_variable[self.variable]

    def flatten(self, values: Mapping[str, FloatArray]) -> FloatArray:
        """Stack draws of the random scalars: arrays (chain, draw, *shape) to (chain, draw, n)."""
        parts = []
        for variable in self.variables:
            array = np.asarray(values[variable.name], dtype=np.float64)
            flat = array.reshape(*array.shape[:2], -1)
            parts.append(flat if variable.random.all() else flat[..., variable.random.ravel()])
        return np.concatenate(parts, axis=-1)
