"""From two contenders' rows to the verdict on the pair: steps 2 to 5 of the procedure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.agreement.measure import posterior_of
from nestor.agreement.run import Run, comparable
from nestor.agreement.shape import shape_test
from nestor.agreement.verdict import PairResult, judge
from nestor.posterior.quantities import ComparedQuantities

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from nestor.agreement.comparison import EngineRow
    from nestor.agreement.criteria import Criteria
    from nestor.agreement.density import DensityCheck
    from nestor.agreement.joint import JointResult
    from nestor.agreement.shape import ShapeResult
    from nestor.data.problem import Problem


class Pairing:
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

    def judge(
        self, a: EngineRow, b: EngineRow, densities: Mapping[str, DensityCheck], look: int = 1
    ) -> PairResult:
        """Give the verdict on two rows.

        Parameters
        ----------
        densities : mapping of str to DensityCheck
            Step 0 of each contender, by name.
        look : int
            How often the rows have been looked at, this time included.
        """
        one, other = self.run(a, densities), self.run(b, densities)
        disagree, agree = self._criteria.levels(look)
        shape, joint = self._distributions(one, other, a, b, disagree)
        return judge(
            one,
            other,
            margin=self._criteria.margin,
            sd_margin=self._criteria.margin,
            disagree_level=disagree,
            agree_level=agree,
            groups=self._quantities.groups,
            shape=shape,
            joint=joint,
            looks=look,
        )

    def run(self, row: EngineRow, densities: Mapping[str, DensityCheck]) -> Run:
        """Return a row as one side of a comparison."""
        check, sampled = densities.get(row.name), row.sampled_density
        recovery = row.recovery
        return Run(
            name=row.name,
            labels=self._quantities.labels,
            summaries=row.summaries,
            gates=row.gates,
            density_ok=None if check is None else check.same,
            sampled_ok=None if sampled is None else sampled.same,
            recovered_ok=None if recovery is None else recovery.exact,
            missing=f"{row.status.replace('_', ' ')}: {row.message}",
        )

    def _distributions(
        self, one: Run, other: Run, a: EngineRow, b: EngineRow, level: float
    ) -> tuple[ShapeResult | None, JointResult | None]:
        """Steps 4 and 5, where both runs have draws that can be compared at all."""
        if not comparable(one, other) or one.summaries is None or other.summaries is None:
            return None, None
        draws = self.draws(a), self.draws(b)
        labels = self._quantities.labels
        shape = shape_test(*draws, one.summaries, other.summaries, labels, level=level)
        if not self._criteria.joint:
            return shape, None
        from nestor.agreement.joint import joint_test

        return shape, joint_test(*draws, labels, self._quantities.is_node, level=level)

    def draws(self, row: EngineRow) -> NDArray[np.float64]:
        """Draws of every compared quantity of a row that has draws, (chain, draw, quantity)."""
        assert row.tree is not None  # noqa: S101 - it has summaries
        assert row.log_likelihood is not None  # noqa: S101 - likewise
        return self._quantities.flatten(posterior_of(self._problem, row.tree), row.log_likelihood)
