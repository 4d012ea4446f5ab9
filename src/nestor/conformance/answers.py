"""Draws against exact answers: means, sds and probabilities, with Monte Carlo error and Holm's correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.agreement.difference import detectable_shift
from nestor.agreement.holm import holm
from nestor.conformance.check import ConformanceFailure
from nestor.stats.diagnostics import ess_mean, summaries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.stats.arrays import FloatArray
    from nestor.stats.diagnostics import Summaries


#: Where the distribution functions are compared.
PROBABILITIES = (0.05, 0.25, 0.5, 0.75, 0.95)
#: Chains that are worse than this show nothing about the posterior.
WORST_RHAT, LEAST_ESS = 1.02, 400


@dataclass(frozen=True)
class Answer:
    """What is known exactly about one scalar.

    Parameters
    ----------
    label : str
        The scalar.
    mean, sd : float or None
        None where they do not exist or the Monte Carlo error of their estimates cannot be told.
    thresholds, probabilities : tuple of float
        P(scalar <= threshold), near `PROBABILITIES`.
    """

    label: str
    mean: float | None
    sd: float | None
    thresholds: tuple[float, ...]
    probabilities: tuple[float, ...]


def power(
    answers: Sequence[Answer], wrong: Sequence[Answer], found: Summaries, level: float
) -> float:
    """Chance that draws whose answers are `wrong` are told from `answers` by the mean of one scalar.

    Parameters
    ----------
    answers, wrong : sequence of Answer
        Of the same scalars, with means and sds.
    found : Summaries
        Of the draws: how many effective ones there are of each.
    level : float
        Chance that draws from the exact posterior fail.

    Returns
    -------
    float
        At the level of Holm's first step, which is its strictest.
    """
    from scipy.special import ndtr, ndtri

    n_tests = len(answers) * (2 + len(PROBABILITIES))
    right, other = (
        np.array([(a.mean, a.sd) for a in of], dtype=np.float64).T for of in (answers, wrong)
    )
    root_ess = found.estimate[1] / found.mcse[0]
    shift = np.abs(other[0] - right[0]) / other[1] * root_ess
    return float(ndtr(shift + ndtri(level / (2 * n_tests))).max())


def mixed(found: Summaries) -> str | None:
    """Say why chains show nothing yet, or None."""
    if not found.finite.all():
        return "some draws are not finite"
    if found.constant.any():
        return "some scalars never move"
    rhat, ess = float(found.rhat.max()), float(min(found.ess_bulk.min(), found.ess_tail.min()))
    if rhat > WORST_RHAT or ess < LEAST_ESS:
        return f"largest R-hat {rhat:.3f}, smallest ESS {ess:.0f}"
    return None


def compare_with_answers(draws: FloatArray, answers: Sequence[Answer], level: float) -> str:
    """Test draws against exact answers.

    Means and sds are referred to the normal distribution. The number of draws below a threshold is
    referred to a Binomial(ESS, probability), continued to real numbers by the incomplete beta function,
    since the normal distribution is too narrow for it as far out as Holm's correction looks.

    Parameters
    ----------
    draws : ndarray, (chain, draw, scalar)
        Draws of the scalars, in the order of `answers`.
    answers : sequence of Answer
        What is known.
    level : float
        Chance that draws from the exact posterior fail.

    Returns
    -------
    str
        What could have been seen.

    Raises
    ------
    ConformanceFailure
        With the worst of the differences.
    """
    from scipy.special import ndtr

    found = summaries(draws)
    known = np.array([(a.mean, a.sd) for a in answers], dtype=np.float64).T  # None becomes nan
    z = (found.estimate[:2] - known) / found.mcse[:2]
    share, p_share = _shares(draws, answers)
    p_values = np.concatenate([2 * ndtr(-np.abs(z)), p_share])
    adjusted = holm(p_values)
    order = [int(i) for i in np.argsort(np.nan_to_num(adjusted, nan=2.0), axis=None)]
    texts: list[str] = []
    for row, column in (divmod(i, len(answers)) for i in order[:3]):
        if adjusted[row, column] <= level:
            texts.append(_text(found, share, answers[column], row, column))
    if texts:
        n = int(np.count_nonzero(adjusted <= level))
        raise ConformanceFailure(f"{n} of {p_values.size} numbers differ: {'; '.join(texts)}")
    n_tests = int(np.count_nonzero(~np.isnan(p_values)))
    return _power(found, n_tests, level)


def _shares(draws: FloatArray, answers: Sequence[Answer]) -> tuple[FloatArray, FloatArray]:
    """Share of draws at or below each threshold, and its p-value, both (threshold, scalar)."""
    from scipy.special import betainc

    thresholds = np.array([a.thresholds for a in answers]).T
    probabilities = np.array([a.probabilities for a in answers]).T
    share, p_values = np.empty_like(thresholds), np.empty_like(thresholds)
    for row, at in enumerate(thresholds):
        below = (draws <= at).astype(np.float64)
        share[row] = below.mean(axis=(0, 1))
        n = np.minimum(ess_mean(below), below.shape[0] * below.shape[1])
        k, p = n * share[row], probabilities[row]
        # P(K <= k) = I_{1-p}(n - k, k + 1) and P(K >= k) = I_p(k, n - k + 1)
        low = betainc(np.maximum(n - k, 1e-9), k + 1.0, 1.0 - p)
        high = betainc(np.maximum(k, 1e-9), n - k + 1.0, p)
        p_values[row] = np.minimum(1.0, 2.0 * np.minimum(low, high))
    return share, p_values


def _text(found: Summaries, share: FloatArray, answer: Answer, row: int, column: int) -> str:
    if row < 2:
        name, exact = ("mean", answer.mean) if row == 0 else ("sd", answer.sd)
        estimate, error = found.estimate[row, column], found.mcse[row, column]
        return f"{name} of {answer.label} is {estimate:.4g} +- {error:.2g}, exactly {exact:.4g}"
    at, exact = answer.thresholds[row - 2], answer.probabilities[row - 2]
    return f"P({answer.label} <= {at:.3g}) is {share[row - 2, column]:.4g}, exactly {exact:.4g}"


def _power(found: Summaries, n_tests: int, level: float) -> str:
    ess = float(found.ess_bulk.min())
    shift = float(detectable_shift(ess, np.inf, n_tests, level))
    return f"{n_tests} numbers, smallest ESS {ess:.0f}: a shift of a mean by {shift:.2f} sd would be found"
