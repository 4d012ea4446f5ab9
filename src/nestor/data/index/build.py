"""From the rows of a table to the nested index.

Each grouping column is turned into integer codes once. The codes of a row, one per level, are
the digits of one number; distinct numbers are the leaves, in order, and the nodes above them are
their distinct beginnings. The work is a fixed number of passes over the rows per level, whatever
the number of nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nestor.data.index.columns import (
    Column,
    Integers,
    encode,
    fits_table,
    narrow,
    recode,
    sorted_rows,
)
from nestor.data.index.spelling import refuse_respelt
from nestor.data.index.tree import MISSING_LABEL, LevelIndex, NestedIndex
from nestor.errors import DataError, SpecError
from nestor.errors.arguments import shown
from nestor.model.terms.evaluation import no_column
from nestor.model.terms.parse import MOST_LEVELS

if TYPE_CHECKING:
    import pandas as pd

RESERVED_LEVELS = frozenset({"chain", "draw", "effect", "effect_2", "covariate"})
"""Names of other dims of the canonical variables, which a level would shadow."""

_ROWS_SHOWN = 3


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
        type, so that they cannot be ordered or distinguished in print.
    """
    check_levels(levels)
    if not isinstance(missing, str) or missing not in ("error", "group"):
        raise SpecError(f"missing={shown(missing)} is unknown; choose 'error' or 'group'.")
    _check_columns(table, levels)
    columns = [encode(table[name], name) for name in levels]
    if missing == "error":
        refuse_missing(levels, columns)
    else:
        columns = [group_missing(*pair) for pair in zip(levels, columns, strict=True)]

    leaf, paths = leaves(columns)
    order, rows_per_leaf = sorted_rows(leaf, len(paths[0]))
    return NestedIndex(
        levels=_nodes(levels, columns, paths),
        order=order,
        leaf=np.repeat(np.arange(len(rows_per_leaf)), rows_per_leaf),
        rows_per_leaf=rows_per_leaf,
    )


def check_levels(levels: Sequence[str]) -> None:
    """Refuse level names that are empty, repeated or reserved."""
    several = isinstance(levels, Sequence | np.ndarray) and not isinstance(levels, str)
    if not several or np.ndim(levels) != 1 or not all(isinstance(name, str) for name in levels):
        raise SpecError(f"levels must be a list of column names, top down; found {shown(levels)}.")
    if not len(levels):
        raise SpecError("levels is empty; name at least one grouping column.")
    if len(levels) > MOST_LEVELS:
        raise SpecError(f"a hierarchy has at most {MOST_LEVELS} levels, not {len(levels):,}.")
    if not all(levels):
        raise SpecError(f"a level has no name in {'/'.join(levels)!r}.")
    if repeated := sorted({name for name in levels if list(levels).count(name) > 1}):
        raise SpecError(f"level {repeated[0]!r} stands more than once in {'/'.join(levels)}.")
    if reserved := sorted(RESERVED_LEVELS.intersection(levels)):
        raise SpecError(
            f"a level may not be called {reserved[0]!r}, which is a dim of the results; "
            "rename the column."
        )


def _check_columns(table: Any, levels: Sequence[str]) -> None:
    if not hasattr(table, "columns"):
        raise DataError(f"a table with columns is wanted, not {type(table).__name__}.")
    present = list(table.columns)
    for name in levels:
        if name not in present:
            raise no_column(name, present, table.index.names)
        if (times := present.count(name)) > 1:
            raise DataError(f"the table has {times} columns {name!r}; rename or drop the others.")
    if table.empty:
        raise DataError("the table has no rows, so there is nothing to index.")
    refuse_respelt(table, levels)


def refuse_missing(levels: Sequence[str], columns: Sequence[Column]) -> None:
    """Refuse rows without a key; count them by column, and name the first."""
    parts, total = [], 0
    for name, column in zip(levels, columns, strict=True):
        if column.codes.min() < 0:
            rows = np.flatnonzero(column.codes < 0)
            more = ", ..." if len(rows) > _ROWS_SHOWN else ""
            shown = ", ".join(map(str, rows[:_ROWS_SHOWN])) + more
            parts.append(f"{len(rows)} in column {name!r} (rows {shown})")
            total += len(rows)
    if parts:
        raise DataError(
            f"{total} missing keys: {'; '.join(parts)}. Drop or fill those rows, or "
            "index with missing='group', which makes them a node of their own."
        )


def group_missing(name: str, column: Column) -> Column:
    """Make missing keys one more label, the last."""
    absent = column.codes < 0
    if not absent.any():
        return column
    if column.distinct.dtype == object and (column.distinct == MISSING_LABEL).any():
        raise DataError(
            f"column {name!r} has both missing keys and the label {MISSING_LABEL!r}, which "
            "missing='group' would give to them; rename that label or fill the keys."
        )
    width = len(column.distinct)
    return Column(np.where(absent, width, column.codes), column.distinct, width + 1)


def leaves(columns: Sequence[Column]) -> tuple[Integers, list[Integers]]:
    """Find the leaf of each row of the table, and the path of each leaf: its code on each level.

    Keys are made distinct only at the end, or when they would outgrow a lookup table.
    """
    key, size = columns[0].codes, columns[0].width
    paths: list[Integers] = []
    digits = [size]  # widths of the columns that stand in the key, but not in the paths
    for column in columns[1:]:
        if not fits_table(size * column.width, len(key)):
            key, paths = _distinct(key, size, paths, digits)
            size, digits = len(paths[0]), []
        # Both factors are at most the number of rows, so the product fits 64 bits up to 3e9 rows.
        size *= column.width
        digits.append(column.width)
        key = np.multiply(key, column.width, dtype=narrow(size))
        key += column.codes
    return _distinct(key, size, paths, digits)


def _distinct(
    key: Integers, size: int, paths: Sequence[Integers], widths: Sequence[int]
) -> tuple[Integers, list[Integers]]:
    """Number the distinct keys, and extend `paths` by their last digits."""
    node, found = recode(key, size)
    codes = []
    for width in reversed(widths):
        found, code = np.divmod(found, width)
        codes.append(code)
    return node, [*(path[found] for path in paths), *reversed(codes)]


def _nodes(
    levels: Sequence[str], columns: Sequence[Column], paths: Sequence[Integers]
) -> tuple[LevelIndex, ...]:
    """Derive the nodes of every level from the leaves' sorted paths."""
    nodes: list[LevelIndex] = []
    above = np.zeros(len(paths[0]), dtype=np.intp)  # each leaf's node on the level above
    first = np.arange(len(above)) == 0  # whether the leaf is the first one under its node
    for name, column, code in zip(levels, columns, paths, strict=True):
        first = first | (code != np.roll(code, 1))
        parent = nodes[-1] if nodes else None
        here = code[first].astype(np.intp)
        nodes.append(LevelIndex(name, above[first], here, column.distinct, parent))
        above = np.cumsum(first) - 1
    return tuple(nodes)
