"""The statistics of a table, each by itself."""

from nestor.bench.groups import relative as of_groups
from nestor.bench.statistics import BenchStatistics


def aggregate(table):
    """Summaries of a table's groups."""
    return BenchStatistics(table).summaries


def growth(table):
    """Growth of every contender of a table."""
    return BenchStatistics(table).growth


def crossovers(table):
    """Crossovers of every pair of contenders of a table."""
    return BenchStatistics(table).crossovers


def relative(table, baseline=None):
    """Times of a table's groups over those of a baseline."""
    return of_groups(BenchStatistics(table).groups, baseline)
