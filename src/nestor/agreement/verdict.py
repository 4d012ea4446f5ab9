"""The verdict on a pair of contenders: AGREE, DISAGREE or INCONCLUSIVE."""

import enum
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nestor.agreement.difference import DifferenceResult, difference_test
from nestor.agreement.equivalence import (
    BeyondResult,
    EquivalenceResult,
    beyond_margin_test,
    equivalence_test,
)
from nestor.agreement.margin import COMPARED
from nestor.agreement.run import Run, check_labels, same_draws, unfit
from nestor.diagnostics.plain import as_plain
from nestor.diagnostics.summaries import QUANTITIES


class Verdict(enum.StrEnum):
    """What can be said about two contenders."""

    AGREE = "AGREE"
    DISAGREE = "DISAGREE"
    INCONCLUSIVE = "INCONCLUSIVE"


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
        Smallest shift of a mean that the difference test finds with 90% power, in posterior sd.
    smallest_margin
        Smallest margin, for means and sds alike, at which all would be equivalent.
    draw_factor
        By how much the draws would have to grow to show equivalence; None if the differences as
        estimated exceed the margin.
    missing_draws
        Draws per chain still missing in a and in b by that factor; None likewise.
    negligible
        Differences that are real but inside the margin: "detectable, negligible".
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

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, without arrays; None where there is no number."""
        plain: dict[str, Any] = as_plain(self)
        return plain


@dataclass(frozen=True, eq=False)
class _Tests:
    difference: DifferenceResult
    equivalence: EquivalenceResult
    beyond: BeyondResult


def judge(
    a: Run,
    b: Run,
    margin: float = 0.2,
    sd_margin: float = 0.2,
    disagree_level: float = 0.01,
    agree_level: float = 0.05,
    rejections: Sequence[str] = (),
) -> PairResult:
    """Give the verdict on two contenders. The first rule that applies decides.

    1. Densities differ from the reference: DISAGREE.
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
    rejections
        Rejections by further checks (shape, joint distribution), one sentence each: they turn
        AGREE into INCONCLUSIVE. So does a quantile that differs significantly and by more than
        the margin, which equal means and sds cannot rule out.

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
    reached = (*_far_quantiles(tests, margin), *rejections)
    verdict, reasons = _decide(a, b, tests, reached)
    if tests is None:
        return PairResult(a.name, b.name, verdict, reasons, tuple(_notes(a, b)))
    equivalence = tests.equivalence
    return PairResult(
        a=a.name,
        b=b.name,
        verdict=verdict,
        reasons=reasons,
        notes=tuple(_notes(a, b)),
        difference=tests.difference,
        equivalence=equivalence,
        beyond=tests.beyond,
        worst=None if equivalence.worst is None else equivalence.worst.label,
        detectable_shift=tests.difference.detectable_shift,
        smallest_margin=equivalence.smallest_margin,
        draw_factor=equivalence.draw_factor,
        missing_draws=_missing_draws(a, b, equivalence.draw_factor),
        negligible=tuple(_negligible(tests, margin, a.labels)),
    )


def _decide(
    a: Run, b: Run, tests: _Tests | None, rejections: tuple[str, ...]
) -> tuple[Verdict, tuple[str, ...]]:
    wrong = [run.name for run in (a, b) if run.density_ok is False]
    if wrong:
        reasons = tuple(f"{name}: log densities differ from the reference" for name in wrong)
        return Verdict.DISAGREE, reasons
    obstacles = (*unfit(a), *unfit(b), *same_draws(a, b))
    if obstacles or tests is None:
        return Verdict.INCONCLUSIVE, obstacles
    if tests.beyond.beyond:
        reasons = tuple(f"{one}, more than the margin" for one in tests.beyond.beyond)
        return Verdict.DISAGREE, reasons
    if not tests.equivalence.equivalent:
        return Verdict.INCONCLUSIVE, (_shortfall(a, b, tests.equivalence), *rejections)
    if rejections:
        return Verdict.INCONCLUSIVE, rejections
    return Verdict.AGREE, (_agreement(tests.equivalence),)


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


def _notes(a: Run, b: Run) -> Iterator[str]:
    for run in (a, b):
        if run.density_ok is None:
            yield f"{run.name}: log densities were not compared with the reference"
        if run.gates is not None:
            yield from (f"{run.name}: {note}" for note in run.gates.notes)


def _agreement(equivalence: EquivalenceResult) -> str:
    needed = equivalence.smallest_margin
    return (
        f"all means are within {equivalence.margin:g} posterior sd and all sds within "
        f"{equivalence.sd_margin:.0%}"
        + ("" if needed is None else f" (a margin of {needed:.3f} would do)")
    )


def _shortfall(a: Run, b: Run, equivalence: EquivalenceResult) -> str:
    n_failed = len(equivalence.not_equivalent)
    start = f"{n_failed} means and sds are not shown to be within the margin"
    if n_failed == 1:
        start = "one mean or sd is not shown to be within the margin"
    text = f"{start}; worst: {equivalence.worst}"
    missing = _missing_draws(a, b, equivalence.draw_factor)
    if missing is None:
        return f"{text}; the number of draws missing cannot be said from these estimates"
    return (
        f"{text}; about {equivalence.draw_factor:.1f} times the draws are needed: "
        f"{missing[0]} more per chain of {a.name}, {missing[1]} more of {b.name}"
    )


def _missing_draws(a: Run, b: Run, factor: float | None) -> tuple[int, int] | None:
    if factor is None or a.summaries is None or b.summaries is None:
        return None
    return (
        math.ceil((factor - 1) * a.summaries.n_draw),
        math.ceil((factor - 1) * b.summaries.n_draw),
    )


def _far_quantiles(tests: _Tests | None, margin: float) -> Iterator[str]:
    if tests is None:
        return
    for one in tests.difference.rejected:
        if one.quantity not in COMPARED and abs(one.shift) > margin:
            yield f"{one.quantity} of {one.label} differs by {one.shift:+.3f} posterior sd"


def _negligible(tests: _Tests, margin: float, labels: Sequence[str]) -> Iterator[str]:
    """Name the differences that are significant, and shown or estimated inside the margin."""
    shown = tests.equivalence.shown
    column_of = {label: column for column, label in enumerate(labels)}
    for one in tests.difference.rejected:
        column = column_of[one.label]
        if one.quantity in COMPARED:
            inside = bool(shown[QUANTITIES.index(one.quantity), column])
        else:
            inside = bool(shown[:, column].all()) and abs(one.shift) <= margin
        if inside:
            yield f"{one.quantity} of {one.label} ({one.shift:+.3f} posterior sd)"
