"""The verdict on a study: are the ranks of every quantity uniform?"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from nestor.agreement.holm import holm
from nestor.errors.text import short_repr
from nestor.stats.ecdf import uniform_band, uniform_test

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nestor.calibration.tasks import Record
    from nestor.stats.arrays import FloatArray
    from nestor.stats.ecdf import Band


POWER = 0.9
#: A study that may say CALIBRATED finds these faults of any one quantity with probability `POWER`: a mean
#: that is off by half a posterior standard deviation, and a standard deviation twice or half as large.
#: Through the first a 95% interval holds the truth with 92%, through an sd that is half with 67%.
FLOOR_SHIFT = 0.5
FLOOR_FACTOR = 2.0
_GRID = 1201
_STEPS = 16


@dataclass(frozen=True)
class Detectable:
    """The smallest faults of one quantity that a study finds with 90% probability.

    Parameters
    ----------
    shift : float or None
        Of the mean, in posterior standard deviations; None if none up to 8 is found so surely.
    narrow, wide : float or None
        Factors of the standard deviation, below and above 1; None if none between 1/50 and 50 is.
    """

    shift: float | None
    narrow: float | None
    wide: float | None


@lru_cache(maxsize=16)
def detectable(simulations: int, ranked_draws: int, quantities: int, level: float) -> Detectable:
    """Compute what a study can find, for a normal posterior.

    A fault is found if the ECDF of the ranks leaves the band of level ``level / quantities``: the first
    step of Holm's procedure, so that the true power is not smaller.

    Parameters
    ----------
    simulations, ranked_draws, quantities : int
        Size of the study.
    level : float
        Family-wise level.
    """
    power = _power_of(simulations, ranked_draws, quantities, level)
    narrow = _smallest(lambda x: power(0.0, float(np.exp(-x))), np.log(50.0))
    wide = _smallest(lambda x: power(0.0, float(np.exp(x))), np.log(50.0))
    return Detectable(
        shift=_smallest(lambda x: power(x, 1.0), 8.0),
        narrow=None if narrow is None else float(np.exp(-narrow)),
        wide=None if wide is None else float(np.exp(wide)),
    )


@lru_cache(maxsize=16)
def simulations_needed(ranked_draws: int, quantities: int, level: float) -> int:
    """Return the fewest simulations with ranks that find the faults of the floor with 90% probability.

    They grow with the logarithm of the number of quantities: with 63 ranked draws 113 for 7 quantities, 211
    for 5,000 and 287 for a million (level 0.01).

    Parameters
    ----------
    ranked_draws, quantities, level
        See `detectable`.
    """
    faults = ((FLOOR_SHIFT, 1.0), (0.0, 1.0 / FLOOR_FACTOR), (0.0, FLOOR_FACTOR))

    def enough(simulations: int) -> bool:
        power = _power_of(simulations, ranked_draws, quantities, level)
        return all(power(*fault) >= POWER for fault in faults)

    low, high = 0, 32
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _power_of(
    simulations: int, ranked_draws: int, quantities: int, level: float
) -> Callable[[float, float], float]:
    """Probability with which a study finds a shift and a factor of the standard deviation."""
    band = uniform_band(simulations, ranked_draws + 1, level / quantities)

    def power(shift: float, factor: float) -> float:
        pmf = rank_probabilities(ranked_draws, shift, factor)
        return 1.0 - probability_inside(band, pmf, simulations)

    return power


def rank_probabilities(ranked_draws: int, shift: float, factor: float) -> FloatArray:
    """Probabilities of ranks 0 .. L of a standard normal truth among L draws of Normal(shift, factor^2).

    The integral of the binomial probability at Phi((z - shift) / factor) over the normal density of z,
    by the trapezoidal rule, which converges faster than any power here.
    """
    from scipy.special import gammaln, log_ndtr

    z = np.linspace(-8.5, 8.5, _GRID)
    weight = np.exp(-0.5 * z**2)
    where = (z - shift) / factor
    r = np.arange(ranked_draws + 1)[:, None]
    ways = gammaln(ranked_draws + 1) - gammaln(r + 1) - gammaln(ranked_draws - r + 1)
    log_pmf = ways + r * log_ndtr(where) + (ranked_draws - r) * log_ndtr(-where)
    found: FloatArray = np.exp(log_pmf) @ weight
    return found / found.sum()


def probability_inside(band: Band, pmf: FloatArray, simulations: int) -> float:
    """Probability that the ECDF of independent ranks with these probabilities stays in a band.

    Counts of ranks are those of independent Poisson variables given their sum; their cumulative sum is
    followed from rank to rank inside the band.
    """
    low = np.round(band.lower * simulations).astype(np.intp)
    high = np.round(band.upper * simulations).astype(np.intp)
    counts = np.arange(simulations + 1)
    inside = np.array([1.0])
    first = 0
    for k in range(len(low)):
        grown = np.convolve(inside, _poisson(counts[: high[k] - first + 1], simulations * pmf[k]))
        start, stop = low[k] - first, high[k] - first + 1
        inside = grown[max(start, 0) : stop]
        first = max(int(low[k]), first)
        if inside.size == 0:
            return 0.0
    rest = simulations - (first + np.arange(inside.size))
    total = _poisson(np.array([simulations]), float(simulations))[0]
    return float(inside @ _poisson(rest, simulations * pmf[-1]) / total)


def _poisson(counts: NDArray[np.intp], mean: float) -> FloatArray:
    from scipy.special import gammaln, xlogy

    k = np.maximum(counts, 0)
    found: FloatArray = np.exp(xlogy(k, mean) - mean - gammaln(k + 1))
    return np.where(counts >= 0, found, 0.0)


def _smallest(power: Callable[[float], float], largest: float) -> float | None:
    """The smallest fault with the wanted power, by bisection; it grows with the fault."""
    if power(largest) < POWER:
        return None
    low, high = 0.0, largest
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


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
