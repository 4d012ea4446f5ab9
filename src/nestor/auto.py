"""The formulation `auto`: what is chosen for a problem when the user does not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nestor.formulation import Formulation

if TYPE_CHECKING:
    from nestor.backend import Capabilities
    from nestor.problem import Problem


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


def not_marginalizable(problem: Problem) -> str | None:
    """Return why coefficients cannot be integrated out exactly, or None where they can.

    Given the scales they must be jointly Gaussian with the outcome: a gaussian outcome, and Normal priors
    of population coefficients.
    """
    if problem.spec.family != "gaussian":
        return (
            f"coefficients integrate out exactly of gaussian outcomes only, and the outcome "
            f"{problem.spec.outcome!r} is {problem.spec.family}"
        )
    beta, gamma = problem.priors.beta, problem.priors.gamma
    by_address = {f"beta[{name}]": prior for name, prior in beta.items()}
    by_address |= {f"gamma[{name}]": prior for name, prior in gamma.items()}
    for address, prior in by_address.items():
        if prior.family != "Normal":
            return (
                f"coefficients integrate out exactly under Normal priors of population coefficients only, "
                f"and the prior of {address} is {prior}"
            )
    return None


def choose(problem: Problem, can: Capabilities) -> Choice:
    """Choose the formulation for a problem and what an engine can do."""
    levels = problem.spec.level_names
    refusal = not_marginalizable(problem)
    if "marginalized" in can.coefficients and refusal is None:
        return Choice(
            Formulation.marginalized(levels),
            "gaussian outcome and Normal population priors: coefficients integrate out exactly",
        )
    return Choice(Formulation.parse([], levels), refusal or "it cannot marginalize")
