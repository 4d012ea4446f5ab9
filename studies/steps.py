"""Every step of the agreement procedure on one pair of runs, each on its own: which of them object?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nestor.agreement.pipeline import diagnose
from nestor.agreement.recovery import check_recovery
from nestor.agreement.sampled_density import check_sampled_density
from nestor.agreement.shape import shape_test
from nestor.agreement.verdict import PairResult, PairSide, Verdict, judge
from nestor.errors import EngineFailed
from nestor.posterior.quantities import ComparedQuantities
from nestor.runner.contract import check_draws

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from nestor.backend import Draws, SamplerConfig
    from nestor.data.problem import Problem

#: After the densities, in the order of the procedure.
STEPS = (
    "contract",
    "sampled density",
    "recovery",
    "gates",
    "difference",
    "margin",
    "shape",
)


@dataclass(frozen=True, eq=False)
class Side:
    """One run, measured.

    Parameters
    ----------
    run : PairSide
        Summaries, gates and density checks.
    quantities : ndarray, (chain, draw, quantity)
        Draws of every compared quantity.
    sampled_ok : bool or None
        Whether the density that it sampled is the reference's.
    """

    run: PairSide
    quantities: NDArray[np.float64]

    def hidden(self) -> PairSide:
        """The run as if its densities and gates had passed, so that later steps must object alone."""
        passed = replace(self.run.gates, passed=True, failures=())
        return replace(self.run, density_ok=True, sampled_ok=True, recovered_ok=None, gates=passed)


def measure(
    name: str,
    problem: Problem,
    config: SamplerConfig,
    draws: Draws,
    reference: Callable[[Mapping[str, NDArray[np.float64]]], float],
    whitened: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> Side | None:
    """Measure a run; None if its arrays break the contract.

    `reference` is the reference's density of what was sampled; `whitened`, where coefficients were
    marginalized, its method that tells their noise (see `nestor.agreement.recovery`).
    """
    try:
        check_draws(problem, draws, config.chains, config.draws)
    except EngineFailed:
        return None
    found = diagnose(problem, draws.values, draws.stats, draws.settings, "float64")
    sampled = check_sampled_density(
        problem,
        name,
        "float64",
        draws.values,
        draws.stats,
        reference,
        marginalized=whitened is not None,
    )
    recovered = whitened and check_recovery(problem, name, draws.values, whitened)
    run = PairSide(
        name,
        ComparedQuantities(problem).labels,
        found.summaries,
        found.gates,
        True,
        None if sampled is None else sampled.same,
        recovered_ok=None if recovered is None else recovered.exact,
    )
    return Side(run, found.draws)


@dataclass(frozen=True)
class Judged:
    """A pair, judged twice.

    Parameters
    ----------
    first, second : PairSide
        The two runs.
    pair : PairResult
        Every step as if the ones before had passed.
    whole : PairResult
        What a user is told.
    """

    first: PairSide
    second: PairSide
    pair: PairResult
    whole: PairResult

    def objections(self) -> dict[str, bool]:
        """Say of each step whether it objects, and which verdict it is."""
        pair, whole = self.pair.verdict, self.whole.verdict
        return {
            "contract": False,
            "sampled density": self.second.sampled_ok is False,
            "recovery": self.second.recovered_ok is False,
            "gates": not self.second.gates.passed,
            **{step: bool(found) for step, found in self._rejected().items()},
            "DISAGREE": whole is Verdict.DISAGREE,
            "AGREE": whole is Verdict.AGREE,
            "DISAGREE by draws": pair is Verdict.DISAGREE,
        }

    def first_objections(self) -> list[str]:
        """Say for each step of the draws that objects what it objects to first."""
        return [f"{step}: {found[0]}" for step, found in self._rejected().items() if found]

    def _rejected(self) -> dict[str, tuple[Any, ...]]:
        difference, beyond = self.pair.difference, self.pair.beyond
        shape = self.pair.shape
        return {
            "difference": () if difference is None else difference.rejected,
            "margin": () if beyond is None else beyond.beyond,
            "shape": () if shape is None else shape.rejected,
        }


def judged(problem: Problem, a: Side, b: Side) -> Judged:
    """Judge a pair by every step."""
    labels = ComparedQuantities(problem).labels
    shape = shape_test(a.quantities, b.quantities, a.run.summaries, b.run.summaries, labels)
    pair = judge(a.hidden(), b.hidden(), shape=shape)
    whole = judge(a.run, b.run, shape=shape)
    return Judged(a.run, b.run, pair, whole)
