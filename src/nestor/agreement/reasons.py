"""Why a pair has its verdict: the sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nestor.agreement.margin import COMPARED
from nestor.stats.diagnostics.summaries import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nestor.agreement.difference import DifferenceResult
    from nestor.agreement.equivalence import EquivalenceResult
    from nestor.agreement.joint import JointResult
    from nestor.agreement.run import Run
    from nestor.agreement.shape import ShapeResult


def notes(a: Run, b: Run) -> Iterator[str]:
    """Say what did not decide the verdict but should be known."""
    for run in (a, b):
        if run.density_ok is None:
            yield f"{run.name}: log densities were not compared with the reference"
        if run.summaries is not None and run.sampled_ok is None:
            yield f"{run.name}: does not report the log density that it sampled, so it is not checked"
        if run.gates is not None:
            yield from (f"{run.name}: {note}" for note in run.gates.notes)


def agreement(equivalence: EquivalenceResult) -> str:
    """Say what was shown."""
    needed = equivalence.smallest_margin
    return (
        f"all means are within {equivalence.margin:g} posterior sd and all sds within "
        f"{equivalence.sd_margin:.0%}"
        + ("" if needed is None else f" (a margin of {needed:.3f} would do)")
    )


def shortfall(a: Run, b: Run, equivalence: EquivalenceResult) -> str:
    """Say what is not shown, and how many draws are missing."""
    n_failed = len(equivalence.not_equivalent)
    start = f"{n_failed} means and sds are not shown to be within the margin"
    if n_failed == 1:
        start = "one mean or sd is not shown to be within the margin"
    text = f"{start}; worst: {equivalence.worst}"
    missing = missing_draws(a, b, equivalence.draw_factor)
    if missing is None:
        return f"{text}; the number of draws missing cannot be said from these estimates"
    return (
        f"{text}; about {equivalence.draw_factor:.1f} times the draws are needed: "
        f"{missing[0]} more per chain of {a.name}, {missing[1]} more of {b.name}"
    )


def missing_draws(a: Run, b: Run, factor: float | None) -> tuple[int, int] | None:
    """Draws per chain still missing in a and in b; None if that cannot be said."""
    if factor is None or a.summaries is None or b.summaries is None:
        return None
    return (
        math.ceil((factor - 1) * a.summaries.n_draw),
        math.ceil((factor - 1) * b.summaries.n_draw),
    )


def far_quantiles(difference: DifferenceResult | None, margin: float) -> Iterator[str]:
    """Quantiles that differ significantly and by more than the margin."""
    if difference is None:
        return
    for one in difference.rejected:
        if one.quantity not in COMPARED and abs(one.shift) > margin:
            yield f"{one.quantity} of {one.label} differs by {one.shift:+.3f} posterior sd"


def shape_rejections(shape: ShapeResult | None) -> Iterator[str]:
    """Say that rank ECDFs differ."""
    if shape is not None and shape.rejected:
        first, more = shape.rejected[0], len(shape.rejected) - 1
        others = f" (and of {more} more)" if more else ""
        yield f"the rank ECDFs of {first.label}{others} leave their simultaneous band"


def joint_rejection(joint: JointResult | None) -> Iterator[str]:
    """Say that a classifier tells the runs apart."""
    if joint is not None and joint.rejected:
        yield (
            f"a classifier tells the two runs' draws apart (accuracy {joint.accuracy:.0%}, "
            f"p = {joint.p_value:.2g})"
        )


def negligible(
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
