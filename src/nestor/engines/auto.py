"""The formulation `auto`: what is chosen for a problem when the user does not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nestor.data.centering import data_over_prior
from nestor.data.marginalization import not_marginalizable
from nestor.engines.formulation import Centering, Formulation, Likelihood

if TYPE_CHECKING:
    from nestor.data.problem import Problem
    from nestor.engines.protocol import Capabilities


@dataclass(frozen=True)
class Choice:
    """A formulation, and why it was chosen.

    Parameters
    ----------
    formulation : Formulation
        The choice.
    reason : str
        One sentence for a user.
    """

    formulation: Formulation
    reason: str


def choose(problem: Problem, can: Capabilities) -> Choice:
    """Choose the formulation for a problem and what an engine can do.

    Coefficients are marginalized where that is possible. Where they stay sampled, a gaussian likelihood
    is summed over leaf statistics, and a level is centred where its data say more of a node than its prior
    does (see `nestor.data.centering`); all as far as the engine can.

    An engine that only marginalizes is not asked for anything else: where that is impossible the choice is
    marginalized all the same, and it is for the engine to refuse the problem.
    """
    levels = problem.spec.level_names
    refusal = not_marginalizable(problem)
    if "marginalized" in can.coefficients:
        if refusal is None:
            return Choice(
                Formulation.marginalized(levels),
                "gaussian outcome and Normal population priors: coefficients integrate out exactly",
            )
        if "sampled" not in can.coefficients:
            reason = f"the engine can do nothing else, although {refusal}"
            return Choice(Formulation.marginalized(levels), reason)
    lacking = can.reason(["marginalized"])
    refusal = refusal or f"the engine cannot marginalize{f': {lacking}' if lacking else ''}"
    centering, why = _centering(problem, can)
    summed: Likelihood = "statistics" if _by_statistics(problem, can) else "rows"
    return Choice(Formulation(levels, centering, summed), f"{refusal}; {why}")


def _by_statistics(problem: Problem, can: Capabilities) -> bool:
    if len(can.likelihoods) == 1:
        return "statistics" in can.likelihoods
    return problem.spec.family == "gaussian"


def _centering(problem: Problem, can: Capabilities) -> tuple[tuple[Centering, ...], str]:
    """Centred or not, level by level, and why."""
    n = len(problem.levels)
    if len(can.centering) < 2:
        only: Centering = "centered" if "centered" in can.centering else "noncentered"
        return (only,) * n, f"{only}, as the engine can do nothing else"
    ratios = data_over_prior(problem)
    found: tuple[Centering, ...] = tuple(
        "centered" if ratios.get(level.name, 0.0) > 1 else "noncentered" for level in problem.levels
    )
    told = ", ".join(f"{name} {ratio:.2g}" for name, ratio in ratios.items())
    return (
        found,
        f"centered where data say more of a node than its prior does ({told} times as much)",
    )
