"""A problem: a model description together with the arrays of one table."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from nestor.errors import DataError, SpecError
from nestor.index import NestedIndex, build_index
from nestor.names import INTERCEPT
from nestor.resolve import ResolvedPriors, resolve_priors
from nestor.scalars import Scalars
from nestor.spec import ModelSpec
from nestor.terms import evaluate, numeric_column, parse_term

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

Role = Literal["population", "node", "scale", "family"]


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

    @property
    def n(self) -> int:
        """Number of nodes."""
        return len(self.parent)

    def scale_of_nodes(self, tau: NDArray[np.float64]) -> NDArray[np.float64]:
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
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    random: NDArray[np.bool_]
    role: Role


class Problem:
    """A model and its data: the posterior, whole. Rows are sorted by leaf.

    Parameters
    ----------
    spec : ModelSpec
        The description.
    table : pandas.DataFrame
        One row per observation; it is read and not kept.
    missing : {"error", "group"}
        What to do with rows that lack a group label: refuse them, or make them a group of their own.

    Attributes
    ----------
    index : NestedIndex
        Nodes, parents and the leaf of each row.
    priors : ResolvedPriors
        Every prior with its numbers.
    y : ndarray, (N,)
        Outcome.
    X : ndarray, (N, p)
        Effects.
    Z : ndarray, (N, c)
        Covariates that do not vary by group.
    offset, weights : ndarray, (N,), or None
        As the spec names them.
    leaf : ndarray of intp, (N,)
        Leaf of each row, non-decreasing.

    Raises
    ------
    DataError
        If the table does not fit the description: unknown or non-numeric columns, missing values,
        constant predictors, a level with a single node, weights that are not positive.
    """

    def __init__(
        self, spec: ModelSpec, table: pd.DataFrame, *, missing: Literal["error", "group"] = "error"
    ) -> None:
        _check_types(spec, table)
        if len(table) == 0:
            raise DataError("the table has no rows.")
        self.spec = spec
        self.index: NestedIndex = build_index(table, spec.level_names, missing=missing)
        order = self.index.order
        self.y = _column(spec.outcome, table, order)
        self.X = _columns(spec.effects, table, order)
        self.Z = _columns(spec.covariates, table, order)
        self.offset = None if spec.offset is None else _plain_column(spec.offset, table, order)
        self.weights = None if spec.weights is None else _weights(spec.weights, table, order)
        self.leaf = self.index.leaf
        self.levels: tuple[LevelDesign, ...] = tuple(_levels(spec, self.index))
        self.priors: ResolvedPriors = resolve_priors(spec, self.y, self.X, self.Z, self.offset)

    def __repr__(self) -> str:
        nodes = ", ".join(f"{level.n} {level.name}" for level in self.levels)
        return f"Problem({self.spec.to_formula()!r}, {self.n_rows} rows, {nodes})"

    @property
    def effects(self) -> tuple[str, ...]:
        """Names of the effects, in the order of every ``effect`` dimension."""
        return self.spec.effects

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.y)

    @cached_property
    def population_mask(self) -> NDArray[np.bool_]:
        """Which effects have a population coefficient, (p,); the others' is fixed at zero."""
        return np.array([e not in self.spec.zero_mean for e in self.effects])

    @cached_property
    def variables(self) -> Mapping[str, Variable]:
        """The canonical variables, from the population down, then the family's parameters."""
        return {v.name: v for v in _variables(self)}

    @cached_property
    def coords(self) -> Mapping[str, NDArray[np.generic] | Sequence[str]]:
        """Labels of every dimension, and each node's own label and ancestors."""
        return _coords(self)

    @cached_property
    def coord_dims(self) -> Mapping[str, str]:
        """The dimension along which each coordinate of `coords` runs."""
        dims = {name: name for variable in self.variables.values() for name in variable.dims}
        for k, level in enumerate(self.levels):
            dims[f"{level.name}_label"] = level.name
            dims |= {f"{above.name}_of_{level.name}": level.name for above in self.levels[:k]}
        return dims

    @property
    def random_variables(self) -> tuple[Variable, ...]:
        """Variables with at least one random entry."""
        return tuple(v for v in self.variables.values() if v.random.any())

    @cached_property
    def scalars(self) -> Scalars:
        """The random scalars, one after another: what densities, gates and agreement look at."""
        return Scalars(self)

    def with_inherited(
        self, values: Mapping[str, NDArray[np.float64]]
    ) -> dict[str, NDArray[np.float64]]:
        """Return `values` with inherited and fixed entries filled in.

        Parameters
        ----------
        values : mapping of str to ndarray, (..., *shape)
            Every canonical variable; leading dimensions, if any, are shared.
        """
        filled = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
        above = np.where(self.population_mask, filled["beta"], 0.0)
        filled["beta"] = above
        above = above[..., None, :]
        for level in self.levels:
            name = f"beta_{level.name}"
            inherited = above[..., level.parent, :].copy()
            inherited[..., level.varying] = filled[name][..., level.varying]
            filled[name] = above = inherited
        return filled

    def with_outcome(self, y: NDArray[np.float64]) -> Problem:
        """Return the same design and priors, resolved as they are here, for another outcome.

        Parameters
        ----------
        y : ndarray, (N,)
            Outcome, rows in the order of `y`.

        Raises
        ------
        DataError
            If it has another shape or a value that is not finite.
        """
        array = np.array(y, dtype=np.float64)
        if array.shape != self.y.shape or not np.isfinite(array).all():
            raise DataError(
                f"the outcome must be {self.n_rows} finite numbers; found shape {array.shape}, "
                f"{int(np.count_nonzero(~np.isfinite(array)))} not finite."
            )
        return self._replaced(y=array)

    def repeated(self, times: int) -> Problem:
        """Return the problem with each row `times` times in a row, priors as they are resolved here.

        With `with_outcome`, several data sets of one design are then observed together.

        Parameters
        ----------
        times : int
            At least 1.
        """
        index = replace(
            self.index,
            order=np.repeat(self.index.order, times),
            leaf=np.repeat(self.leaf, times),
            rows_per_leaf=self.index.rows_per_leaf * times,
        )
        arrays = {name: getattr(self, name) for name in ("y", "X", "Z", "offset", "weights")}
        more = {n: None if a is None else np.repeat(a, times, axis=0) for n, a in arrays.items()}
        return self._replaced(index=index, leaf=index.leaf, **more)

    def _replaced(self, **attributes: object) -> Problem:
        """Copy with other arrays; the priors become the description's own, so that they stay."""
        kept = ("index", "y", "X", "Z", "offset", "weights", "leaf", "levels", "priors")
        new = object.__new__(Problem)
        new.spec = self.resolved_spec
        for name in kept:
            setattr(new, name, attributes.get(name, getattr(self, name)))
        return new

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal hash of the data, the tree and the resolved description.

        Rows of one leaf count in the table's order: the same rows in another order are the same
        posterior, with the same nodes and scalars, but sums over them round otherwise.
        """
        digest = hashlib.sha256(self.resolved_spec.to_toml().encode())
        arrays = [self.y, self.X, self.Z, self.offset, self.weights, self.leaf]
        for array in (*arrays, *(level.parent for level in self.levels)):
            digest.update(b"none" if array is None else repr(array.shape).encode())
            digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        for level in self.index.levels:
            digest.update(json.dumps(list(level.paths)).encode())
        return digest.hexdigest()

    @cached_property
    def resolved_spec(self) -> ModelSpec:
        """The description with every automatic prior replaced by its numbers."""
        fields = {name: getattr(self.spec, name) for name in ModelSpec.model_fields}
        return ModelSpec(**{**fields, "priors": self.priors.by_address()})


def _check_types(spec: object, table: object) -> None:
    import pandas as pd

    if not isinstance(spec, ModelSpec):
        raise SpecError(
            f"a problem takes a ModelSpec, not {type(spec).__name__}: "
            "make one by nestor.ModelSpec.from_formula(...)."
        )
    if not isinstance(table, pd.DataFrame):
        raise DataError(
            f"the table must be a pandas DataFrame, not {type(table).__name__}: "
            "pandas.DataFrame(...) makes one of most things, and .to_pandas() of other tables."
        )


def _column(text: str, table: pd.DataFrame, order: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.ascontiguousarray(evaluate(parse_term(text), table)[order])


def _plain_column(name: str, table: pd.DataFrame, order: NDArray[np.intp]) -> NDArray[np.float64]:
    """Read a column by its own name, which no backquotes protect, as a term's would."""
    return np.ascontiguousarray(numeric_column(table, name)[order])


