"""From rows to leaves to parents: the nested index that every backend reads.

Each grouping column is turned into integer codes once; a node of a level is then a distinct pair
(parent, label), found by coding the integer ``parent * n_labels + label``. The work is a fixed
number of passes over the rows per level, whatever the number of nodes.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from nestor.errors import DataError, SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESERVED_LEVELS = frozenset({"chain", "draw", "effect", "effect_2", "covariate"})
"""Names of other dims of the canonical variables, which a level would shadow."""

MISSING_LABEL = "(missing)"
"""Label of the node that ``missing="group"`` makes of rows without a key."""

type Codes = NDArray[np.intp]

# Kinds of pandas' infer_dtype whose values compare, and print apart, among themselves.
_NUMBER_KINDS = frozenset({"integer", "floating", "boolean"})
_TIME_KINDS = frozenset(
    {"date", "datetime", "datetime64", "time", "timedelta", "timedelta64", "period"}
)
_LABEL_KINDS = _NUMBER_KINDS | _TIME_KINDS | {"interval", "empty"}
# A lookup table over all possible keys beats hashing while it has at most this many entries a row.
_TABLE_ENTRIES_PER_ROW = 4
_SHOWN = 3


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
    """What a user wants to see of an index before fitting; counts of rows, levels top down."""

    rows: int
    levels: tuple[LevelSummary, ...]
    min_rows_per_leaf: int
    max_rows_per_leaf: int
    single_row_leaves: int
    reused_labels: Mapping[str, ReusedLabels]


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
    parent: Codes
    code: Codes
    distinct: pd.Index[Any]
    above: LevelIndex | None = field(repr=False)

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
        text = np.append(_as_text(self.distinct), np.array([MISSING_LABEL], dtype=object))
        return cast("NDArray[np.object_]", text[self.code])

    @cached_property
    def paths(self) -> NDArray[np.object_]:
        r"""Each node's path as text, shape (n,), for example ``"no degree/CA/Riverside"``.

        Inside a label a backslash is written ``\\`` and a slash ``\/``, so that two nodes never
        share a path.
        """
        text = np.append(_as_text(self.distinct), np.array([MISSING_LABEL], dtype=object))
        own = _escaped(text)[self.code]
        if self.above is None:
            return own
        return cast("NDArray[np.object_]", self.above.paths[self.parent] + "/" + own)


@dataclass(frozen=True, eq=False)
class NestedIndex:
    """Rows sorted by leaf, and the tree above the leaves.

    Attributes
    ----------
    levels
        Top down; the nodes of the last level are the leaves.
    order
        Shape (N,): positions of the table's rows, sorted by leaf; rows of one leaf keep their
        order. ``table.iloc[index.order]`` is the table that all engines read.
    leaf
        Shape (N,), non-decreasing: the leaf of each *sorted* row.
    rows_per_leaf
        Shape (n_leaves,): all at least 1.
    """

    levels: tuple[LevelIndex, ...]
    order: Codes
    leaf: Codes
    rows_per_leaf: Codes

    @property
    def n_rows(self) -> int:
        """Number of rows, N."""
        return len(self.order)

    @property
    def n_leaves(self) -> int:
        """Number of nodes on the last level."""
        return self.levels[-1].n

    @property
    def names(self) -> tuple[str, ...]:
        """The levels' names, top down."""
        return tuple(level.name for level in self.levels)

    @cached_property
    def starts(self) -> Codes:
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
            raise SpecError(f"there is no level {level!r}; the levels are {known}.")
        return self.names.index(level)

    def ancestor(self, level: str, of: str) -> Codes:
        """Return each node's ancestor on a level further up.

        Parameters
        ----------
        level
            Where the ancestors stand; `of` itself is allowed and gives each node.
        of
            The level whose nodes are asked about, n of them.

        Returns
        -------
        Codes
            Shape (n,), non-decreasing.

        Raises
        ------
        SpecError
            A level is unknown, or `level` lies below `of`.
        """
        top, bottom = self.depth(level), self.depth(of)
        if top > bottom:
            raise SpecError(f"level {level!r} lies below {of!r} and holds no ancestors of it.")
        nodes: Codes = np.arange(self.levels[bottom].n, dtype=np.intp)
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
                shown = _as_text(level.distinct.take(several[:_SHOWN]))
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


