"""The verdict on a study: are the ranks of every quantity uniform?"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.agreement.holm import holm
from nestor.calibration.power import (
    FLOOR_FACTOR,
    FLOOR_SHIFT,
    Detectable,
    detectable,
    simulations_needed,
)
from nestor.errors.text import short_repr
from nestor.stats.ecdf import uniform_band, uniform_test

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nestor.calibration.job import Record

    type FloatArray = NDArray[np.float64]

#: Family-wise: the chance of NOT CALIBRATED for an engine that is right.
LEVEL = 0.01
#: With fewer simulations next to nothing can be found.
FEWEST = 20
#: Simulations without ranks are few while leaving them out moves no ECDF by more than this part of the
#: band's half-width: a share f of them moves it by f at most.
SHARE_OF_BAND = 0.25


class Calibrated(enum.StrEnum):
    """What can be said about an engine."""

    CALIBRATED = "CALIBRATED"
    NOT_CALIBRATED = "NOT CALIBRATED"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True)
class Rejected:
    """A quantity whose ranks are not uniform.

    Parameters
    ----------
    label, group : str
        The quantity, and what it belongs to.
    p_value, p_adjusted : float
        Uncorrected, and by Holm's procedure over all quantities.
    difference, at : float
        The ECDF's largest distance from uniformity, and at which fraction of the ranks.
    how : str
        What the ranks look like, in words.
    """

    label: str
    group: str
    p_value: float
    p_adjusted: float
    difference: float
    at: float
    how: str


@dataclass(frozen=True, eq=False)
class Judgement:
    """The verdict and the numbers behind it.

    Parameters
    ----------
    verdict : Calibrated
        The verdict.
    reasons : tuple of str
        Why, one sentence each.
    rejected : tuple of Rejected
        Quantities found not to be uniform, the worst first.
    p_values, p_adjusted : ndarray, (quantity,)
        Empty without a single rank.
    detectable : Detectable or None
        What the study would have found; None where there are too few simulations.
    failures_allowed : int
        Simulations without ranks that would still have been few.
    needed : int
        The fewest simulations with ranks that can end in CALIBRATED.
    missing : int
        How many more than there are that takes; 0 where there are enough.
    """

    verdict: Calibrated
    reasons: tuple[str, ...]
    rejected: tuple[Rejected, ...]
    p_values: FloatArray
    p_adjusted: FloatArray
    detectable: Detectable | None
    failures_allowed: int
    needed: int
    missing: int

    __repr__ = short_repr


def foregone(simulations: int, ranked_draws: int, quantities: int) -> str:
    """Say why so few simulations cannot end in CALIBRATED; empty where they can."""
    needed = simulations_needed(ranked_draws, quantities, LEVEL)
    if simulations >= needed:
        return ""
    return (
        f"{_simulations(simulations)} cannot end in CALIBRATED. Of {quantities} quantities that takes at "
        f"least {needed}, which find a posterior mean off by {FLOOR_SHIFT:g} posterior sd, or an sd "
        f"{FLOOR_FACTOR:g} times too large or too small, with 90% probability."
    )


def judge(
    ranks: NDArray[np.intp],
    failures: Sequence[Record],
    ranked_draws: int,
    labels: Sequence[str],
    groups: Sequence[str],
) -> Judgement:
    """Judge a study.

    Parameters
    ----------
    ranks : ndarray of intp, (simulation, quantity)
        Of the simulations that ended well.
    failures : sequence of Record
        The others.
    ranked_draws : int
        The largest rank.
    labels, groups : sequence of str
        Of the quantities.
    """
    n, quantities = ranks.shape
    needed = simulations_needed(ranked_draws, quantities, LEVEL)
    missing = max(needed - n, 0)
    if n < FEWEST:
        reason = (
            f"{_simulations(n)} ended well; fewer than {FEWEST} can show nothing, and CALIBRATED takes "
            f"{needed}: {missing} more"
        )
        empty = np.empty(0)
        reasons = (reason, *_reasons_of(failures))
        return Judgement(
            Calibrated.INCONCLUSIVE, reasons, (), empty, empty, None, 0, needed, missing
        )
    test = uniform_test(ranks, ranked_draws + 1)
    adjusted = holm(test.p_values)
    rejected = tuple(
        Rejected(
            labels[i],
            groups[i],
            float(test.p_values[i]),
            float(adjusted[i]),
            float(test.difference[i]),
            float(test.at[i]),
            describe_ranks(ranks[:, i], ranked_draws),
        )
        for i in np.argsort(test.p_values, kind="stable")
        if adjusted[i] <= LEVEL
    )
    allowed = _failures_allowed(n, ranked_draws, quantities)
    verdict, reasons = _verdict(n, rejected, failures, allowed, quantities, needed)
    return Judgement(
        verdict,
        reasons,
        rejected,
        test.p_values,
        adjusted,
        detectable(n, ranked_draws, quantities, LEVEL),
        allowed,
        needed,
        missing,
    )


def _verdict(
    n: int,
    rejected: Sequence[Rejected],
    failures: Sequence[Record],
    allowed: int,
    quantities: int,
    needed: int,
) -> tuple[Calibrated, tuple[str, ...]]:
    if len(failures) > allowed:
        reason = (
            f"{len(failures)} of {n + len(failures)} simulations have no ranks, more than the {allowed} "
            "that could be left out without moving the result"
        )
        return Calibrated.INCONCLUSIVE, (reason, *_reasons_of(failures))
    if rejected:
        reason = (
            f"the ranks of {len(rejected)} of {quantities} quantities are not uniform "
            f"(family-wise level {LEVEL:g})"
        )
        return Calibrated.NOT_CALIBRATED, (reason,)
    if n < needed:
        reason = (
            f"the ranks of all {quantities} quantities look uniform, but {_simulations(n)} cannot tell: "
            f"{needed} with ranks find a posterior mean off by {FLOOR_SHIFT:g} posterior sd, or an sd "
            f"{FLOOR_FACTOR:g} times too large or too small, with 90% probability; {needed - n} more "
            f"{'is' if needed - n == 1 else 'are'} needed"
        )
        return Calibrated.INCONCLUSIVE, (reason, *_reasons_of(failures))
    reason = (
        f"the ranks of all {quantities} quantities are uniform as far as {n} simulations can tell"
    )
    return Calibrated.CALIBRATED, (reason,)


def _simulations(n: int) -> str:
    return f"{n} simulation{'' if n == 1 else 's'}"


def _reasons_of(failures: Sequence[Record]) -> list[str]:
    """Each kind of failure with its number and an example."""
    kinds = dict.fromkeys(record.status for record in failures)
    found = []
    for kind in kinds:
        same = [record for record in failures if record.status == kind]
        word = "did not converge" if kind == "unconverged" else kind.replace("timeout", "timed out")
        found.append(f"{len(same)} {word}, such as simulation {same[0].number}: {same[0].message}")
    return found


def _failures_allowed(n: int, ranked_draws: int, quantities: int) -> int:
    """Return the largest number of failures beside `n` good ones that counts as few."""
    band = uniform_band(n, ranked_draws + 1, LEVEL / quantities)
    middle = len(band.points) // 2
    bound = SHARE_OF_BAND * float(band.upper[middle] - band.lower[middle]) / 2
    return int(n * bound / (1 - bound))


def describe_ranks(ranks: NDArray[np.intp], ranked_draws: int) -> str:
    """Say in words what uneven ranks mean, by the larger of two standardized moments.

    High ranks of the true values come from draws that lie too low; ranks at both ends from a
    posterior that is too narrow (Talts et al. 2018, section 4.2).
    """
    u = (ranks + 0.5) / (ranked_draws + 1) - 0.5
    # Of a uniform u: variance 1/12, and 1/80 - 1/144 of its squared distance from the mean.
    shift = float(u.mean()) * math.sqrt(12 * len(u))
    spread = (float(u.var(ddof=1)) - 1 / 12) * math.sqrt(len(u) / (1 / 80 - 1 / 144))
    if max(abs(shift), abs(spread)) < 3:
        return "ranks uneven"
    if abs(shift) >= abs(spread):
        return "draws too low" if shift > 0 else "draws too high"
    return "posterior too narrow" if spread > 0 else "posterior too wide"
