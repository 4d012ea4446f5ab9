"""A hash that changes with whatever changes the posterior."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.data.problem import Problem


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
    """Arrays of the rows or, where there are none, of the statistics."""
    if problem.has_rows:
        rows = problem.rows
        return [rows.y, rows.X, rows.Z, rows.offset, rows.weights, rows.leaf]
    found = problem.statistics
    sums = np.array([found.sum_log_weights])
    return [found.root, found.fit, found.residual, found.rows_per_leaf, sums]
