"""The statistics of a benchmark's runs, computed once for the terminal, the pictures and the report."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from nestor.bench.crossover import crossovers
from nestor.bench.groups import groups, relative, summarize
from nestor.bench.growth import growth

if TYPE_CHECKING:
    import pandas as pd

    from nestor.bench.crossover import Crossover
    from nestor.bench.groups import Group, GroupSummary, Relative
    from nestor.bench.growth import Growth


@dataclass(frozen=True, eq=False)
class BenchStatistics:
    """Statistics of a table of runs; each is computed when it is first read.

    Parameters
    ----------
    table : DataFrame
        Results with the columns of `nestor.bench.table.COLUMNS`, of one scenario or several. What is asked
        of anything else raises `DataError`.
    """

    table: pd.DataFrame

    @cached_property
    def groups(self) -> list[Group]:
        """The cells, in groups that differ in their seed only; see `nestor.bench.groups.groups`."""
        return groups(self.table)

    @cached_property
    def summaries(self) -> list[GroupSummary]:
        """How each group's runs ended, whether they agree, and medians of their figures."""
        return [summarize(group) for group in self.groups]

    @cached_property
    def relatives(self) -> list[Relative]:
        """Each group's time to the target, relative to the quickest group of its track and size."""
        return relative(self.groups)

    @cached_property
    def growth(self) -> list[Growth]:
        """How costs grow with size; see `nestor.bench.growth`."""
        return growth(self.groups)

    @cached_property
    def crossovers(self) -> list[Crossover]:
        """From which size on a GPU pays; see `nestor.bench.crossover`."""
        return crossovers(self.groups)
