"""What a gaussian likelihood depends on: a few sums of each leaf's rows, whatever their number."""

from nestor.data.statistics.identical_rows import MergedRows, merged_rows
from nestor.data.statistics.leaf import LeafStatistics, leaf_statistics
from nestor.data.statistics.moments import Moments

__all__ = ["LeafStatistics", "MergedRows", "Moments", "leaf_statistics", "merged_rows"]
