"""When two engines agree: tests against Monte Carlo error, and a verdict for each pair."""

from nestor.agreement.difference import (
    Difference,
    DifferenceResult,
    detectable_shift,
    difference_test,
)
from nestor.agreement.equivalence import (
    BeyondResult,
    Deviation,
    EquivalenceResult,
    beyond_margin_test,
    equivalence_test,
    ess_for_equivalence,
)
from nestor.agreement.holm import holm
from nestor.agreement.verdict import MIN_DRAWS, PairResult, PairSide, Verdict, judge
from nestor.stats.diagnostics.summaries import Summaries, summaries

__all__ = [
    "MIN_DRAWS",
    "BeyondResult",
    "Deviation",
    "Difference",
    "DifferenceResult",
    "EquivalenceResult",
    "PairResult",
    "PairSide",
    "Summaries",
    "Verdict",
    "beyond_margin_test",
    "detectable_shift",
    "difference_test",
    "equivalence_test",
    "ess_for_equivalence",
    "holm",
    "judge",
    "summaries",
]
