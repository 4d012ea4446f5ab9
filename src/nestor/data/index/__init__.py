"""From rows to leaves to parents: the nested index that every backend reads."""

from nestor.data.index.build import RESERVED_LEVELS, build_index
from nestor.data.index.tree import (
    MISSING_LABEL,
    IndexSummary,
    LevelIndex,
    LevelSummary,
    NestedIndex,
    ReusedLabels,
    TreeIndex,
)

__all__ = [
    "MISSING_LABEL",
    "RESERVED_LEVELS",
    "IndexSummary",
    "LevelIndex",
    "LevelSummary",
    "NestedIndex",
    "ReusedLabels",
    "TreeIndex",
    "build_index",
]