def build_index(
    table: pd.DataFrame,
    levels: Sequence[str],
    *,
    missing: Literal["error", "group"] = "error",
) -> NestedIndex:
    """Index the rows of a table by the nested levels of a hierarchy.

    A node is a path, not a label: county "Lake" under two states is two nodes. Nodes stand in
    lexicographic order of their paths. Labels are ordered as numbers, dates or text (by code
    point); those of an ordered categorical column keep the order of its categories. The same
    table in another row order therefore gives the same nodes.

    Parameters
    ----------
    table
        One row per observation; the index of the frame is not used.
    levels
        Columns of the grouping keys, top down.
    missing
        What to do with rows that lack a key: refuse them, or make them a node of their own with
        the label ``"(missing)"``, last among its siblings.

    Raises
    ------
    SpecError
        `levels` is empty, repeats a name or uses a reserved one; `missing` is not a known choice.
    DataError
        The table is empty or lacks a column; keys are missing; or a column's labels have no one
        type, so that they could neither be ordered nor told apart in print.
    """
    _check_levels(levels)
    if missing not in ("error", "group"):
        raise SpecError(f"missing={missing!r} is unknown; choose 'error' or 'group'.")
    _check_columns(table, levels)
    columns = [_encode(table[name], name) for name in levels]
    if missing == "error":
        _refuse_missing(levels, columns)
    else:
        columns = [_group_missing(*pair) for pair in zip(levels, columns, strict=True)]

    nodes, leaf = _nest(levels, columns)
    order, rows_per_leaf = _sorted_rows(leaf, nodes[-1].n)
    return NestedIndex(
        levels=tuple(nodes),
        order=order,
        leaf=np.repeat(np.arange(nodes[-1].n, dtype=np.intp), rows_per_leaf),
        rows_per_leaf=rows_per_leaf,
    )


