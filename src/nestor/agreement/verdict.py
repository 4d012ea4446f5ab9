"""The verdict on a pair of contenders: AGREE, DISAGREE or INCONCLUSIVE."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.difference import DifferenceResult, difference_test
from nestor.agreement.equivalence import (
    BeyondResult,
    EquivalenceResult,
    beyond_margin_test,
    equivalence_test,
)
from nestor.agreement.group_summary import GroupResult, summarize_groups
from nestor.agreement.tost import COMPARED
from nestor.errors import DataError, display
from nestor.errors.text import short_repr
from nestor.stats.diagnostics.summaries import QUANTITIES
from nestor.stats.plain import as_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nestor.agreement.shape import ShapeResult
    from nestor.stats.diagnostics.gates import Gates
    from nestor.stats.diagnostics.summaries import Summaries


MIN_DRAWS = 100  # per chain; also what a swap of the chain and draw axes runs into


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
class PairSide:
    """One contender's side of a comparison.

    Parameters
    ----------
    name
        The contender, as messages name it.
    labels
        Name of each scalar, shape (scalar,).
    summaries
        Its summaries, or None if the run is missing (refused, crashed, stopped).
    gates
        Its gates, or None if they were not checked, which rules out agreement.
    density_ok
        Whether its densities equal the reference's; None if they were not compared.
    sampled_ok
        Whether the density that it sampled, as it reports it with its draws, equals the reference's;
        None if it does not report it.
    missing
        Why there are no summaries.
    recovered_ok
        Whether its coefficients, if they were marginalized, are exact draws given its scales; None if
        they were sampled or that was not checked.
    """

    name: str
    labels: Sequence[str]
    summaries: Summaries | None
    gates: Gates | None
    density_ok: bool | None = None
    sampled_ok: bool | None = None
    missing: str = ""
    recovered_ok: bool | None = None

    __repr__ = short_repr


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
    shape
        Result of step 4; None where it was not done.
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
    groups: tuple[GroupResult, ...] = ()
    looks: int = 1

    def __repr__(self) -> str:
        more = f"; and {len(self.reasons) - 1} more" if len(self.reasons) > 1 else ""
        why = f"; {self.reasons[0]}{more}" if self.reasons else ""
        return f"PairResult({self.word}: {self.a} and {self.b}{why})"

    def _repr_html_(self) -> str:
        return display.html(self)

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
    a: PairSide,
    b: PairSide,
    margin: float = 0.2,
    sd_margin: float = 0.2,
    disagree_level: float = 0.01,
    agree_level: float = 0.05,
    groups: Sequence[str] | None = None,
    shape: ShapeResult | None = None,
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
    shape
        Result of step 4, where it was done: a rejection turns AGREE into INCONCLUSIVE.
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
    _check_labels(a, b)
    tests = _run_tests(a, b, margin, sd_margin, disagree_level, agree_level)
    if tests is not None and any(any(_unfit(run)) for run in (a, b)):
        tests = tests.without_power()
    difference = None if tests is None else tests.difference
    rejections = (
        *_far_quantiles(difference, margin),
        *_shape_rejections(shape),
    )
    verdict, reasons = _decide(a, b, tests, rejections)
    if tests is None:
        return PairResult(a.name, b.name, verdict, reasons, tuple(_notes(a, b)), looks=looks)
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
        negligible=tuple(_negligible(tests.difference, equivalence, margin, a.labels)),
        shape=shape,
        groups=summarize_groups(
            groups or ["all"] * len(a.labels), a.labels, tests.difference, equivalence, shape
        ),
        looks=looks,
    )


def _decide(
    a: PairSide, b: PairSide, tests: _Tests | None, rejections: tuple[str, ...]
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
    obstacles = (*_unfit(a), *_unfit(b), *_same_draws(a, b))
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
    a: PairSide,
    b: PairSide,
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


def _check_labels(a: PairSide, b: PairSide) -> None:
    """Refuse two runs whose scalars differ in name or order.

    Raises
    ------
    DataError
        If they differ.
    """
    if a.summaries is None or b.summaries is None or list(a.labels) == list(b.labels):
        return
    in_a, in_b = set(a.labels), set(b.labels)
    only_a = [label for label in a.labels if label not in in_b]
    only_b = [label for label in b.labels if label not in in_a]
    if only_a or only_b:
        found = "; ".join(
            f"only {run.name} has {', '.join(only[:5])}" + (", ..." if len(only) > 5 else "")
            for run, only in ((a, only_a), (b, only_b))
            if only
        )
    else:
        pairs = zip_longest(a.labels, b.labels, fillvalue="nothing")
        first, second = next((one, other) for one, other in pairs if one != other)
        found = f"where {a.name} has {first}, {b.name} has {second}: their order differs"
    raise DataError(f"{a.name} and {b.name} have different scalars: {found}")


def _unfit(run: PairSide) -> Iterator[str]:
    """Say why a run cannot be compared: its draws are unusable, or it did not pass its gates."""
    if run.summaries is None:
        yield from _unusable(run)
        return
    if run.gates is not None and not run.gates.passed:
        # The gates say what is wrong with single scalars; what is wrong with the whole goes first.
        yield from _too_small(run, run.summaries)
        yield from (f"{run.name}: {failure}" for failure in run.gates.failures)
        return
    if run.gates is None:
        yield f"{run.name}: its gates were not checked"
    yield from _unusable(run)


def _too_small(run: PairSide, summary: Summaries) -> Iterator[str]:
    if summary.n_scalar == 0:
        yield f"{run.name}: there are no scalars to compare"
    if summary.n_draw < MIN_DRAWS:
        swapped = (
            f" (there are {summary.n_chain} chains: are the axes swapped?)"
            if summary.n_chain > summary.n_draw
            else ""
        )
        yield (
            f"{run.name}: {summary.n_draw} draws per chain; at least {MIN_DRAWS} are needed{swapped}"
        )


def _unusable(run: PairSide) -> Iterator[str]:
    """Say why a run's draws cannot be compared, whatever its gates say."""
    summary = run.summaries
    if summary is None:
        yield f"{run.name}: no draws" + (f" ({run.missing})" if run.missing else "")
        return
    yield from _too_small(run, summary)
    if summary.n_chain < 2:
        yield f"{run.name}: a single chain, so that its convergence cannot be seen"
    for mask, what in ((~summary.finite, "not finite"), (summary.constant, "all the same")):
        if summary.n_draw >= 4 and mask.any():
            first = run.labels[int(np.flatnonzero(mask)[0])]
            more = f" and {mask.sum() - 1} more" if mask.sum() > 1 else ""
            yield f"{run.name}: the draws of {first}{more} are {what}"


