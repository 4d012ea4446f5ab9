"""The tree of a table that is read in batches: paths are numbered as they appear, and sorted at the end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nestor.data.index.build import build_index, check_levels, leaves, refuse_missing
from nestor.data.index.columns import Column, plain_arrow, sorted_rows
from nestor.data.index.tree import TreeIndex
from nestor.errors import DataError, SpecError
from nestor.errors.arguments import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from nestor.data.index.columns import Integers

_LABEL_TYPES = (
    pa.types.is_null,
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_date,
    pa.types.is_time,
    pa.types.is_timestamp,
    pa.types.is_duration,
)
#: A node and a label on the level below are one key of 64 bits.
_LABEL_BITS = 32


class GrowingTree:
    """Numbers of the leaves of a table whose rows come in batches.

    Parameters
    ----------
    levels : sequence of str
        Columns of the grouping keys, top down.
    missing : {"error", "group"}
        What to do with rows that lack a key.
    """

    def __init__(self, levels: Sequence[str], missing: Literal["error", "group"]) -> None:
        check_levels(levels)
        if not isinstance(missing, str) or missing not in (
            "error",
            "group",
        ):  # before any row is read
            raise SpecError(f"missing={shown(missing)} is unknown; choose 'error' or 'group'.")
        self._missing = missing
        self._labels = [_Labels(name) for name in levels]
        self._nodes = [_Nodes() for _ in levels]

    @property
    def n_leaves(self) -> int:
        """Number of leaves seen so far."""
        return len(self._nodes[-1])

    def add(self, table: pa.Table) -> tuple[Integers, NDArray[np.intp]]:
        """Find the leaves of a batch of N rows.

        Returns
        -------
        here, leaf : ndarray of int, (N,) and (m,)
            The leaf of each row among the m leaves of the batch, and the number of each of those
            among all leaves, by which it is known in later batches, too.

        Raises
        ------
        DataError
            If keys are missing and shall not be, or labels are of another type than before, or of one
            that cannot be ordered and printed.
        """
        columns = [labels.encode(table[labels.name]) for labels in self._labels]
        if self._missing == "error":
            refuse_missing([labels.name for labels in self._labels], columns)
        # Code -1 becomes the last one, which every column has, whether or not a key is missing.
        shifted = [
            Column(np.where(c.codes < 0, c.width - 1, c.codes) if (c.codes < 0).any() else c.codes,
                   c.distinct, c.width)
            for c in columns
        ]  # fmt: skip
        here, paths = leaves(shifted)
        node = np.zeros(len(paths[0]), dtype=np.int64)
        for column, code, nodes in zip(shifted, paths, self._nodes, strict=True):
            node = nodes.number((node << _LABEL_BITS) | column.distinct.to_numpy()[code])
        return here, node.astype(np.intp)

    def index(self, rows_per_leaf: NDArray[np.int64]) -> tuple[TreeIndex, NDArray[np.intp]]:
        """Put the nodes in order, as `build_index` does for the whole table.

        Parameters
        ----------
        rows_per_leaf : ndarray, (n_leaves,)
            In the order in which leaves were numbered.

        Returns
        -------
        index, order
            The tree; and the number of each of its leaves, (n_leaves,).
        """
        node = np.arange(self.n_leaves)
        columns = {}
        for labels, nodes in zip(reversed(self._labels), reversed(self._nodes), strict=True):
            keys = nodes.keys()[node]
            node, label = keys >> _LABEL_BITS, keys & (2**_LABEL_BITS - 1)
            columns[labels.name] = labels.take(label)
        names = [labels.name for labels in self._labels]
        frame = pd.DataFrame({name: columns[name] for name in names})
        found = build_index(frame, names, missing=self._missing)
        counts = rows_per_leaf[found.order].astype(np.intp)
        return TreeIndex(found.levels, counts), found.order


def refuse_labels(kind: Any, name: str) -> None:
    """Refuse labels whose Arrow type is neither text nor number, boolean or date.

    Raises
    ------
    DataError
        As `nestor.data.index.build_index` does for the same labels in a table, and for those that a column
        of pandas' own types would be needed for, such as periods.
    """
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not any(is_kind(kind) for is_kind in _LABEL_TYPES):
        shown = kind.extension_name if isinstance(kind, pa.BaseExtensionType) else kind
        raise DataError(
            f"column {name!r} holds labels of type {shown}, not text, numbers, booleans or dates. "
            f"Convert them first, for example table[{name!r}].astype(str)."
        )


class _Labels:
    """The distinct labels of one column in the order in which they appeared; 0 stands for none."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._values: Any = None
        self._order: Any = None  # the categories of an ordered column

    def encode(self, column: pa.ChunkedArray) -> Column:
        """Code rows, -1 where missing; `distinct` has the number of each code's label, 0 the last."""
        refuse_labels(column.type, self.name)
        with _named(self.name):
            return self._encode(plain_arrow(column))

    def _encode(self, column: pa.ChunkedArray) -> Column:
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        chunk = column.unify_dictionaries().combine_chunks()
        if isinstance(chunk, pa.ChunkedArray):  # of no rows
            chunk = pa.concat_arrays(chunk.chunks)
        numbers = np.append(self._number(chunk), 0)
        indices = chunk.indices
        codes = indices.fill_null(-1).to_numpy(zero_copy_only=False)
        if codes.dtype.kind == "u":
            codes = codes.astype(np.int64)
            codes[indices.is_null().to_numpy(zero_copy_only=False)] = -1
        return Column(codes, pd.Index(numbers), len(numbers))

    def take(self, numbers: NDArray[np.int64]) -> Any:
        """Return labels as a column, of pandas' type for what the file holds."""
        with _named(self.name):
            return self._take(numbers)

    def _take(self, numbers: NDArray[np.int64]) -> Any:
        absent = pa.array(numbers - 1, mask=numbers == 0)
        values = self._values if self._values is not None else pa.array([], pa.null())
        found = values.take(absent).to_pandas(
            integer_object_nulls=True
        )  # as floats, long ones would merge
        if self._order is None:
            return found
        return pd.Categorical(found, categories=self._order.to_pandas(), ordered=True)

    def _number(self, chunk: Any) -> NDArray[np.int64]:
        """Number the labels of a dictionary, adding those that are new."""
        distinct = chunk.dictionary
        if pa.types.is_null(distinct.type):
            return np.zeros(len(distinct), dtype=np.int64)
        if pa.types.is_string(distinct.type) or pa.types.is_string_view(distinct.type):
            distinct = distinct.cast(pa.large_string())
        self._check_order(chunk.type.ordered, distinct)
        if self._values is None:
            self._values = distinct.slice(0, 0)
        if distinct.type != self._values.type:
            raise DataError(
                f"column {self.name!r} holds labels of type {distinct.type}, and before "
                f"{self._values.type}. Write all files or batches with one type."
            )
        known = pc.index_in(distinct, value_set=self._values)
        new = pc.and_(known.is_null(), distinct.is_valid())
        if pc.any(new).as_py():
            self._values = pa.concat_arrays([self._values, distinct.filter(new)])
            known = pc.index_in(distinct, value_set=self._values)
        return np.asarray(known.fill_null(-1).to_numpy(zero_copy_only=False)).astype(np.int64) + 1

    def _check_order(self, ordered: bool, distinct: Any) -> None:
        if not ordered:
            return
        if self._order is not None and not self._order.equals(distinct):
            raise DataError(
                f"column {self.name!r} is an ordered categorical whose categories are not the same "
                "in all batches. Write it as text, or with the same categories everywhere."
            )
        self._order = distinct


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Name the column whose labels Arrow or pandas cannot convert, such as a time in nanoseconds."""
    try:
        yield
    except (pa.ArrowException, ValueError, ArithmeticError) as error:
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError(
            f"column {name!r} has labels that cannot be told apart, ordered and printed: {said}. Convert "
            "them first, for example to text."
        ) from None


class _Nodes:
    """Numbers of the keys of one level, in order of appearance."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, dtype=np.int64)
        self._number = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._sorted)

    def number(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of each key, adding those that are new."""
        at = np.searchsorted(self._sorted, keys)
        known = at < len(self)
        known[known] = self._sorted[at[known]] == keys[known]
        if not known.all():
            new = np.unique(keys[~known])
            where = np.searchsorted(self._sorted, new)
            count = len(self)
            self._sorted = np.insert(self._sorted, where, new)
            self._number = np.insert(self._number, where, np.arange(count, count + len(new)))
            at = np.searchsorted(self._sorted, keys)
        return self._number[at]

    def keys(self) -> NDArray[np.int64]:
        """Return all keys by their numbers."""
        found = np.empty_like(self._sorted)
        found[self._number] = self._sorted
        return found


def in_leaf_order(here: Integers, n: int) -> tuple[NDArray[np.intp] | None, NDArray[np.intp]]:
    """Return the order of a batch's rows by leaf, None where they are in order, and where leaves start.

    Shapes (N,) and (n + 1,).
    """
    order, counts = sorted_rows(here, n)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
    return (None if (here[1:] >= here[:-1]).all() else order), starts
