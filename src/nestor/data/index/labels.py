"""Labels of nodes as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
