"""One grouping column at a time: labels of any type to integer codes, in the labels' order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from nestor.data.index.tree import as_text
from nestor.errors import DataError, NestorError
from nestor.errors.arguments import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Kinds of pandas' infer_dtype whose values compare, and print apart, among themselves.
_NUMBER_KINDS = frozenset({"integer", "floating", "boolean"})
_TIME_KINDS = frozenset(
    {"date", "datetime", "datetime64", "time", "timedelta", "timedelta64", "period"}
)
_LABEL_KINDS = _NUMBER_KINDS | _TIME_KINDS | {"interval", "empty"}


type Integers = NDArray[np.signedinteger[Any]]


class Column(NamedTuple):
    """One grouping column: `codes` (N,) point into `distinct`, -1 where the key is missing."""

    codes: Integers
    distinct: pd.Index[Any]
    width: int  # number of codes in use: one more than distinct labels where missing is a group


def encode(series: pd.Series[Any], name: str) -> Column:
    """Code a column's labels in their order, each used at least once.

    Raises
    ------
    DataError
        The labels have no common type, so cannot be ordered or distinguished in print; or they
        are no text that a file can hold.
    """
    try:
        found = _encode(series, name)
    except (NestorError, MemoryError):
        raise
    except Exception as error:
        raise DataError(
            f"column {name!r} has labels that cannot be told apart, ordered and printed "
            f"({type(error).__name__} in doing so). {_fix(name)}"
        ) from error
    _refuse_null_characters(found.distinct, name)
    return found


def _encode(series: pd.Series[Any], name: str) -> Column:
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _encode_categorical(series, name)
    if isinstance(dtype, pd.SparseDtype):
        return _encode(pd.Series(np.asarray(series)), name)
    if isinstance(dtype, pd.ArrowDtype):
        plain = plain_arrow(pa.chunked_array(pa.array(series.array)))
        if pa.types.is_dictionary(plain.type):
            return _encode_categorical(plain.to_pandas(), name)
        return _encode_plain(pd.Series(pd.arrays.ArrowExtensionArray(plain)), name)
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        return _encode_objects(series, name)
    if isinstance(dtype, np.dtype) and not dtype.isnative:
        return _encode_plain(series.astype(dtype.newbyteorder("=")), name)
    return _encode_plain(series, name)


def _encode_plain(series: pd.Series[Any], name: str) -> Column:
    """Code a column of one type."""
    kind = pd.api.types.infer_dtype(series, skipna=True)
    if kind == "string":
        codes, distinct = encode_text(series)
        return Column(codes, distinct, len(distinct))
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "iu":
        return _encode_integers(series.to_numpy())
    if kind == "floating":
        return _encode_floats(series)
    return _encode_others(series, name, kind)


def plain_arrow(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Turn an Arrow float's NaN into a missing key, as pandas reads it, and minus zero into zero.

    Views of text and floats of 16 bits, for which Arrow has no dictionary, become plain ones. Dates in
    milliseconds are whole days by their definition: a time within the day is dropped.
    """
    if pa.types.is_dictionary(column.type):
        inner = column.type.value_type
        if column.type.ordered or not pa.types.is_floating(inner):
            return column
        # Two entries of the dictionary may be one label now.
        column = column.cast(inner)
    if pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    if pa.types.is_date64(column.type):
        days = pc.floor_temporal(column.cast(pa.timestamp("ms")), unit="day")
        return days.cast(pa.date64())
    if not pa.types.is_floating(column.type):
        return column
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    column = pc.add(column, pa.scalar(0, column.type))
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)


def _encode_categorical(series: pd.Series[Any], name: str) -> Column:
    codes = series.cat.codes.to_numpy().astype(np.intp)
    categories = series.cat.categories
    used = np.flatnonzero(np.bincount(codes + 1, minlength=len(categories) + 1)[1:])
    inner = _encode(pd.Series(categories[used]), name)
    distinct, rank = inner.distinct, inner.codes
    if series.cat.ordered:
        distinct, rank = distinct.take(rank), np.arange(len(used), dtype=np.intp)
    lookup = np.full(len(categories) + 1, -1, dtype=np.intp)  # the last entry serves code -1
    lookup[used] = rank
    return Column(lookup[codes], distinct, len(distinct))


