"""Numbers for distinct keys, in order, and the order of rows by such numbers.

Everything here is linear in rows, but for the sorting of distinct values among themselves.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

type Integers = NDArray[np.signedinteger[Any]]

# A lookup table over all possible keys beats hashing while it has at most this many entries a row.
TABLE_ENTRIES_PER_ROW = 4


def fits_table(size: int, rows: int) -> bool:
    """Whether a lookup table over `size` possible keys is worth its memory."""
    return size <= TABLE_ENTRIES_PER_ROW * rows


def narrow(n: int) -> type[np.int32 | np.int64]:
    """Return the smallest type that counts to `n`; half the width is half the memory traffic."""
    return np.int32 if n <= np.iinfo(np.int32).max else np.int64


def recode(keys: Integers, size: int) -> tuple[Integers, Integers]:
    """Give numbers to the distinct keys, all in [0, size), in ascending order.

    Returns
    -------
    codes, found
        ``found[codes]`` equals `keys`; `found` ascends.
    """
    if not fits_table(size, len(keys)):
        return ranked(*pd.factorize(keys))
    seen = np.zeros(size, dtype=np.bool_)
    seen[keys.astype(np.intp, copy=False)] = True
    found = np.flatnonzero(seen)
    lookup = np.zeros(size, dtype=narrow(size))
    lookup[found] = np.arange(len(found))
    return take(lookup, keys), found


def take(lookup: Integers, codes: Integers) -> Integers:
    """Return ``lookup[codes]``; none may be negative.

    Arrow reads narrow codes as they are, where NumPy widens them first.
    """
    taken = pc.take(pa.array(lookup), pa.array(codes), boundscheck=False)
    return cast("Integers", taken.to_numpy())


def ranked(codes: Integers, values: Any) -> tuple[Integers, Any]:
    """Sort distinct values and point the codes to their new places; -1 stays."""
    order = values.argsort()
    return ranks(order, missing=True).take(codes), values[order]


def ranks(order: NDArray[Any], *, missing: bool = False) -> Integers:
    """Return the place of each value in a sorting order; with a last entry that serves code -1."""
    lookup = np.full(len(order) + missing, -1, dtype=narrow(len(order)))
    lookup[order] = np.arange(len(order))
    return lookup


def sorted_rows(leaf: Integers, n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the stable order of rows by leaf, and the rows per leaf.

    A counting sort, linear in rows and leaves: transposing the sparse matrix that has row i's one
    entry in column ``leaf[i]`` is just that, and several times faster than NumPy's stable sort of
    wide integers.
    """
    rows = len(leaf)
    if (leaf[1:] >= leaf[:-1]).all():
        return np.arange(rows, dtype=np.intp), np.bincount(leaf, minlength=n)
    small = narrow(rows)
    ones = np.ones(rows, dtype=np.int8)
    entries = (ones, leaf.astype(small, copy=False), np.arange(rows + 1, dtype=small))
    by_leaf = sparse.csr_array(entries, shape=(rows, n)).tocsc()
    return by_leaf.indices.astype(np.intp), np.diff(by_leaf.indptr).astype(np.intp)
