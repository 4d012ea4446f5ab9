"""A problem: a model description together with the data of one table."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nestor.data.design import (
    LevelDesign,
    ParameterIndex,
    Role,
    Variable,
    coord_dims,
    coords,
    level_designs,
    variables,
    with_inherited,
)
from nestor.data.index import NestedIndex, build_index
from nestor.data.resolved_priors import ResolvedPriors, resolve_priors
from nestor.data.rows import Rows, check_spec, check_table, refuse_two_intercepts
from nestor.data.statistics import LeafStatistics, leaf_statistics
from nestor.errors import DataError, SpecError, display
from nestor.errors.arguments import LONGEST_FORMULA, shown, whole
from nestor.errors.text import listed, printable, shortened
from nestor.model.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from nestor.data.index import TreeIndex
    from nestor.data.statistics.streaming import StreamedData
    from nestor.stats.arrays import FloatArray

__all__ = ["LevelDesign", "Problem", "Role", "Variable", "check_problem"]


class Problem:
    """A model and its data, which together define the posterior. Rows are sorted by leaf.

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
    spec : ModelSpec
        The description.
    index : TreeIndex
        Nodes, parents and rows per leaf.
    levels : tuple of LevelDesign
        The arrays of each level, top down.
    priors : ResolvedPriors
        Every prior with its numbers.

    Raises
    ------
    DataError
        If the table does not fit the description: unknown or non-numeric columns, missing values,
        constant predictors, a level with a single node, weights that are not positive.
    """

    def __init__(
        self, spec: ModelSpec, table: pd.DataFrame, *, missing: Literal["error", "group"] = "error"
    ) -> None:
        check_spec(spec)
        check_table(table)
        refuse_two_intercepts(spec, list(table.columns))
        index = build_index(table, spec.level_names, missing=missing)
        rows = Rows.of_table(spec, table, index)
        priors = resolve_priors(spec, rows.y, rows.X, rows.Z, rows.offset)
        self._assign(spec, index, priors, rows, None)

    def _assign(
        self,
        spec: ModelSpec,
        index: TreeIndex,
        priors: ResolvedPriors,
        rows: Rows | None,
        streamed: StreamedData | None,
    ) -> None:
        """Set every attribute; the data are `rows`, or statistics of rows that were read in batches."""
        self.spec = spec
        self.index = index
        self.levels: tuple[LevelDesign, ...] = level_designs(spec, index)
        if not priors.effects:  # not those of another problem of this design
            scales = {e.name: e.n_parents if e.per_parent else 1 for e in self.levels}
            priors = replace(priors, effects=self.effects, scales=scales)
        self.priors = priors
        self._rows = rows
        self._streamed = streamed

    @classmethod
    def from_parquet(
        cls,
        spec: ModelSpec,
        path: str | Path | Sequence[str | Path],
        *,
        missing: Literal["error", "group"] = "error",
        batch_rows: int = 2**19,
        progress: Callable[[int, int], None] | None = None,
    ) -> Problem:
        """Make a problem of Parquet files whose rows are read once, in batches, and not kept.

        It is the problem of the whole table, up to rounding, in the memory of its leaves and a few
        batches; only formulations that need no rows can be used with it.

        Parameters
        ----------
        spec : ModelSpec
            The description, of a gaussian outcome and without `scale()` and `center()`.
        path : path or sequence of paths
            A file, files, or a folder of files ``*.parquet``; only the columns needed are read.
            Within a folder, names that begin with "." or "_" are left out, as `pyarrow.dataset` does.
        missing : {"error", "group"}
            What to do with rows that lack a group label.
        batch_rows : int
            Rows in memory at a time.
        progress : callable, optional
            Called after each batch with the rows read and the rows in all.

        Raises
        ------
        DataError
            As for a table, naming file and row group; or a file that is missing, broken or empty, or
            whose columns have other types than in the first file.
        Unsupported
            If the outcome is not gaussian, or a term needs all rows before the first can be used.
        """
        from nestor.data.statistics.parquet import read_parquet
        from nestor.data.statistics.streaming import stream

        check_spec(spec)
        batches = read_parquet(spec, path, batch_rows=batch_rows, progress=progress)
        return cls._of_stream(spec, stream(spec, batches, missing=missing))

    @classmethod
    def from_batches(
        cls,
        spec: ModelSpec,
        batches: Iterable[pd.DataFrame | pa.Table],
        *,
        missing: Literal["error", "group"] = "error",
    ) -> Problem:
        """Make a problem of tables that are read once, one after another, and not kept.

        Parameters
        ----------
        spec, missing
            See `from_parquet`.
        batches : iterable of pandas.DataFrame or pyarrow.Table
            The rows, in any order.

        It raises the errors of `from_parquet`; messages name the table by its number, from 0.
        """
        from nestor.data.statistics.streaming import read_tables, stream

        check_spec(spec)
        return cls._of_stream(spec, stream(spec, read_tables(spec, batches), missing=missing))

    @classmethod
    def _of_stream(cls, spec: ModelSpec, found: StreamedData) -> Problem:
        new = object.__new__(cls)
        new._assign(spec, found.index, found.priors, None, found)
        return new

    @property
    def has_rows(self) -> bool:
        """Whether the rows are in memory; if not, `statistics` stands for them."""
        return self._rows is not None

    @property
    def rows(self) -> Rows:
        """All arrays of the rows.

        Raises
        ------
        DataError
            If they are not in memory. So do the attributes that are one of these arrays.
        """
        if self._rows is None:
            raise DataError(
                "the rows of this problem were read in batches and are not in memory. Use a formulation "
                "that needs none (ENGINE@marginalized or ENGINE@statistics), or make the problem of "
                "the whole table: Problem(spec, read_table(path))."
            )
        return self._rows

    @property
    def order(self) -> NDArray[np.intp]:
        """Position of each row in the table, (N,)."""
        return self.rows.order

    @property
    def y(self) -> FloatArray:
        """Outcome, (N,)."""
        return self.rows.y

    @property
    def X(self) -> FloatArray:  # noqa: N802 - the letter of the formulas
        """Effects, (N, p)."""
        return self.rows.X

    @property
    def Z(self) -> FloatArray:  # noqa: N802 - the letter of the formulas
        """Covariates that do not vary by group, (N, c)."""
        return self.rows.Z

    @property
    def offset(self) -> FloatArray | None:
        """Offset, (N,), or None."""
        return self.rows.offset

    @property
    def weights(self) -> FloatArray | None:
        """Weights, (N,), or None."""
        return self.rows.weights

    @property
    def leaf(self) -> NDArray[np.intp]:
        """Leaf of each row, (N,), non-decreasing."""
        return self.rows.leaf

    @cached_property
    def statistics(self) -> LeafStatistics:
        """Leaf statistics of a gaussian outcome; for other outcomes `Unsupported` is raised."""
        return leaf_statistics(self) if self._streamed is None else self._streamed.statistics

    @cached_property
    def two_values(self) -> tuple[float, float] | None:
        """The two values of the outcome, if it has exactly two."""
        if self._streamed is not None:
            return self._streamed.two_values
        from nestor.data.notes import two_values

        return two_values(self.y)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each thing that its data do not identify, or hardly; see `nestor.data.notes`."""
        from nestor.data.notes import problem_notes

        return problem_notes(self)

    @cached_property
    def why_improper(self) -> str:
        """Why the posterior of sigma is improper; empty if it is proper: see `nestor.data.propriety`."""
        from nestor.data.propriety import why_improper

        return why_improper(self)

    def __getstate__(self) -> dict[str, Any]:
        # An engine computes its statistics in its own process: they are part of the time it takes.
        kept = self.__dict__.copy()
        kept.pop("statistics", None)
        return kept

    def __repr__(self) -> str:
        nodes = [f"{level.n} {shortened(printable(level.name))}" for level in self.levels]
        formula = shown(self.spec.to_formula(), width=LONGEST_FORMULA)
        return f"Problem({formula}, {self.n_rows} rows, {listed(nodes)})"

    def _repr_html_(self) -> str:
        return display.html(self)

    @property
    def effects(self) -> tuple[str, ...]:
        """Names of the effects, in the order of every ``effect`` dimension."""
        return self.spec.effects

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.index.n_rows

    @cached_property
    def population_mask(self) -> NDArray[np.bool_]:
        """Which effects have a population coefficient, (p,); the others' is fixed at zero."""
        return np.array([e not in self.spec.zero_mean for e in self.effects])

    @cached_property
    def variables(self) -> Mapping[str, Variable]:
        """The canonical variables, from the population down, then the family's parameters.

        ``beta_<level>`` holds each node's *total* coefficients, as lme4's ``coef()`` does, with the
        deviations of all levels on its path; the deviations from the parent, lme4's ``ranef()``, are
        `nestor.deviations`. ``beta`` are the population coefficients of
        effects that vary by group, ``gamma`` those of terms that do not: see docs/model.md, or
        `nestor.population` for both under one name. Dims are those of a backend's arrays; in the draws
        effects stand before nodes.
        """
        return {v.name: v for v in variables(self)}

    @cached_property
    def coords(self) -> Mapping[str, NDArray[np.generic] | Sequence[str]]:
        """Labels of every dimension, and each node's own label and ancestors."""
        return coords(self)

    @cached_property
    def coord_dims(self) -> Mapping[str, str]:
        """The dimension along which each coordinate of `coords` runs."""
        return coord_dims(self)

    @property
    def random_variables(self) -> tuple[Variable, ...]:
        """Variables with at least one random entry."""
        return tuple(v for v in self.variables.values() if v.random.any())

    @cached_property
    def scalars(self) -> ParameterIndex:
        """The random scalars, one after another: what densities, gates and agreement look at."""
        return ParameterIndex(self)

    def with_inherited(self, values: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Return `values` with inherited and fixed entries filled in.

        Parameters
        ----------
        values : mapping of str to ndarray, (..., *shape)
            Every canonical variable; leading dimensions, if any, are shared.
        """
        return with_inherited(self, values)

    def with_outcome(self, y: FloatArray) -> Problem:
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
        return self._with_rows(self.index, self.rows.with_outcome(y))

    def repeated(self, times: int) -> Problem:
        """Return the problem with each row `times` times in a row, priors as they are resolved here.

        With `with_outcome`, several data sets of one design are then observed together.

        Parameters
        ----------
        times : int
            At least 1.
        """
        rows = self.rows.repeated(whole("times", times, least=1))
        counts = self.index.rows_per_leaf * times
        index = NestedIndex(self.index.levels, counts, rows.order, rows.leaf)
        return self._with_rows(index, rows)

    def _replaced(self, index: TreeIndex | None = None, **arrays: Any) -> Problem:
        """Copy with other arrays; the priors become the description's own, so that they stay."""
        index = self.index if index is None else index
        if isinstance(index, NestedIndex):
            arrays |= {"order": index.order, "leaf": index.leaf}
        return self._with_rows(index, replace(self.rows, **arrays))

    def _with_rows(self, index: TreeIndex, rows: Rows) -> Problem:
        new = object.__new__(Problem)
        new._assign(self.resolved_spec, index, self.priors, rows, None)
        return new

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal hash of the data, the tree and the resolved description."""
        return fingerprint(self)

    @cached_property
    def resolved_spec(self) -> ModelSpec:
        """The description with every automatic prior replaced by its numbers."""
        fields = {name: getattr(self.spec, name) for name in ModelSpec.model_fields}
        return ModelSpec(**{**fields, "priors": self.priors.by_address()})


def check_problem(problem: object) -> None:
    """Refuse anything that is not a `Problem`.

    Raises
    ------
    SpecError
        With how to make one.
    """
    if not isinstance(problem, Problem):
        raise SpecError(
            f"a nestor.Problem is wanted, not {type(problem).__name__}: "
            "make one by nestor.Problem(spec, table)."
        )


def fingerprint(problem: Problem) -> str:
    """Hexadecimal hash of the data, the tree and the resolved description.

    Rows of one leaf count in the table's order: the same rows in another order are the same
    posterior, with the same nodes and scalars, but sums over them round otherwise. So do rows that
    were read in batches, whose size then counts too.
    """
    digest = hashlib.sha256(problem.resolved_spec.to_toml().encode())
    for array in (*_data(problem), *(level.parent for level in problem.levels)):
        digest.update(b"none" if array is None else repr(array.shape).encode())
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    for level in problem.index.levels:
        digest.update(json.dumps(list(level.paths)).encode())
    return digest.hexdigest()


def _data(problem: Problem) -> list[NDArray[Any] | None]:
    """Arrays of the rows, or of the statistics where rows are not in memory."""
    if problem.has_rows:
        rows = problem.rows
        return [rows.y, rows.X, rows.Z, rows.offset, rows.weights, rows.leaf]
    found = problem.statistics
    sums = np.array([found.sum_log_weights])
    return [found.root, found.fit, found.residual, found.rows_per_leaf, sums]
