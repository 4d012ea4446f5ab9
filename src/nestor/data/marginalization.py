"""Whether the coefficients of a problem can be integrated out exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nestor.data.problem import Problem


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