def _columns(
    terms: Sequence[str], table: pd.DataFrame, order: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Evaluate terms into the columns of one (N, len(terms)) matrix."""
    matrix = np.empty((len(order), len(terms)))
    for j, text in enumerate(terms):
        column = np.ones(len(order)) if text == INTERCEPT else _column(text, table, order)
        if text != INTERCEPT and np.all(column == column[0]):
            raise DataError(
                f"predictor {text!r} is constant ({column[0]:g} in every row), "
                "so its coefficient cannot be told from the intercept. Remove it."
            )
        matrix[:, j] = column
    return matrix


def _weights(name: str, table: pd.DataFrame, order: NDArray[np.intp]) -> NDArray[np.float64]:
    weights = _plain_column(name, table, order)
    if bad := int(np.count_nonzero(weights <= 0)):
        raise DataError(
            f"weights column {name!r} has {bad} value(s) <= 0; weights must be positive."
        )
    return weights


def _levels(spec: ModelSpec, index: NestedIndex) -> list[LevelDesign]:
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
    return designs


def _variables(problem: Problem) -> list[Variable]:
    p = len(problem.effects)
    found = [Variable("beta", ("effect",), (p,), problem.population_mask, "population")]
    above = "effect"
    for level in problem.levels:
        q = len(level.varying)
        if q:
            effect = "effect" if q == p else f"effect_{level.name}"
            dims = (above, effect) if level.per_parent else (effect,)
            shape = (level.n_parents, q) if level.per_parent else (q,)
            found.append(Variable(f"tau_{level.name}", dims, shape, np.ones(shape, bool), "scale"))
        above = level.name
    for level in problem.levels:
        random = np.zeros((level.n, p), bool)
        random[:, level.varying] = True
        found.append(
            Variable(f"beta_{level.name}", (level.name, "effect"), random.shape, random, "node")
        )
    if c := len(problem.spec.covariates):
        found.append(Variable("gamma", ("covariate",), (c,), np.ones(c, bool), "population"))
    for name, prior in problem.priors.family.items():
        if not prior.is_fixed:
            found.append(Variable(name, (), (), np.ones((), bool), "family"))
    return found


def _coords(problem: Problem) -> dict[str, NDArray[np.generic] | Sequence[str]]:
    effects = problem.effects
    coords: dict[str, NDArray[np.generic] | Sequence[str]] = {"effect": list(effects)}
    for level in problem.levels:
        if 0 < len(level.varying) < len(effects):
            coords[f"effect_{level.name}"] = [effects[j] for j in level.varying]
    if problem.spec.covariates:
        coords["covariate"] = list(problem.spec.covariates)
    for k, nodes in enumerate(problem.index.levels):
        coords[nodes.name] = nodes.paths
        coords[f"{nodes.name}_label"] = nodes.label_text
        for above in problem.index.levels[:k]:
            ancestor = problem.index.ancestor(above.name, of=nodes.name)
            coords[f"{above.name}_of_{nodes.name}"] = above.paths[ancestor]
    return coords
