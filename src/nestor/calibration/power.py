"""Which miscalibration a study of its size would have found: exact probabilities, not guesses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from nestor.stats.ecdf import uniform_band

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from nestor.stats.ecdf import Band

    type FloatArray = NDArray[np.float64]

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
