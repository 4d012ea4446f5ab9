"""Distinct rows with counts: a saving for outcomes that have no leaf statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nestor.errors import Unsupported
from nestor.errors.text import short_repr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.stats.arrays import FloatArray


#: Keys stay below, so that 64 bits hold them.
_LARGEST_KEY = 2**62


@dataclass(frozen=True, eq=False)
class MergedRows:
    """The distinct rows of a problem, sorted by leaf; m of them, p effects, c covariates.

    The log-likelihood of all rows is the sum over these of ``count`` times their own.

    Parameters
    ----------
    leaf : ndarray of intp, (m,)
        Leaf of each, non-decreasing.
    y : ndarray, (m,)
        Outcome.
    X, Z : ndarray, (m, p) and (m, c)
        Effects and covariates.
    offset, weights : ndarray, (m,), or None
        As the problem has them.
    count : ndarray of int64, (m,)
        How many rows are like it; they add up to the problem's number of rows.
    """

    leaf: NDArray[np.intp]
    y: FloatArray
    X: FloatArray
    Z: FloatArray
    offset: FloatArray | None
    weights: FloatArray | None
    count: NDArray[np.int64]

    __repr__ = short_repr


def merged_rows(problem: Problem) -> MergedRows:
    """Merge rows that share leaf, effects, covariates, outcome, offset and weight.

    The time is linear in rows: each column's values are numbered, and the numbers of a row are the
    digits of one key. Rows are sorted by leaf already, so keys that are numbered in order of
    appearance are sorted by leaf, too.

    Raises
    ------
    Unsupported
        If no two rows are the same.
    """
    codes = _numbered(problem)
    if codes is None or (m := int(codes.max()) + 1) == problem.n_rows:
        raise Unsupported("no two rows are the same, so merging them saves nothing: use rows.")
    first = np.empty(m, dtype=np.intp)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    rows = problem.rows
    return MergedRows(
        leaf=rows.leaf[first],
        y=rows.y[first],
        X=rows.X[first],
        Z=rows.Z[first],
        offset=None if rows.offset is None else rows.offset[first],
        weights=None if rows.weights is None else rows.weights[first],
        count=np.bincount(codes, minlength=m).astype(np.int64),
    )


def _numbered(problem: Problem) -> NDArray[np.int64] | None:
    """Number the distinct rows in order of appearance, (N,), or None if a column never repeats a value."""
    key = problem.leaf.astype(np.int64)
    size = problem.index.n_leaves
    for column in _columns(problem):
        codes, distinct = pd.factorize(column)
        if len(distinct) == len(column):
            return None
        if size * len(distinct) > _LARGEST_KEY:
            key, found = pd.factorize(key)
            size = len(found)
        key = key * len(distinct) + codes
        size *= len(distinct)
    return np.asarray(pd.factorize(key)[0], dtype=np.int64)


def _columns(problem: Problem) -> Iterator[FloatArray]:
    """Yield the columns by which rows of a leaf differ; the outcome first, as it has the most values."""
    rows = problem.rows
    columns = (rows.y, rows.offset, rows.weights, *rows.Z.T, *rows.X.T)
    yield from (np.ascontiguousarray(c) for c in columns if c is not None)
