"""Sufficient statistics of a gaussian likelihood: a few sums over the rows of each leaf."""

from nestor.data.statistics.identical_rows import MergedRows, merged_rows
from nestor.data.statistics.leaf import LeafStatistics, leaf_statistics
from nestor.data.statistics.moments import Moments

__all__ = ["LeafStatistics", "MergedRows", "Moments", "leaf_statistics", "merged_rows"]
