"""Priors of scales as coefficients of one formula, so that a kernel evaluates all of them alike.

With u = log x, every family of positive support among nestor's has

    log p(x) = c0 + c1 u + c2 u^2 + c3 x + c4 x^2 + c5 / x + c6 log1p(c7 x^2),

and Uniform(a, b) is the constant c0 on its bounds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import Unsupported
from nestor_numba.compiling import njit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nestor.priors import Prior

#: Numbers of a prior: c0 to c7, its lower bound, and its upper bound (infinite where it has none).
WIDTH = 10
_LOG_TWO_PI = math.log(2.0 * math.pi)


def _half_student(nu: float, sigma: float) -> list[float]:
    constant = (
        math.log(2.0)
        + math.lgamma((nu + 1.0) / 2.0)
        - math.lgamma(nu / 2.0)
        - 0.5 * math.log(nu * math.pi)
        - math.log(sigma)
    )
    return [constant, 0, 0, 0, 0, 0, -(nu + 1.0) / 2.0, 1.0 / (nu * sigma * sigma)]


def _half_normal(sigma: float) -> list[float]:
    constant = math.log(2.0) - 0.5 * _LOG_TWO_PI - math.log(sigma)
    return [constant, 0, 0, 0, -0.5 / (sigma * sigma), 0, 0, 0]


def _gamma(shape: float, rate: float) -> list[float]:
    constant = shape * math.log(rate) - math.lgamma(shape)
    return [constant, shape - 1.0, 0, -rate, 0, 0, 0, 0]


def _inverse_gamma(shape: float, scale: float) -> list[float]:
    constant = shape * math.log(scale) - math.lgamma(shape)
    return [constant, -shape - 1.0, 0, 0, 0, -scale, 0, 0]


def _log_normal(mu: float, sigma: float) -> list[float]:
    precision = 1.0 / (sigma * sigma)
    constant = -0.5 * _LOG_TWO_PI - math.log(sigma) - 0.5 * mu * mu * precision
    return [constant, mu * precision - 1.0, -0.5 * precision, 0, 0, 0, 0, 0]


_COEFFICIENTS: dict[str, Callable[..., list[float]]] = {
    "HalfNormal": _half_normal,
    "HalfStudentT": _half_student,
    "HalfCauchy": lambda sigma: _half_student(1.0, sigma),
    "Exponential": lambda rate: [math.log(rate), 0, 0, -rate, 0, 0, 0, 0],
    "Gamma": _gamma,
    "InverseGamma": _inverse_gamma,
    "LogNormal": _log_normal,
    "Uniform": lambda lower, upper: [-math.log(upper - lower), 0, 0, 0, 0, 0, 0, 0],
}


def table(priors: Sequence[Prior]) -> NDArray[np.float64]:
    """Coefficients and bounds of priors, (n, WIDTH).

    Raises
    ------
    Unsupported
        For a family of priors that is not known here.
    """
    rows = []
    for prior in priors:
        if prior.family not in _COEFFICIENTS:
            raise Unsupported(f"numba does not have the prior {prior} of a scale (not yet ours).")
        rows.append([*_COEFFICIENTS[prior.family](*prior.args), *prior.bounds])
    return np.array(rows, dtype=np.float64).reshape(-1, WIDTH)


@njit
def constrain(z, low, high):
    """Return x of an unconstrained z, log |dx/dz|, dx/dz, and the derivative of log |dx/dz|."""
    if high == math.inf:
        x = math.exp(z)
        return low + x, z, x, 1.0
    # The smaller of two complementary shares keeps its digits.
    small = math.exp(-abs(z))
    share = 1.0 / (1.0 + small)
    width = high - low
    x = low + width * share if z > 0 else low + width * small * share
    slope = width * small * share * share
    jacobian = math.log(width) - abs(z) + 2.0 * math.log(share)
    return x, jacobian, slope, 1.0 - 2.0 * (share if z > 0 else small * share)


@njit
def evaluate(prior, x):
    """Return log p(x) and its derivative; `prior` are the coefficients of one row of `table`."""
    if prior[9] != math.inf:
        return prior[0], 0.0
    u = math.log(x)
    square = x * x
    value = (
        prior[0]
        + u * (prior[1] + u * prior[2])
        + prior[3] * x
        + prior[4] * square
        + prior[5] / x
        + prior[6] * math.log1p(prior[7] * square)
    )
    slope = (
        (prior[1] + 2.0 * prior[2] * u - prior[5] / x) / x
        + prior[3]
        + 2.0 * prior[4] * x
        + prior[6] * 2.0 * prior[7] * x / (1.0 + prior[7] * square)
    )
    return value, slope