def comparable(a: PairSide, b: PairSide) -> bool:
    """Whether the draws of two runs, whatever their gates say, are such that tests mean something."""
    return not any(_same_draws(a, b)) and not any(any(_unusable(run)) for run in (a, b))


def _same_draws(a: PairSide, b: PairSide) -> Iterator[str]:
    """Say when two runs are not independent: to the last bit the same."""
    if a.summaries is None or b.summaries is None or a.summaries.n_scalar == 0:
        return
    if np.array_equal(a.summaries.estimate, b.summaries.estimate):
        yield (
            f"{a.name} and {b.name} have exactly the same estimates: they are copies of one run, "
            "not two independent ones; use different seeds"
        )


def _notes(a: PairSide, b: PairSide) -> Iterator[str]:
    """Say what did not decide the verdict but should be known."""
    for run in (a, b):
        if run.density_ok is None:
            yield f"{run.name}: log densities were not compared with the reference"
        if run.summaries is not None and run.sampled_ok is None:
            yield f"{run.name}: does not report the log density that it sampled, so it is not checked"
        if run.gates is not None:
            yield from (f"{run.name}: {note}" for note in run.gates.notes)


def _agreement(equivalence: EquivalenceResult) -> str:
    """Say what was shown."""
    needed = equivalence.smallest_margin
    return (
        f"all means are within {equivalence.margin:g} posterior sd and all sds within "
        f"{equivalence.sd_margin:.0%}"
        + ("" if needed is None else f" (a margin of {needed:.3f} would do)")
    )


def _shortfall(a: PairSide, b: PairSide, equivalence: EquivalenceResult) -> str:
    """Say what is not shown, and how many draws are missing."""
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


def _missing_draws(a: PairSide, b: PairSide, factor: float | None) -> tuple[int, int] | None:
    """Draws per chain still missing in a and in b; None if that cannot be said."""
    if factor is None or a.summaries is None or b.summaries is None:
        return None
    return (
        math.ceil((factor - 1) * a.summaries.n_draw),
        math.ceil((factor - 1) * b.summaries.n_draw),
    )


def _far_quantiles(difference: DifferenceResult | None, margin: float) -> Iterator[str]:
    """Quantiles that differ significantly and by more than the margin."""
    if difference is None:
        return
    for one in difference.rejected:
        if one.quantity not in COMPARED and abs(one.shift) > margin:
            yield f"{one.quantity} of {one.label} differs by {one.shift:+.3f} posterior sd"


def _shape_rejections(shape: ShapeResult | None) -> Iterator[str]:
    """Say that rank ECDFs differ."""
    if shape is not None and shape.rejected:
        first, more = shape.rejected[0], len(shape.rejected) - 1
        others = f" (and of {more} more)" if more else ""
        yield f"the rank ECDFs of {first.label}{others} leave their simultaneous band"


def _negligible(
    difference: DifferenceResult,
    equivalence: EquivalenceResult,
    margin: float,
    labels: Sequence[str],
) -> Iterator[str]:
    """Name the differences that are significant, and shown or estimated inside the margin."""
    shown = equivalence.shown
    column_of = {label: column for column, label in enumerate(labels)}
    for one in difference.rejected:
        column = column_of[one.label]
        if one.quantity in COMPARED:
            inside = bool(shown[QUANTITIES.index(one.quantity), column])
        else:
            inside = bool(shown[:, column].all()) and abs(one.shift) <= margin
        if inside:
            yield f"{one.quantity} of {one.label} ({one.shift:+.3f} posterior sd)"
