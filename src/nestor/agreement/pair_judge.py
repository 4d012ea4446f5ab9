"""The verdict on two contenders of one problem: steps 2 to 4 of the procedure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.agreement.engine_result import EngineResult
from nestor.agreement.shape import shape_test
from nestor.agreement.verdict import PairResult, PairSide, comparable, judge
from nestor.posterior.quantities import ComparedQuantities
from nestor.runner.datatree import posterior_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nestor.agreement.criteria import Criteria
    from nestor.agreement.engine_result import EngineRow
    from nestor.agreement.shape import ShapeResult
    from nestor.data.problem import Problem


class PairJudge:
    """Judges pairs of contenders on one problem.

    Parameters
    ----------
    problem : Problem
        What was sampled.
    criteria : Criteria
        What is asked of a pair.
    """

    def __init__(self, problem: Problem, criteria: Criteria) -> None:
        self._problem, self._criteria = problem, criteria
        self._quantities = ComparedQuantities(problem)

    def judge(self, a: EngineRow, b: EngineRow, look: int = 1) -> PairResult:
        """Give the verdict on two contenders.

        Parameters
        ----------
        a, b : EngineResult or EngineFailure
            What became of each.
        look : int
            How often they have been looked at, this time included.
        """
        disagree, agree = self._criteria.levels(look)
        return judge(
            self.side(a),
            self.side(b),
            margin=self._criteria.margin,
            sd_margin=self._criteria.margin,
            disagree_level=disagree,
            agree_level=agree,
            groups=self._quantities.groups,
            shape=self._shape(a, b, disagree),
            looks=look,
        )

    def side(self, row: EngineRow) -> PairSide:
        """Return a contender as one side of a pair."""
        labels = self._quantities.labels
        density_ok = None if row.density is None else row.density.same
        if not isinstance(row, EngineResult):
            missing = f"{row.status.replace('_', ' ')}: {row.message}"
            return PairSide(row.name, labels, None, None, density_ok, missing=missing)
        sampled, recovery = row.sampled_density, row.recovery
        return PairSide(
            name=row.name,
            labels=labels,
            summaries=row.summaries,
            gates=row.gates,
            density_ok=density_ok,
            sampled_ok=None if sampled is None else sampled.same,
            recovered_ok=None if recovery is None else recovery.exact,
        )

    def _shape(self, a: EngineRow, b: EngineRow, level: float) -> ShapeResult | None:
        """Step 4, where both have draws that can be compared at all."""
        if not (isinstance(a, EngineResult) and isinstance(b, EngineResult)):
            return None
        if not comparable(self.side(a), self.side(b)):
            return None
        draws, labels = (self.draws(a), self.draws(b)), self._quantities.labels
        return shape_test(*draws, a.summaries, b.summaries, labels, level=level)

    def draws(self, row: EngineResult) -> NDArray[np.float64]:
        """Draws of every compared quantity, (chain, draw, quantity)."""
        return self._quantities.flatten(posterior_of(self._problem, row.tree), row.log_likelihood)
