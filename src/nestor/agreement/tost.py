"""Where the difference of two contenders lies relative to a margin, and how surely.

Two quantities per scalar are measured:

- the mean, by the standardized difference d = (mean_a - mean_b) / sd, with sd the root mean
  square of the two posterior sds; its margin is in posterior sd, its standard error
  hypot(mcse_a, mcse_b) / sd (that of sd itself is of second order near the margin);
- the sd, by the ratio of the larger to the smaller; a margin of 20% is a ratio r = 1.2 to
  either side, so that neither contender is the denominator by convention. It is tested by
  Fieller's (1954) linear form, (r sd_b - sd_a) / hypot(mcse_a, r mcse_b) and the same with a
  and b exchanged. On heavy tails, where one draw can make a posterior sd, the form keeps its
  level; a normal approximation of the log ratio does not.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nestor.agreement.difference import pooled_sd
from nestor.errors import DataError
from nestor.stats.diagnostics.summaries import Summaries

type FloatArray = NDArray[np.float64]

COMPARED = ("mean", "sd")


@dataclass(frozen=True, eq=False)
class TostStatistics:
    """Differences against their margins; first axis: means, sds (`COMPARED`).

    Parameters
    ----------
    size
        For means d with its sign; for sds the ratio sd_a / sd_b less one. Shape (2, scalar).
    inside
        Distance to the nearer edge of the margin over its standard error, positive inside the
        margin; nan where there is none (a constant scalar, undefined errors). Shape (2, scalar).
    width
        Width of the whole margin over the standard error, shape (2, scalar).
    sd, sd_mcse
        Posterior sds of a and b and their Monte Carlo errors, shape (2, scalar).
    mean_error
        Standard error of d, shape (scalar,).
    """

    size: FloatArray
    inside: FloatArray
    width: FloatArray
    sd: FloatArray
    sd_mcse: FloatArray
    mean_error: FloatArray

    def p_outside(self) -> FloatArray:
        """P-values of "within the margin", small where the difference is shown to exceed it."""
        both = ndtr(self.inside) + ndtr(self.inside - self.width)
        p_values: FloatArray = np.minimum(both, 1.0)
        return p_values

    def ess_factor(self, threshold: float) -> FloatArray:
        """Growth of the effective sample sizes that brings `inside` to the threshold.

        Parameters
        ----------
        threshold
            Normal quantile of the test.

        Returns
        -------
        array
            Shape (2, scalar), at least 1; nan where the difference as estimated is outside.
        """
        with np.errstate(all="ignore"):
            factor = np.where(self.inside > 0.0, (threshold / self.inside) ** 2, np.nan)
        return np.maximum(factor, 1.0)

    def margin_needed(self, threshold: float) -> FloatArray:
        """Smallest margin whose edge is `threshold` standard errors away.

        Parameters
        ----------
        threshold
            Normal quantile of the test.

        Returns
        -------
        array
            Shape (2, scalar): in posterior sd, and as a fraction; nan where no margin does.
        """
        with np.errstate(all="ignore"):
            mean = np.abs(self.size[0]) + threshold * self.mean_error
            ratios = [self._ratio_bound(threshold, 0, 1), self._ratio_bound(threshold, 1, 0)]
        needed = np.stack([mean, np.maximum(*ratios) - 1.0])
        needed[np.isnan(self.inside)] = np.nan
        return needed

    def _ratio_bound(self, threshold: float, top: int, bottom: int) -> FloatArray:
        """Fieller's upper bound of a ratio of sds, the larger root of a quadratic."""
        square = self.sd[bottom] ** 2 - (threshold * self.sd_mcse[bottom]) ** 2
        half = self.sd[top] * self.sd[bottom]
        rest = self.sd[top] ** 2 - (threshold * self.sd_mcse[top]) ** 2
        root = (half + np.sqrt(half**2 - square * rest)) / square
        return np.where(square > 0.0, root, np.nan)


def tost_statistics(a: Summaries, b: Summaries, margin: float, sd_margin: float) -> TostStatistics:
    """Measure the means and sds of two runs against their margins.

    Parameters
    ----------
    a, b
        Summaries over the same scalars.
    margin
        For means, in posterior sd.
    sd_margin
        For sds, as a fraction.

    Returns
    -------
    TostStatistics

    Raises
    ------
    DataError
        If a margin is not positive.
    """
    if not (margin > 0.0 and sd_margin > 0.0):
        raise DataError(f"margins must be positive, found {margin} for means, {sd_margin} for sds")
    ratio = 1.0 + sd_margin
    with np.errstate(all="ignore"):
        pooled = pooled_sd(a, b)
        size = np.stack([(a.mean - b.mean) / pooled, a.sd / b.sd - 1.0])
        mean_error = np.hypot(a.mcse[0], b.mcse[0]) / pooled
        log_error = np.hypot(a.mcse[1] / a.sd, b.mcse[1] / b.sd)
        above = (ratio * b.sd - a.sd) / np.hypot(a.mcse[1], ratio * b.mcse[1])
        below = (ratio * a.sd - b.sd) / np.hypot(ratio * a.mcse[1], b.mcse[1])
        inside = np.stack([(margin - np.abs(size[0])) / mean_error, np.minimum(above, below)])
        width = np.stack([2 * margin / mean_error, 2 * np.log(ratio) / log_error])
    undefined = ~(np.isfinite(size) & np.isfinite(inside) & np.isfinite(width))
    undefined |= a.constant | b.constant  # a Monte Carlo error of zero is no precision
    for array in (size, inside, width):
        array[undefined] = np.nan
    return TostStatistics(
        size=size,
        inside=inside,
        width=width,
        sd=np.stack([a.sd, b.sd]),
        sd_mcse=np.stack([a.mcse[1], b.mcse[1]]),
        mean_error=mean_error,
    )
