"""The verdict on a pair of contenders: AGREE, DISAGREE or INCONCLUSIVE."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nestor.agreement.difference import DifferenceResult, difference_test
from nestor.agreement.equivalence import (
    BeyondResult,
    EquivalenceResult,
    beyond_margin_test,
    equivalence_test,
)
from nestor.agreement.levels import GroupResult, summarize_groups
from nestor.agreement.reasons import (
    agreement,
    far_quantiles,
    joint_rejection,
    missing_draws,
    negligible,
    notes,
    shape_rejections,
    shortfall,
)
from nestor.agreement.run import Run, check_labels, same_draws, unfit
from nestor.stats.plain import as_plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.agreement.joint import JointResult
    from nestor.agreement.shape import ShapeResult


class Verdict(enum.StrEnum):
    """What can be said about two contenders."""

    AGREE = "AGREE"
    DISAGREE = "DISAGREE"
    INCONCLUSIVE = "INCONCLUSIVE"


def exit_code(verdict: Verdict, *, engine_failed: bool) -> int:
    """Return a command's exit code: 1 disagree, 4 an engine failed, 3 inconclusive, 0 agree."""
    if verdict is Verdict.DISAGREE:
        return 1
    if engine_failed:
        return 4
    return 0 if verdict is Verdict.AGREE else 3