def _encode_objects(series: pd.Series[Any], name: str) -> Column:
    try:
        codes, labels = pd.factorize(series.to_numpy())
    except TypeError:
        raise _no_one_type(series, name) from None
    # A string equals no value of another type, so text among the distinct labels is text in all
    # rows; of 1, 1.0 and True only one is left, so that the rows of any other kind must be seen.
    if pd.api.types.infer_dtype(labels, skipna=False) != "string":
        kind = pd.api.types.infer_dtype(series[codes >= 0], skipna=True)
        if kind == "floating":  # gaps of several kinds are gaps
            return _encode_floats(series.where(codes >= 0, np.nan).astype(np.float64))
        return _encode_others(series, name, kind)
    try:
        text = pa.array(labels, type=pa.large_string())
    except UnicodeEncodeError as error:
        bad = f"{error.object!r}"
        raise DataError(f"column {name!r} has a label that is not valid text: {bad}.") from None
    order, distinct = sorted_text(text)
    return Column(ranks(order, missing=True).take(codes), distinct, len(distinct))


def _encode_integers(values: NDArray[Any]) -> Column:
    low, high = int(values.min()), int(values.max())
    size = high - low + 1
    if not fits_table(size, len(values)):
        codes, found = ranked(*pd.factorize(values))
        return Column(codes, pd.Index(found), len(found))
    wide = values if values.dtype.itemsize == 8 else values.astype(np.int64)
    codes, found = recode((wide - wide.dtype.type(low)).astype(np.intp), size)
    distinct = (found.astype(wide.dtype) + wide.dtype.type(low)).astype(values.dtype)
    return Column(codes, pd.Index(distinct), len(distinct))


def _encode_floats(series: pd.Series[Any]) -> Column:
    """Code floats; those that are not numbers are missing, and minus zero is zero."""
    numpy_type: Any = getattr(series.dtype, "numpy_dtype", series.dtype)
    width = np.float32 if numpy_type.itemsize <= np.float32().itemsize else np.float64
    values = series.to_numpy(dtype=width, na_value=np.nan) + width(0)
    codes, distinct = ranked(*pd.factorize(values))
    return Column(codes, pd.Index(distinct), len(distinct))


def _encode_others(series: pd.Series[Any], name: str, kind: str) -> Column:
    if kind not in _LABEL_KINDS:
        if series.isna().all():
            return Column(np.full(len(series), -1), pd.Index([], dtype=object), 0)
        raise _no_one_type(series, name)
    try:
        codes, uniques = pd.factorize(series.array)
        codes, distinct = ranked(codes, _plain_labels(uniques))
    except TypeError:  # such as a date and a time stamp, which Python cannot order
        raise _no_one_type(series, name) from None
    if distinct.dtype == object and kind in ("datetime", "datetime64"):
        raise DataError(
            f"column {name!r} mixes time zones; convert it, for example with "
            f"pandas.to_datetime(table[{name!r}], utc=True)."
        )
    if (absent := np.asarray(distinct.isna())).any():
        lookup = np.append(np.where(absent, -1, np.cumsum(~absent) - 1), -1)
        codes, distinct = lookup[codes], distinct[~absent]
    _refuse_twins(distinct, name)
    return Column(codes, distinct, len(distinct))


def _plain_labels(uniques: Any) -> pd.Index[Any]:
    """Convert labels of nullable, Arrow and object columns to a plain column's type."""
    plain = getattr(uniques.dtype, "numpy_dtype", uniques.dtype)
    kind = getattr(plain, "kind", "O")
    if kind in "biu":
        return pd.Index(np.asarray(uniques, dtype=plain))
    if kind == "f":
        values = np.asarray(uniques, dtype=max(plain, np.dtype(np.float32)))
        # minus zero and zero are one label: the positive one
        return cast("pd.Index[Any]", pd.Index(values + 0))
    return pd.Index(np.asarray(uniques, dtype=object), dtype=object).infer_objects()


