"""What a gaussian likelihood depends on: a few sums of each leaf's rows, whatever their number."""

from nestor.statistics.leaf import LeafStatistics, leaf_statistics
from nestor.statistics.moments import Moments

__all__ = ["LeafStatistics", "Moments", "leaf_statistics"]
