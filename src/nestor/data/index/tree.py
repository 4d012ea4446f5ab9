"""The tree that an index describes: levels of nodes, and the table's rows under the leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nestor.errors import SpecError, display
from nestor.errors.arguments import shown
from nestor.errors.text import did_you_mean, listed, printable, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor.stats.arrays import IntArray

MISSING_LABEL = "(missing)"
"""Label of the node that ``missing="group"`` makes of rows without a key."""


def as_text(labels: pd.Index[Any]) -> NDArray[np.object_]:
    """Print labels; floats that are all whole numbers print as such, as after a CSV's gaps."""
    if labels.dtype.kind == "f":
        values = labels.to_numpy()
        if (np.abs(values) < 2**53).all() and (values == np.floor(values)).all():
            values = values.astype(np.int64)
        return values.astype(str).astype(object)  # the shortest text that reads back the same
    return np.asarray(labels.astype(str), dtype=object)


def escaped(text: NDArray[np.object_]) -> NDArray[np.object_]:
    """Put a backslash before every backslash and slash."""
    series = pd.Series(text, dtype=object).str
    escaped = series.replace("\\", "\\\\", regex=False).str.replace("/", "\\/", regex=False)
    return np.asarray(escaped, dtype=object)


@dataclass(frozen=True)
class ReusedLabels:
    """Labels of one level that occur under more than one parent, so name several nodes."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class LevelSummary:
    """Size of one level; ``children_per_parent`` is the mean over the nodes of the level above."""

    name: str
    nodes: int
    children_per_parent: float


@dataclass(frozen=True)
class IndexSummary:
    """Summary of an index before fitting: counts of rows, levels from the top down."""

    rows: int
    levels: tuple[LevelSummary, ...]
    min_rows_per_leaf: int
    max_rows_per_leaf: int
    single_row_leaves: int
    reused_labels: Mapping[str, ReusedLabels]


_SHOWN = 3


@dataclass(frozen=True, eq=False)
class LevelIndex:
    """The nodes of one level, in lexicographic order of their paths.

    Attributes
    ----------
    name
        The level's name: its column in the table.
    parent
        Shape (n,), non-decreasing: each node's parent on the level above; zeros (the root) on the
        first level.
    code
        Shape (n,): each node's position in `distinct`, or ``len(distinct)`` for a node of rows
        without a key.
    distinct
        The level's distinct labels in order, each once, whatever the number of parents.
    above
        The level above; None on the first level.
    """

    name: str
    parent: IntArray
    code: IntArray
    distinct: pd.Index[Any]
    above: LevelIndex | None = field(repr=False)

    def __repr__(self) -> str:
        return f"LevelIndex({shown(self.name)}, {self.n:,} nodes)"

    @property
    def n(self) -> int:
        """Number of nodes."""
        return len(self.code)

    @cached_property
    def labels(self) -> pd.Index[Any]:
        """Each node's own label, shape (n,); ``"(missing)"`` for rows without a key."""
        if not (self.code == len(self.distinct)).any():
            return self.distinct.take(self.code)
        return pd.Index([*self.distinct, MISSING_LABEL], dtype=object).take(self.code)

    @cached_property
    def label_text(self) -> NDArray[np.object_]:
        """Each node's own label as text, shape (n,), without escapes."""
        return self._texts()[self.code]

    @cached_property
    def paths(self) -> NDArray[np.object_]:
        r"""Each node's path as text, shape (n,), for example ``"no degree/CA/Riverside"``.

        Inside a label a backslash is written ``\\`` and a slash ``\/``, so that two nodes never
        share a path.
        """
        own = escaped(self._texts())[self.code]
        if self.above is None:
            return own
        return cast("NDArray[np.object_]", self.above.paths[self.parent] + "/" + own)

    def _texts(self) -> NDArray[np.object_]:
        """Return the distinct labels as text, including the label of missing keys."""
        return np.append(as_text(self.distinct), np.array([MISSING_LABEL], dtype=object))


