"""What a user wants to see of an index before fitting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ReusedLabels:
    """Labels of one level that occur under more than one parent, so name several nodes."""

    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class LevelSummary:
    """Size of one level; ``children_per_parent`` is the mean over the nodes of the level above."""

    name: str
    nodes: int
    children_per_parent: float


@dataclass(frozen=True)
class IndexSummary:
    """What a user wants to see of an index before fitting; counts of rows, levels top down."""

    rows: int
    levels: tuple[LevelSummary, ...]
    min_rows_per_leaf: int
    max_rows_per_leaf: int
    single_row_leaves: int
    reused_labels: Mapping[str, ReusedLabels]
