"""The independence chain: proposals from a fixed mixture, accepted so that the posterior is stationary.

From x the chain moves to a proposal y with probability min(1, w(y) / w(x)), w the posterior over the
proposal's density (Tierney 1994, Annals of Statistics 22, section 2.3.3). Whatever the proposal, its draws
come from the posterior itself and carry no weights. It leaves x with probability
lambda(x) = E min(1, w(y) / w(x)), and the chain's eigenvalues are the values 1 - lambda(x) (Liu 1996,
Statistics and Computing 6), so the mean of (1 - lambda)^s over the posterior says how dependent draws s
proposals apart are: s is chosen by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import EngineFailed
from nestor_exact.pareto import effective_share, largest_weight, pareto_k

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.stats.arrays import FloatArray


#: Largest autocorrelation of kept draws that s may leave.
DEPENDENCE = 0.01
#: Proposals per kept draw beyond which the proposal counts as unfit.
MOST_PROPOSALS = 100
#: Pareto shape of the weights beyond which their moments are not to be trusted (Vehtari et al. 2024).
LARGEST_PARETO_K = 0.7
#: Weights of up to so many times their mean are no tail, whatever the shape fitted to them: a chain that
#: meets one leaves it after as many proposals. A nearly perfect proposal's largest weights, 1.5 to 3 where
#: all others are 1, have a fitted k anywhere between -0.7 and 1.6.
HARMLESS_WEIGHT = 20.0
_REMEDY = (
    "The posterior of the scales is too hard for the exact reference: allow it more warmup, give the scales "
    "tighter priors or fewer parents of their own, or use a sampler."
)


@dataclass(frozen=True)
class Fitness:
    """How well a proposal fits the posterior, by the weights of its own points.

    Parameters
    ----------
    effective_share : float
        Relative effective sample size of the weights.
    pareto_k : float
        Shape of the largest weights.
    largest_weight : float
        Over the mean weight.
    """

    effective_share: float
    pareto_k: float
    largest_weight: float

    @classmethod
    def of(cls, log_weights: FloatArray) -> Fitness:
        """Judge by log weights, (n,).

        Raises
        ------
        EngineFailed
            If the proposal does not fit: the posterior is zero at all points, or k is above 0.7 and the
            largest weight more than 20 times the mean.
        """
        if not np.isfinite(log_weights).any():
            raise EngineFailed(f"no proposal has positive posterior density. {_REMEDY}")
        found = cls(
            effective_share(log_weights), pareto_k(log_weights), largest_weight(log_weights)
        )
        if found.pareto_k > LARGEST_PARETO_K and found.largest_weight > HARMLESS_WEIGHT:
            raise EngineFailed(
                f"the Pareto k of the proposals' weights is {found.pareto_k:.2f}, above "
                f"{LARGEST_PARETO_K}, and the largest is {found.largest_weight:.0f} times their mean: some "
                f"region is hardly ever proposed. {_REMEDY}"
            )
        return found


def proposals_per_draw(log_weights: FloatArray) -> int:
    """Smallest s at which draws s proposals apart are nearly independent.

    Parameters
    ----------
    log_weights : ndarray, (n,)
        Of proposals that chose nothing else.

    Raises
    ------
    EngineFailed
        If it is more than 100.
    """
    w = np.sort(np.exp(log_weights - log_weights.max()))
    n = len(w)
    # Mean of min(1, w_j / w_i) over j: those below i count by their ratio, the others wholly.
    with np.errstate(invalid="ignore", divide="ignore"):
        leaving = np.cumsum(w) / w / n + np.arange(n - 1, -1, -1) / n
    staying = np.where(w > 0, 1.0 - np.minimum(leaving, 1.0), 0.0)
    share = w / w.sum()
    for s in range(1, MOST_PROPOSALS + 1):
        if share @ staying**s <= DEPENDENCE:
            return s
    raise EngineFailed(
        f"a chain would need more than {MOST_PROPOSALS} proposals per draw, with an effective share of "
        f"{effective_share(log_weights):.2g} of the weights. {_REMEDY}"
    )


@dataclass(frozen=True)
class Chain:
    """Where an independence chain stood, as positions among its proposals.

    Parameters
    ----------
    kept : ndarray of intp, (draws,)
        Position after every s proposals.
    acceptance : ndarray, (draws,)
        Mean acceptance probability of the s proposals before each kept draw.
    """

    kept: NDArray[np.intp]
    acceptance: FloatArray


def run_chain(log_weights: FloatArray, s: int, lead: int, rng: np.random.Generator) -> Chain:
    """Run the chain through its proposals.

    Parameters
    ----------
    log_weights : ndarray, (lead + s * draws,)
        Of the proposals, in order. The first `lead` choose the start: one of half of them by their weights,
        and the chain then forgets it in the other half.
    s : int
        Proposals per kept draw.
    lead : int
        At least 2.
    rng : Generator
        Of the start and of the decisions.
    """
    choice = lead // 2
    if not np.isfinite(log_weights[:choice]).any():
        raise EngineFailed(f"no proposal has positive posterior density. {_REMEDY}")
    w = np.exp(log_weights[:choice] - log_weights[:choice].max())
    at = int(rng.choice(choice, p=w / w.sum()))
    decisions = np.log(rng.random(len(log_weights)))
    n = len(log_weights)
    position, accepted = np.empty(n, dtype=np.intp), np.zeros(n)
    for i in range(choice, n):
        ratio = log_weights[i] - log_weights[at]
        accepted[i] = np.exp(min(0.0, ratio))
        if decisions[i] < ratio:
            at = i
        position[i] = at
    kept = position[lead + s - 1 :: s]
    return Chain(kept, accepted[lead:].reshape(-1, s).mean(axis=1))