def _no_one_type(series: pd.Series[Any], name: str) -> DataError:
    """Explain labels of several types, or of a type that cannot be ordered and printed."""
    present = series[series.notna().to_numpy()].tolist()
    first = {type(value): value for value in reversed(present)}
    fix = _fix(name)
    if len(first) == 1:
        what = next(iter(first)).__name__
        return DataError(f"column {name!r} holds labels of type {what}, not text, numbers, "
                         f"booleans or dates. {fix}")  # fmt: skip
    by_text: dict[str, set[type]] = {}
    for value in present:
        by_text.setdefault(str(value), set()).add(type(value))
    alike = [text for text, types in by_text.items() if len(types) > 1]
    kinds = sorted(first.items(), key=lambda pair: pair[0].__name__)
    shown = ", ".join(f"{kind.__name__} ({value!r})" for kind, value in kinds)
    twins = f" The label {min(alike)!r} is there in several of them." if alike else ""
    return DataError(f"column {name!r} mixes labels of types {shown}.{twins} {fix}")


def _fix(name: str) -> str:
    return f"Convert them first, for example table[{name!r}].astype(str)."


def _refuse_null_characters(distinct: pd.Index[Any], name: str) -> None:
    """Refuse text that neither NumPy's arrays of text nor netCDF can hold."""
    if distinct.dtype != object:
        return
    bad = next((label for label in distinct if isinstance(label, str) and "\0" in label), None)
    if bad is not None:
        raise DataError(
            f"column {name!r} has the label {shown(bad)}, with a null character, which no file of results "
            f"can hold. Remove it, for example by table[{name!r}].str.replace('\\0', '')."
        )


def _refuse_twins(distinct: pd.Index[Any], name: str) -> None:
    if getattr(distinct.dtype, "kind", "O") in "biuf":
        return  # numbers of one type print apart
    text = pd.Series(as_text(distinct))
    if (twin := text[text.duplicated()]).size:
        raise DataError(f"column {name!r} has different labels that both print as {twin.iloc[0]!r};"
                        " make them text that tells them apart.")  # fmt: skip


# Looking rows up among known labels is faster than finding the labels, while they are few.
_SAMPLE = 4096
_FEW_LABELS = 256
_ROWS_PER_SAMPLED = 16


def encode_text(series: pd.Series[Any]) -> tuple[Integers, pd.Index[Any]]:
    """Code a column of one of pandas' types for text.

    Returns
    -------
    codes, distinct
        Shape (N,), -1 where the key is missing; the labels in order of code points.
    """
    values = pa.array(series.array).cast(pa.large_string())
    return _looked_up(values) or _found(values)


def sorted_text(text: Any) -> tuple[NDArray[np.uint64], pd.Index[Any]]:
    """Sort distinct labels by Arrow, whose byte order of UTF-8 is the order of code points.

    Returns
    -------
    order, distinct
        ``distinct`` is ``text[order]``.
    """
    order = pc.sort_indices(text)
    return order.to_numpy(), pd.Index(text.take(order).to_pylist(), dtype=object)


def _found(values: Any) -> tuple[Integers, pd.Index[Any]]:
    """Code any column."""
    encoded = values.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    order, distinct = sorted_text(encoded.dictionary)
    codes = pc.take(pa.array(ranks(order)), encoded.indices, boundscheck=False)
    return _filled(codes), distinct


def _looked_up(values: Any) -> tuple[Integers, pd.Index[Any]] | None:
    """Code a long column by the labels of a sample of rows; None if the sample misses a label."""
    if len(values) < _ROWS_PER_SAMPLED * _SAMPLE:
        return None
    rows = np.linspace(0, len(values) - 1, _SAMPLE).astype(np.int64)
    labels = values.take(pa.array(rows)).unique().drop_null()
    if len(labels) > _FEW_LABELS:
        return None
    labels = labels.take(pc.sort_indices(labels))
    codes = pc.index_in(values, value_set=labels)
    if codes.null_count > values.null_count:  # a label was not in the sample
        return None
    return _filled(codes), pd.Index(labels.to_pylist(), dtype=object)


def _filled(codes: Any) -> Integers:
    if isinstance(codes, pa.ChunkedArray):
        codes = codes.combine_chunks()
    return np.asarray(codes.fill_null(-1).to_numpy())


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
    """Return ``lookup[codes]``; codes must not be negative.

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
