"""Text to integer codes; Arrow does all that is done row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nestor.data.index.ranks import ranks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.data.index.ranks import Integers

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
    """Code a long column all of whose labels show in a sample of rows; otherwise return None."""
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
