"""What differs between two tables of one scenario, as `nestor.bench.regression` finds it."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from nestor.bench.bootstrap import LEAST_RUNS

if TYPE_CHECKING:
    from nestor.bench.bootstrap import Estimate, Ratio
    from nestor.bench.grouping import GroupKey

Word = Literal["worse", "better", ""]


class Outcome(enum.StrEnum):
    """What can be said of two tables."""

    REGRESSION = "REGRESSION"
    NO_REGRESSION = "NO REGRESSION"
    INCONCLUSIVE = "INCONCLUSIVE"


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
        What can be told at the threshold; empty if nothing can, or the medians are closer than the
        metric's `floor`.
    has_interval : bool
        Whether both sides have the runs that an interval takes; without one the word is empty.
    judged : bool
        False where there is no interval although the group is ok before and after: more runs would tell.
    """

    key: GroupKey
    metric: str
    old: Estimate
    new: Estimate
    ratio: Ratio
    word: Word
    has_interval: bool
    judged: bool

    @property
    def missing(self) -> tuple[int, int]:
        """Runs that an interval takes and the old and the new side lack."""
        return max(LEAST_RUNS - self.old.n, 0), max(LEAST_RUNS - self.new.n, 0)


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
    def unjudged(self) -> tuple[Change, ...]:
        """Figures of which too few runs can tell anything."""
        return tuple(change for change in self.changes if not change.judged)

    @property
    def missing(self) -> tuple[int, int]:
        """Runs of each group that would give every figure an interval and the old and new table lack."""
        lacks = [change.missing for change in self.unjudged]
        return max((old for old, _ in lacks), default=0), max((new for _, new in lacks), default=0)

    @property
    def unsure(self) -> tuple[Change, ...]:
        """Figures that are not found worse, and of which the interval reaches beyond the threshold."""
        broken = {end.key for end in self.broken}
        return tuple(
            change
            for change in self.changes
            if change.has_interval
            and change.word != "worse"
            and change.key not in broken
            and (change.ratio.high is None or change.ratio.high > self.threshold)
        )

    @property
    def any(self) -> bool:
        """Whether there is a regression."""
        return bool(self.worse or self.broken)

    @property
    def outcome(self) -> Outcome:
        """REGRESSION; else INCONCLUSIVE while a figure is not judged; else NO REGRESSION."""
        if self.any:
            return Outcome.REGRESSION
        return Outcome.INCONCLUSIVE if self.unjudged else Outcome.NO_REGRESSION

    @property
    def exit_code(self) -> int:
        """1 with a regression, 3 inconclusive, else 0."""
        return {Outcome.REGRESSION: 1, Outcome.INCONCLUSIVE: 3, Outcome.NO_REGRESSION: 0}[
            self.outcome
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain values, for JSON."""
        old, new = self.missing
        return {
            **asdict(self),
            "any": self.any,
            "verdict": self.outcome.value,
            "runs_needed": LEAST_RUNS,
            "runs_missing": {"old": old, "new": new},
        }
