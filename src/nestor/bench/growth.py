"""How costs grow with size: power laws fitted on logarithms.

The exponent is the slope of log cost on log size by least squares over all runs that are ok. Its interval
is Student's t from how far the sizes' mean logarithms lie off the line, not from how far runs of one size
lie apart. Repeating seeds says how noisy the machine is at the sizes that were measured; what an exponent
is asked for is how the cost goes on with size, and there the departure from a straight line (fixed costs,
caches, another tree depth) is the larger error, which no number of seeds shrinks. With k sizes there are
k - 2 degrees of freedom, and with as many runs at each size the interval is exact if the departures and
the noise are normal: a size's mean then has the variance of both (Draper and Smith, Applied Regression
Analysis, 1998, chapter 2, lack of fit). With three sizes it is wide, as it should be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from nestor.bench.groups import Group, Row, group_verdict, series
from nestor.bench.table import SKIPPED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Costs whose growth is fitted; the first is the seconds of sampling over the gradients of the kept draws.
METRICS: Final = (
    "sampling_s_per_gradient",
    "time_to_ess_s",
    "compile_s",
    "peak_bytes",
    "sampling_s",
)
#: With fewer sizes no exponent is fitted.
LEAST_SIZES: Final = 3
_LEVEL = 0.95


@dataclass(frozen=True)
class Growth:
    """A power law, cost = coefficient * size^exponent, of one metric of one contender.

    Parameters
    ----------
    scenario, track, contender, sweep : str
        Whose, and what the size is.
    chains, cores : int or None
        What its cells had; None where that is what is swept.
    metric : str
        One of METRICS.
    exponent, low, high : float
        Slope and its 95% interval.
    coefficient : float
        Fitted cost at size one, in the metric's unit.
    last : float
        Slope between the two largest sizes alone, where fixed costs hide the least.
    sizes : tuple of float
        The sizes that were fitted, increasing.
    n : int
        Runs that were fitted.
    left_out : int
        Runs of the same contender that were not ok, or of a size at which it disagrees: a size that few
        runs survived looks cheaper than it is.
    """

    scenario: str
    track: str
    contender: str
    sweep: str
    chains: int | None
    cores: int | None
    metric: str
    exponent: float
    low: float
    high: float
    coefficient: float
    last: float
    sizes: tuple[float, ...]
    n: int
    left_out: int

    def at(self, size: float) -> float:
        """Fitted cost at a size, in the metric's unit."""
        return float(self.coefficient * size**self.exponent)


def growth(found: Sequence[Group]) -> list[Growth]:
    """Fit each metric of each contender that ran at three sizes or more.

    A value that is missing or not positive has no logarithm and does not count; nor do groups that
    disagree, for a wrong answer has no cost.
    """
    fits = [_fit(members, metric) for members in series(found).values() for metric in METRICS]
    return [fit for fit in fits if fit is not None]


def cost(row: Row, metric: str) -> float | None:
    """One of METRICS of an ok run; None where it is missing or not positive."""
    if row["status"] != "ok" or (metric == "time_to_ess_s" and row["censored"]):
        return None
    if metric == "sampling_s_per_gradient":
        seconds, gradients = row["sampling_s"], row["gradients"]
        return seconds / gradients if seconds and gradients else None
    value: float | None = row[metric]
    return float(value) if value is not None and value > 0 else None


def _fit(members: Sequence[Group], metric: str) -> Growth | None:
    right = [group for group in members if group_verdict(group.rows) != "DISAGREE"]
    costs = {
        float(group.key.sweep_value or 0.0): [
            value for row in group.rows if (value := cost(row, metric)) is not None
        ]
        for group in right
    }
    logs = {size: np.log(values) for size, values in costs.items() if values}
    if len(logs) < LEAST_SIZES:
        return None
    key = members[0].key
    x, means = np.log(list(logs)), np.array([one.mean() for one in logs.values()])
    counts = np.array([len(one) for one in logs.values()])
    slope, start, half = _line(x, means, counts)
    return Growth(
        *(key.scenario, key.track, key.contender, key.sweep),
        chains=None if key.sweep == "chains" else key.chains,
        cores=None if key.sweep == "cores" else key.cores,
        metric=metric,
        exponent=slope,
        low=slope - half,
        high=slope + half,
        coefficient=float(np.exp(start)),
        last=float((means[-1] - means[-2]) / (x[-1] - x[-2])),
        sizes=tuple(logs),
        n=int(counts.sum()),
        left_out=_left_out(members, right),
    )


def _left_out(members: Sequence[Group], right: Sequence[Group]) -> int:
    """Runs that were made, less those that can be fitted."""
    made = [row for group in members for row in group.rows if row["status"] != SKIPPED]
    fitted = [row for group in right for row in group.rows if row["status"] == "ok"]
    return len(made) - len(fitted)


def _line(
    x: NDArray[np.float64], means: NDArray[np.float64], counts: NDArray[np.intp]
) -> tuple[float, float, float]:
    """Slope, intercept and half the slope's interval; runs of a size share their x, so means suffice."""
    from scipy.stats import t

    centre = np.average(x, weights=counts)
    middle = np.average(means, weights=counts)
    spread = float(np.sum(counts * (x - centre) ** 2))
    slope = float(np.sum(counts * (x - centre) * (means - middle)) / spread)
    start = float(middle - slope * centre)
    df = len(x) - 2
    variance = float(np.sum(counts * (means - start - slope * x) ** 2)) / df
    half = float(t.ppf((1 + _LEVEL) / 2, df)) * np.sqrt(variance / spread)
    return slope, start, float(half)