@dataclass(frozen=True, eq=False)
class TreeIndex:
    """The tree, and how many rows each leaf has.

    Attributes
    ----------
    levels
        Top down; the nodes of the last level are the leaves.
    rows_per_leaf
        Shape (n_leaves,): all at least 1.
    """

    levels: tuple[LevelIndex, ...]
    rows_per_leaf: IntArray

    def __repr__(self) -> str:
        nodes = [f"{level.n:,} {shortened(printable(level.name))}" for level in self.levels]
        return f"{type(self).__name__}({self.n_rows:,} rows, {listed(nodes)})"

    def _repr_html_(self) -> str:
        return display.html(self)

    @property
    def n_rows(self) -> int:
        """Number of rows, N."""
        return int(self.rows_per_leaf.sum())

    @property
    def n_leaves(self) -> int:
        """Number of nodes on the last level."""
        return self.levels[-1].n

    @property
    def names(self) -> tuple[str, ...]:
        """The levels' names, top down."""
        return tuple(level.name for level in self.levels)

    @cached_property
    def starts(self) -> IntArray:
        """Shape (n_leaves + 1,): leaf v has the sorted rows ``starts[v]:starts[v + 1]``."""
        return np.concatenate([[0], np.cumsum(self.rows_per_leaf)]).astype(np.intp)

    def depth(self, level: str) -> int:
        """Return the position of a level in `levels`.

        Raises
        ------
        SpecError
            There is no such level.
        """
        if level not in self.names:
            known = ", ".join(map(repr, self.names))
            meant = did_you_mean(level, self.names)
            raise SpecError(f"there is no level {level!r}; the levels are {known}.{meant}")
        return self.names.index(level)

    def ancestor(self, level: str, of: str) -> IntArray:
        """Return each node's ancestor on a level further up.

        Parameters
        ----------
        level
            Where the ancestors stand; `of` itself is allowed and gives each node.
        of
            The level of the n nodes.

        Returns
        -------
        IntArray
            Shape (n,), non-decreasing.

        Raises
        ------
        SpecError
            A level is unknown, or `level` lies below `of`.
        """
        top, bottom = self.depth(level), self.depth(of)
        if top > bottom:
            raise SpecError(f"level {level!r} lies below {of!r} and holds no ancestors of it.")
        nodes: IntArray = np.arange(self.levels[bottom].n, dtype=np.intp)
        for below in reversed(self.levels[top + 1 : bottom + 1]):
            nodes = below.parent[nodes]
        return nodes

    def reused_labels(self) -> dict[str, ReusedLabels]:
        """Return, for each level that has any, the labels that occur under several parents.

        Such a label names as many different nodes as it has parents, which may not be what the
        user meant. Nodes made of missing keys are not counted.
        """
        reused = {}
        for level in self.levels[1:]:
            parents = np.bincount(level.code, minlength=len(level.distinct))
            several = np.flatnonzero(parents[: len(level.distinct)] > 1)
            if len(several):
                shown = as_text(level.distinct.take(several[:_SHOWN]))
                reused[level.name] = ReusedLabels(len(several), tuple(shown))
        return reused

    def summary(self) -> IndexSummary:
        """Return the counts that describe the tree to a user."""
        above = (1, *(level.n for level in self.levels))
        levels = tuple(
            LevelSummary(level.name, level.n, level.n / parents)
            for level, parents in zip(self.levels, above, strict=False)
        )
        return IndexSummary(
            rows=self.n_rows,
            levels=levels,
            min_rows_per_leaf=int(self.rows_per_leaf.min()),
            max_rows_per_leaf=int(self.rows_per_leaf.max()),
            single_row_leaves=int((self.rows_per_leaf == 1).sum()),
            reused_labels=self.reused_labels(),
        )


@dataclass(frozen=True, eq=False, repr=False)
class NestedIndex(TreeIndex):
    """The tree with the table's rows under the leaves, sorted by leaf.

    Attributes
    ----------
    order
        Shape (N,): positions of the table's rows, sorted by leaf; rows of one leaf keep their
        order. ``table.iloc[index.order]`` is the table that all engines read.
    leaf
        Shape (N,), non-decreasing: the leaf of each *sorted* row.
    """

    order: IntArray
    leaf: IntArray
