"""What a gaussian likelihood depends on: a few sums of each leaf's rows, whatever their number."""

from nestor.statistics.leaf import LeafStatistics, leaf_statistics
from nestor.statistics.merged import MergedRows, merged_rows
from nestor.statistics.moments import Moments

__all__ = ["LeafStatistics", "MergedRows", "Moments", "leaf_statistics", "merged_rows"]
