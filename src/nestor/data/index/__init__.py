"""From rows to leaves to parents: the nested index that every backend reads."""

from nestor.data.index.build import RESERVED_LEVELS, build_index
from nestor.data.index.labels import MISSING_LABEL
from nestor.data.index.summary import IndexSummary, LevelSummary, ReusedLabels
from nestor.data.index.tree import Codes, LevelIndex, NestedIndex, TreeIndex

__all__ = [
    "MISSING_LABEL",
    "RESERVED_LEVELS",
    "Codes",
    "IndexSummary",
    "LevelIndex",
    "LevelSummary",
    "NestedIndex",
    "ReusedLabels",
    "TreeIndex",
    "build_index",
]
