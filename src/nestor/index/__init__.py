"""From rows to leaves to parents: the nested index that every backend reads."""

from nestor.index.build import RESERVED_LEVELS, build_index
from nestor.index.labels import MISSING_LABEL
from nestor.index.summary import IndexSummary, LevelSummary, ReusedLabels
from nestor.index.tree import Codes, LevelIndex, NestedIndex, TreeIndex

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
