"""Every step of the agreement procedure on one pair of runs, each on its own: which of them object?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nestor.agreement.joint import joint_test
from nestor.agreement.run import Run
from nestor.agreement.sampled import check_sampled_density
from nestor.agreement.shape import shape_test
from nestor.agreement.verdict import Verdict, judge
from nestor.diagnostics import gates, summaries
from nestor.errors import EngineFailed
from nestor.likelihood import log_likelihood
from nestor.quantities import Quantities
from nestor.runner.contract import check_draws

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from nestor.backend import Draws, SamplerConfig
    from nestor.problem import Problem

#: After the densities, in the order of the procedure.
STEPS = ("contract", "sampled density", "gates", "difference", "margin", "shape", "joint")


@dataclass(frozen=True, eq=False)
class Side:
    """One run, measured.

    Parameters
    ----------
    run : Run
        Summaries, gates and density checks.
    quantities : ndarray, (chain, draw, quantity)
        Draws of every compared quantity.
    sampled_ok : bool or None
        Whether the density that it sampled is the reference's.
    """

    run: Run
    quantities: NDArray[np.float64]

    def hidden(self) -> Run:
        """The run as if its densities and gates had passed, so that later steps must object alone."""
        from dataclasses import replace

        passed = replace(self.run.gates, passed=True, failures=())
        return replace(self.run, density_ok=True, sampled_ok=True, gates=passed)


def measure(
    name: str,
    problem: Problem,
    config: SamplerConfig,
    draws: Draws,
    reference: Callable[[Mapping[str, NDArray[np.float64]]], float],
) -> Side | None:
    """Measure a run; None if its arrays break the contract."""
    try:
        check_draws(problem, draws, config.chains, config.draws)
    except EngineFailed:
        return None
    found = Quantities(problem)
    array = found.flatten(draws.values, log_likelihood(problem, draws.values))
    summary = summaries(array)
    n = found.n_scalars
    checked = gates(
        array[..., :n],
        problem.scalars.labels,
        problem.scalars.is_node,
        energy=draws.stats.get("energy"),
        diverging=draws.stats.get("diverging"),
        summary=summary.first(n),
    )
    sampled = check_sampled_density(problem, name, "float64", draws.values, draws.stats, reference)
    run = Run(name, found.labels, summary, checked, True, None if sampled is None else sampled.same)
    return Side(run, array)


def objections(problem: Problem, a: Side, b: Side, *, joint: bool) -> dict[str, bool]:
    """Say which steps object to the pair, each as if the ones before had passed, and its verdict."""
    labels = Quantities(problem).labels
    shape = shape_test(a.quantities, b.quantities, a.run.summaries, b.run.summaries, labels)
    is_node = Quantities(problem).is_node
    classified = joint_test(a.quantities, b.quantities, labels, is_node) if joint else None
    pair = judge(a.hidden(), b.hidden(), shape=shape, joint=classified)
    whole = judge(a.run, b.run, shape=shape, joint=classified)
    return {
        "contract": False,
        "sampled density": b.run.sampled_ok is False,
        "gates": not b.run.gates.passed,
        "difference": bool(pair.difference.rejected),
        "margin": bool(pair.beyond.beyond),
        "shape": bool(shape.rejected),
        "joint": classified is not None and classified.rejected,
        "DISAGREE": whole.verdict is Verdict.DISAGREE,
        "AGREE": whole.verdict is Verdict.AGREE,
        "DISAGREE by draws": pair.verdict is Verdict.DISAGREE,
    }