def _nest(levels: Sequence[str], columns: Sequence[_Column]) -> tuple[list[LevelIndex], Codes]:
    """Find the nodes of every level; also return the leaf of each row of the table."""
    top, leaf = columns[0], columns[0].codes.copy()
    root = np.zeros(top.width, dtype=np.intp)
    nodes = [LevelIndex(levels[0], root, np.arange(top.width), top.distinct, None)]
    for name, column in zip(levels[1:], columns[1:], strict=True):
        above, width = nodes[-1], column.width
        # Both factors are at most the number of rows, so the product fits 64 bits up to 3e9 rows.
        leaf *= width  # in place: at ten million rows a fresh array costs more than the product
        leaf += column.codes
        leaf, found = _recode(leaf, above.n * width)
        nodes.append(LevelIndex(name, found // width, found % width, column.distinct, above))
    return nodes, leaf


def _check_levels(levels: Sequence[str]) -> None:
    if isinstance(levels, str) or not all(isinstance(name, str) for name in levels):
        raise SpecError(f"levels must be a list of column names, top down; found {levels!r}.")
    if not levels:
        raise SpecError("levels is empty; name at least one grouping column.")
    if repeated := sorted({name for name in levels if list(levels).count(name) > 1}):
        raise SpecError(f"level {repeated[0]!r} stands more than once in {'/'.join(levels)}.")
    if reserved := sorted(RESERVED_LEVELS.intersection(levels)):
        raise SpecError(
            f"a level may not be called {reserved[0]!r}, which is a dim of the results; "
            "rename the column."
        )


def _check_columns(table: pd.DataFrame, levels: Sequence[str]) -> None:
    present = list(table.columns)
    for name in levels:
        if name not in present:
            close = difflib.get_close_matches(name, map(str, present), n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            columns = ", ".join(map(repr, present))
            raise DataError(f"the table has no column {name!r}. {hint}Its columns: {columns}.")
        if (times := present.count(name)) > 1:
            raise DataError(f"the table has {times} columns {name!r}; rename or drop the others.")
    if table.empty:
        raise DataError("the table has no rows, so there is nothing to index.")


class _Column(NamedTuple):
    """One grouping column: `codes` (N,) point into `distinct`, -1 where the key is missing."""

    codes: Codes
    distinct: pd.Index[Any]
    width: int  # number of codes in use: one more than distinct labels where missing is a group


def _encode(series: pd.Series[Any], name: str) -> _Column:
    """Code a column's labels in their order, each used at least once."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _encode_categorical(series, name)
    if isinstance(dtype, pd.SparseDtype):
        return _encode(pd.Series(np.asarray(series)), name)
    if isinstance(dtype, pd.ArrowDtype) and pa.types.is_dictionary(dtype.pyarrow_dtype):
        plain = pd.ArrowDtype(dtype.pyarrow_dtype.value_type)
        return _encode(series.astype(plain), name)
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        return _encode_objects(series, name)
    kind = pd.api.types.infer_dtype(series, skipna=True)
    if kind == "string":
        return _encode_text(series)
    if isinstance(dtype, np.dtype) and dtype.kind in "iu":
        return _encode_integers(series.to_numpy())
    return _encode_others(series, name, kind)


def _encode_categorical(series: pd.Series[Any], name: str) -> _Column:
    codes = series.cat.codes.to_numpy().astype(np.intp)
    categories = series.cat.categories
    used = np.flatnonzero(np.bincount(codes + 1, minlength=len(categories) + 1)[1:])
    inner = _encode(pd.Series(categories[used]), name)
    distinct, rank = inner.distinct, inner.codes
    if series.cat.ordered:
        distinct, rank = distinct.take(rank), np.arange(len(used), dtype=np.intp)
    lookup = np.full(len(categories) + 1, -1, dtype=np.intp)  # the last entry serves code -1
    lookup[used] = rank
    return _Column(lookup[codes], distinct, len(distinct))


def _encode_text(series: pd.Series[Any]) -> _Column:
    """Code a column of one of pandas' types for text."""
    values = pa.array(series.array)
    if isinstance(values, pa.ChunkedArray):
        values = values.cast(pa.large_string()).combine_chunks()
    encoded = values.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy()
    return _Column(*_ranked_text(codes, encoded.dictionary), len(encoded.dictionary))


def _encode_objects(series: pd.Series[Any], name: str) -> _Column:
    try:
        codes, labels = pd.factorize(series.to_numpy())
    except TypeError:
        raise _no_one_type(series, name) from None
    # A string equals no value of another type, so text among the distinct labels is text in all
    # rows; of 1, 1.0 and True only one is left, so that the rows of any other kind must be seen.
    if pd.api.types.infer_dtype(labels, skipna=False) != "string":
        return _encode_others(series, name, pd.api.types.infer_dtype(series, skipna=True))
    try:
        text = pa.array(labels, type=pa.large_string())
    except UnicodeEncodeError as error:
        bad = f"{error.object!r}"
        raise DataError(f"column {name!r} has a label that is not valid text: {bad}.") from None
    return _Column(*_ranked_text(codes, text), len(text))


def _ranked_text(codes: Codes, text: Any) -> tuple[Codes, pd.Index[Any]]:
    """Sort distinct labels by Arrow, whose byte order of UTF-8 is the order of code points."""
    order = pc.sort_indices(text).to_numpy()
    labels = text.to_numpy(zero_copy_only=False)[order]
    return _moved(codes, order), pd.Index(labels, dtype=object)


def _encode_integers(values: NDArray[Any]) -> _Column:
    low, high = int(values.min()), int(values.max())
    size = high - low + 1
    if size > _TABLE_ENTRIES_PER_ROW * len(values):
        codes, found = _ranked(*pd.factorize(values))
        return _Column(codes, pd.Index(found), len(found))
    wide = values if values.dtype.itemsize == 8 else values.astype(np.int64)
    codes, found = _recode((wide - wide.dtype.type(low)).astype(np.intp), size)
    distinct = (found.astype(wide.dtype) + wide.dtype.type(low)).astype(values.dtype)
    return _Column(codes, pd.Index(distinct), len(distinct))


def _encode_others(series: pd.Series[Any], name: str, kind: str) -> _Column:
    if kind not in _LABEL_KINDS:
        if series.isna().all():
            return _Column(np.full(len(series), -1), pd.Index([], dtype=object), 0)
        raise _no_one_type(series, name)
    try:
        codes, uniques = pd.factorize(series.array)
        codes, distinct = _ranked(codes, _plain_labels(uniques))
    except TypeError:  # such as a date and a time stamp, which Python cannot order
        raise _no_one_type(series, name) from None
    if distinct.dtype == object and kind in ("datetime", "datetime64"):
        raise DataError(
            f"column {name!r} mixes time zones; convert it, for example with "
            f"pandas.to_datetime(table[{name!r}], utc=True)."
        )
    if (absent := np.asarray(distinct.isna())).any():  # a NaN inside an Arrow column of floats
        lookup = np.append(np.where(absent, -1, np.cumsum(~absent) - 1), -1)
        codes, distinct = lookup[codes], distinct[~absent]
    _refuse_twins(distinct, name)
    return _Column(codes, distinct, len(distinct))


def _plain_labels(uniques: Any) -> pd.Index[Any]:
    """Bring labels of nullable, Arrow and object columns to the type of a plain column."""
    plain = getattr(uniques.dtype, "numpy_dtype", uniques.dtype)
    if getattr(plain, "kind", "O") in "biu":
        return pd.Index(np.asarray(uniques, dtype=plain))
    if getattr(plain, "kind", "O") == "f":
        values = np.asarray(uniques, dtype=max(plain, np.dtype(np.float32)))
        return cast(
            "pd.Index[Any]", pd.Index(values + 0)
        )  # minus zero and zero are one label: the positive one
    return pd.Index(np.asarray(uniques, dtype=object), dtype=object).infer_objects()


def _no_one_type(series: pd.Series[Any], name: str) -> DataError:
    """Explain labels of several types, or of a type that cannot be ordered and printed."""
    present = series[series.notna().to_numpy()]
    first = {type(value): value for value in reversed(present.tolist())}
    kinds = sorted(first.items(), key=lambda pair: pair[0].__name__)
    fix = f"Convert them first, for example table[{name!r}].astype(str)."
    if len(first) == 1:
        what = next(iter(first)).__name__
        return DataError(f"column {name!r} holds labels of type {what}, not text, numbers, "
                         f"booleans or dates. {fix}")  # fmt: skip
    by_text: dict[str, set[type]] = {}
    for value in present.tolist():
        by_text.setdefault(str(value), set()).add(type(value))
    alike = [text for text, types in by_text.items() if len(types) > 1]
    shown = ", ".join(f"{kind.__name__} ({value!r})" for kind, value in kinds)
    twins = f" The label {min(alike)!r} is there in several of them." if alike else ""
    return DataError(f"column {name!r} mixes labels of types {shown}.{twins} {fix}")


def _refuse_twins(distinct: pd.Index[Any], name: str) -> None:
    if getattr(distinct.dtype, "kind", "O") in "biuf":
        return  # numbers of one type print apart
    text = pd.Series(_as_text(distinct))
    if (twin := text[text.duplicated()]).size:
        raise DataError(f"column {name!r} has different labels that both print as {twin.iloc[0]!r};"
                        " make them text that tells them apart.")  # fmt: skip


def _refuse_missing(levels: Sequence[str], columns: Sequence[_Column]) -> None:
    parts, total = [], 0
    for name, column in zip(levels, columns, strict=True):
        if column.codes.min() < 0:
            rows = np.flatnonzero(column.codes < 0)
            shown = ", ".join(map(str, rows[:_SHOWN])) + (", ..." if len(rows) > _SHOWN else "")
            parts.append(f"{len(rows)} in column {name!r} (rows {shown})")
            total += len(rows)
    if parts:
        raise DataError(
            f"{total} missing keys: {'; '.join(parts)}. Drop or fill those rows, or "
            "index with missing='group', which makes them a node of their own."
        )


def _group_missing(name: str, column: _Column) -> _Column:
    absent = column.codes < 0
    if not absent.any():
        return column
    if column.distinct.dtype == object and (column.distinct == MISSING_LABEL).any():
        raise DataError(
            f"column {name!r} has both missing keys and the label {MISSING_LABEL!r}, which "
            "missing='group' would give to them; rename that label or fill the keys."
        )
    width = len(column.distinct)
    return _Column(np.where(absent, width, column.codes), column.distinct, width + 1)


def _recode(keys: Codes, size: int) -> tuple[Codes, Codes]:
    """Give numbers to the distinct keys, all in [0, size), in ascending order.

    Returns
    -------
    codes, found
        ``found[codes]`` equals `keys`; `found` ascends.
    """
    if size > _TABLE_ENTRIES_PER_ROW * len(keys):
        return _ranked(*pd.factorize(keys))
    seen = np.zeros(size, dtype=np.bool_)
    seen[keys] = True
    lookup = np.cumsum(seen, dtype=np.intp) - 1
    return lookup.take(keys), np.flatnonzero(seen)


def _ranked(codes: Codes, values: Any) -> tuple[Codes, Any]:
    """Sort distinct values and point the codes to their new places; -1 stays."""
    order = values.argsort()
    return _moved(codes, order), values[order]


def _moved(codes: Codes, order: NDArray[Any]) -> Codes:
    lookup = np.full(len(order) + 1, -1, dtype=np.intp)  # the last entry serves code -1
    lookup[order] = np.arange(len(order))
    return lookup.take(codes)


def _sorted_rows(leaf: Codes, n: int) -> tuple[Codes, Codes]:
    """Return the stable order of rows by leaf, and the rows per leaf.

    A counting sort, linear in rows and leaves: transposing the sparse matrix that has row i's one
    entry in column ``leaf[i]`` is just that, and several times faster than NumPy's stable sort of
    wide integers.
    """
    rows = len(leaf)
    if (leaf[1:] >= leaf[:-1]).all():
        return np.arange(rows, dtype=np.intp), np.bincount(leaf, minlength=n)
    small = np.int32 if rows < np.iinfo(np.int32).max else np.int64
    entries = (np.ones(rows, np.int8), leaf.astype(small), np.arange(rows + 1, dtype=small))
    by_leaf = sparse.csr_array(entries, shape=(rows, n)).tocsc()
    return by_leaf.indices.astype(np.intp), np.diff(by_leaf.indptr).astype(np.intp)


def _as_text(labels: pd.Index[Any]) -> NDArray[np.object_]:
    """Print labels; floats that are all whole numbers print as such, as after a CSV's gaps."""
    if labels.dtype.kind == "f":
        values = labels.to_numpy()
        if (np.abs(values) < 2**53).all() and (values == np.floor(values)).all():
            values = values.astype(np.int64)
        return values.astype(str).astype(object)  # the shortest text that reads back the same
    return np.asarray(labels.astype(str), dtype=object)


def _escaped(text: NDArray[np.object_]) -> NDArray[np.object_]:
    series = pd.Series(text, dtype=object).str
    escaped = series.replace("\\", "\\\\", regex=False).str.replace("/", "\\/", regex=False)
    return np.asarray(escaped, dtype=object)