@dataclass(frozen=True, eq=False)
class PairResult:
    """The verdict on a pair, and the numbers behind it.

    Parameters
    ----------
    a, b
        Names of the contenders.
    verdict
        The verdict.
    reasons
        Why: one sentence per reason, in order of the rules.
    notes
        What did not decide the verdict but should be known.
    difference, equivalence, beyond
        Results of the tests; None where the runs cannot be compared at all.
    worst
        Label of the scalar that needs the largest margin.
    detectable_shift
        Smallest shift of a mean that the difference test finds with 90% power, in posterior sd; None where
        a run is unfit or failed its gates: its Monte Carlo errors say nothing then.
    smallest_margin
        Smallest margin, for means and sds alike, at which all would be equivalent.
    draw_factor
        By how much the draws would have to grow to show equivalence; None if the differences as
        estimated exceed the margin.
    missing_draws
        Draws per chain still missing in a and in b by that factor; None likewise.
    negligible
        Differences that are real but inside the margin: "detectable, negligible".
    shape, joint
        Results of steps 4 and 5; None where they were not done.
    groups
        The tests summed up by group: population, scales, family, each level, log-likelihood.
    looks
        How often the pair was looked at, this time included; the levels of the tests were halved
        at each look.
    """

    a: str
    b: str
    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()
    difference: DifferenceResult | None = None
    equivalence: EquivalenceResult | None = None
    beyond: BeyondResult | None = None
    worst: str | None = None
    detectable_shift: float | None = None
    smallest_margin: float | None = None
    draw_factor: float | None = None
    missing_draws: tuple[int, int] | None = None
    negligible: tuple[str, ...] = ()
    shape: ShapeResult | None = None
    joint: JointResult | None = None
    groups: tuple[GroupResult, ...] = ()
    looks: int = 1

    def __repr__(self) -> str:
        more = f"; and {len(self.reasons) - 1} more" if len(self.reasons) > 1 else ""
        why = f"; {self.reasons[0]}{more}" if self.reasons else ""
        return f"PairResult({self.word}: {self.a} and {self.b}{why})"

    def _repr_html_(self) -> str:
        from nestor.views.terminal.html import pair_html

        return pair_html(self)

    @property
    def word(self) -> str:
        """The verdict in words: "detectable, negligible" where a real difference is inside the margin."""
        agrees = self.verdict is Verdict.AGREE
        return (
            "AGREE (detectable, negligible)" if agrees and self.negligible else self.verdict.value
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, without arrays; None where there is no number."""
        plain: dict[str, Any] = as_plain(self)
        return plain


@dataclass(frozen=True, eq=False)
class _Tests:
    difference: DifferenceResult
    equivalence: EquivalenceResult
    beyond: BeyondResult

    def without_power(self) -> _Tests:
        """The same without the shifts that would have been detected."""
        unknown = replace(self.difference, detectable_shift=None, detectable_shift_median=None)
        return replace(self, difference=unknown)


def judge(
    a: Run,
    b: Run,
    margin: float = 0.2,
    sd_margin: float = 0.2,
    disagree_level: float = 0.01,
    agree_level: float = 0.05,
    groups: Sequence[str] | None = None,
    shape: ShapeResult | None = None,
    joint: JointResult | None = None,
    looks: int = 1,
) -> PairResult:
    """Give the verdict on two contenders. The first rule that applies decides.

    1. Densities differ from the reference, or coefficients are not recovered exactly: DISAGREE.
    2. A run is missing, unfit for comparison or fails its gates: INCONCLUSIVE.
    3. A mean or sd is shown to differ by more than the margin: DISAGREE.
    4. Every mean and sd is shown equivalent within the margin, and nothing else is rejected:
       AGREE.
    5. Otherwise: INCONCLUSIVE.

    Parameters
    ----------
    a, b
        The two contenders' runs.
    margin
        For means, in posterior sd.
    sd_margin
        For sds, as a fraction.
    disagree_level
        Family-wise level of the tests of differences.
    agree_level
        Level of each equivalence test.
    groups
        Group of each scalar; by default all are one group.
    shape, joint
        Results of steps 4 and 5, where they were done: a rejection turns AGREE into INCONCLUSIVE.
        So does a quantile that differs significantly and by more than the margin, which equal
        means and sds cannot rule out.
    looks
        How often the pair has been looked at, this time included; recorded only: the caller
        gives the levels of this look (see `Criteria.levels`).

    Returns
    -------
    PairResult

    Raises
    ------
    DataError
        If the runs have different scalars, or a margin is not positive.
    """
    check_labels(a, b)
    tests = _run_tests(a, b, margin, sd_margin, disagree_level, agree_level)
    if tests is not None and any(any(unfit(run)) for run in (a, b)):
        tests = tests.without_power()
    difference = None if tests is None else tests.difference
    rejections = (
        *far_quantiles(difference, margin),
        *shape_rejections(shape),
        *joint_rejection(joint),
    )
    verdict, reasons = _decide(a, b, tests, rejections)
    if tests is None:
        return PairResult(a.name, b.name, verdict, reasons, tuple(notes(a, b)), looks=looks)
    equivalence = tests.equivalence
    return PairResult(
        a=a.name,
        b=b.name,
        verdict=verdict,
        reasons=reasons,
        notes=tuple(notes(a, b)),
        difference=tests.difference,
        equivalence=equivalence,
        beyond=tests.beyond,
        worst=None if equivalence.worst is None else equivalence.worst.label,
        detectable_shift=tests.difference.detectable_shift,
        smallest_margin=equivalence.smallest_margin,
        draw_factor=equivalence.draw_factor,
        missing_draws=missing_draws(a, b, equivalence.draw_factor),
        negligible=tuple(negligible(tests.difference, equivalence, margin, a.labels)),
        shape=shape,
        joint=joint,
        groups=summarize_groups(
            groups or ["all"] * len(a.labels), a.labels, tests.difference, equivalence, shape
        ),
        looks=looks,
    )


def _decide(
    a: Run, b: Run, tests: _Tests | None, rejections: tuple[str, ...]
) -> tuple[Verdict, tuple[str, ...]]:
    wrong = [run.name for run in (a, b) if run.density_ok is False]
    if wrong:
        reasons = tuple(f"{name}: log densities differ from the reference" for name in wrong)
        return Verdict.DISAGREE, reasons
    wrong = [run.name for run in (a, b) if run.sampled_ok is False]
    if wrong:
        text = "the log density that it sampled differs from the reference"
        return Verdict.DISAGREE, tuple(f"{name}: {text}" for name in wrong)
    wrong = [run.name for run in (a, b) if run.recovered_ok is False]
    if wrong:
        text = "its coefficients are no exact draws given the scales that it sampled"
        return Verdict.DISAGREE, tuple(f"{name}: {text}" for name in wrong)
    obstacles = (*unfit(a), *unfit(b), *same_draws(a, b))
    if obstacles or tests is None:
        return Verdict.INCONCLUSIVE, obstacles
    if tests.beyond.beyond:
        reasons = tuple(f"{one}, more than the margin" for one in tests.beyond.beyond)
        return Verdict.DISAGREE, reasons
    if not tests.equivalence.equivalent:
        return Verdict.INCONCLUSIVE, (shortfall(a, b, tests.equivalence), *rejections)
    if rejections:
        return Verdict.INCONCLUSIVE, rejections
    return Verdict.AGREE, (agreement(tests.equivalence),)


def _run_tests(
    a: Run,
    b: Run,
    margin: float,
    sd_margin: float,
    disagree_level: float,
    agree_level: float,
) -> _Tests | None:
    one, other = a.summaries, b.summaries
    if one is None or other is None or one.n_scalar == 0:
        return None
    margins = {"margin": margin, "sd_margin": sd_margin}
    return _Tests(
        difference=difference_test(one, other, a.labels, disagree_level),
        equivalence=equivalence_test(one, other, a.labels, **margins, level=agree_level),
        beyond=beyond_margin_test(one, other, a.labels, **margins, level=disagree_level),
    )
