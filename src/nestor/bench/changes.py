"""What differs between two tables of one scenario, as `nestor.bench.regression` finds it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from nestor.bench.bootstrap import Estimate, Ratio
    from nestor.bench.grouping import GroupKey

Word = Literal["worse", "better", ""]


@dataclass(frozen=True)
class Change:
    """One figure of one group, before and after.

    Parameters
    ----------
    key : GroupKey
        The group.
    metric : str
        The column.
    old, new : Estimate
        Its medians.
    ratio : Ratio
        New over old; for a rate old over new: above one is worse.
    word : {"worse", "better", ""}
        What can be told at the threshold; empty if the medians are closer than the metric's `floor`.
    has_interval : bool
        Whether both sides have the runs that an interval takes; else the ratio alone decided.
    """

    key: GroupKey
    metric: str
    old: Estimate
    new: Estimate
    ratio: Ratio
    word: Word
    has_interval: bool


@dataclass(frozen=True)
class Ending:
    """A group that ends otherwise than before.

    Parameters
    ----------
    key : GroupKey
        The group.
    was, now : str
        ok, DISAGREE, censored (its median run does not reach the target), failing (no run is ok) or
        skipped.
    reasons : tuple of str
        Why, in the words of the new runs: each different reason once.
    """

    key: GroupKey
    was: str
    now: str
    reasons: tuple[str, ...]

    @property
    def broken(self) -> bool:
        """Whether it was ok and gives no right answer in time any more, be it that it is skipped."""
        return self.was == "ok" and self.now != "ok"


@dataclass(frozen=True)
class Regressions:
    """What differs between two tables.

    Parameters
    ----------
    threshold : float
        Ratio beyond which a figure is worse.
    changes : tuple of Change
        Every figure that both tables have.
    endings : tuple of Ending
        Groups that end otherwise than before.
    only_old, only_new : tuple of GroupKey
        Groups of one table alone; they are not judged.
    warnings : tuple of str
        Why the tables may not be comparable.
    """

    threshold: float
    changes: tuple[Change, ...]
    endings: tuple[Ending, ...]
    only_old: tuple[GroupKey, ...]
    only_new: tuple[GroupKey, ...]
    warnings: tuple[str, ...]

    @property
    def worse(self) -> tuple[Change, ...]:
        """Figures that have become worse."""
        return tuple(change for change in self.changes if change.word == "worse")

    @property
    def broken(self) -> tuple[Ending, ...]:
        """Groups that were ok and are no more."""
        return tuple(ending for ending in self.endings if ending.broken)

    @property
    def any(self) -> bool:
        """Whether there is a regression."""
        return bool(self.worse or self.broken)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain values, for JSON."""
        return {**asdict(self), "any": self.any}
