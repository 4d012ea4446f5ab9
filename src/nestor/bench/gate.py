"""The density gate: before a contender is timed, its log density must equal the reference's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.agreement.density import DensityCheck, compare_densities
from nestor.agreement.oracle import Oracle
from nestor.runner import engine

if TYPE_CHECKING:
    from nestor.bench.grid import Cell
    from nestor.bench.store import Results
    from nestor.data.problem import Problem
    from nestor.runner.job import Outcome
    from nestor.runner.limits import Limits
    from nestor.runner.process import Listener

#: A third of them from the prior, near the posterior, and dispersed; the density that is sampled is
#: compared again at the draws of every run.
N_POINTS = 9


class Gate:
    """Checks contenders on one problem, each once.

    Parameters
    ----------
    problem : Problem
        Model and data.

    Attributes
    ----------
    oracle : Oracle
        The reference's densities.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.oracle = Oracle(problem, N_POINTS)
        self._found: dict[str, tuple[Outcome, DensityCheck | None]] = {}

    def check(
        self, cell: Cell, results: Results, limits: Limits, listener: Listener
    ) -> tuple[Outcome, DensityCheck | None]:
        """Evaluate a cell's contender in a process of its own, or say again what was found.

        Returns
        -------
        outcome : Outcome
            How the process ended.
        check : DensityCheck or None
            None if it did not end well.
        """
        assert cell.contender is not None  # noqa: S101 - cells that cannot run are skipped before
        if cell.name not in self._found:
            outcome, values = engine.evaluate(
                self.problem,
                cell.contender,
                self.oracle.points,
                results.log(cell.id),
                timeout=cell.timeout_s,
                listener=listener,
                limits=limits,
            )
            check = None
            if values is not None:
                expected = self.oracle.log_densities(cell.contender.formulation)
                rounding = self.oracle.rounding(cell.contender.formulation)
                check = compare_densities(
                    cell.name, cell.contender.dtype, expected, values, rounding
                )
            self._found[cell.name] = (outcome, check)
        return self._found[cell.name]
