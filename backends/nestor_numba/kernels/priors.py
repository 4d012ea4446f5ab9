"""Priors of scales as coefficients of one formula, so that a kernel evaluates all of them alike.

With u = log x, every family of positive support among nestor's has

    log p(x) = c0 + c1 u + c2 u^2 + c3 x + c4 x^2 + c5 / x + c6 log1p(c7 x^2),

and Uniform(a, b) is the constant c0 on its bounds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nestor.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nestor.model.priors import Prior
    from nestor_numba.kernels.emit import Code
    from nestor_numba.kernels.values import Doubles, Number

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


class Evaluated(NamedTuple):
    """A scale and its prior at a point z of the unconstrained space.

    Parameters
    ----------
    x, slope : Number
        The scale, and dx/dz.
    log_density, derivative : Number
        log p(x) + log |dx/dz|, and its derivative by z.
    """

    x: Number
    slope: Number
    log_density: Number
    derivative: Number


def evaluate(code: Code, prior: Doubles, z: Number) -> Evaluated:
    """Write what evaluates one row of `table` at z."""
    low, high = prior[8], prior[9]
    x, slope = code.variable(0.0), code.variable(0.0)
    log_density, derivative = code.variable(prior[0]), code.variable(0.0)
    bounded = high.less(math.inf)
    with code.when(bounded):
        # The smaller of two complementary shares keeps its digits.
        size = z.call("fabs")
        small = (0.0 - size).call("exp")
        share = 1.0 / (1.0 + small)
        right = code.real(0.0).less(z)
        own = code.select(right, share, small * share)
        width = high - low
        x.set(low + width * own)
        slope.set(width * small * share * share)
        log_density.add(width.call("log") - size + 2.0 * share.call("log"))
        derivative.set(1.0 - 2.0 * own)
    with code.when(code.builder.not_(bounded)):
        value = z.call("exp")
        x.set(value)
        slope.set(value)
        c = [prior[i] for i in range(8)]
        square = c[7] * value * value
        log_density.add(
            z * (c[1] + 1.0 + z * c[2])
            + c[3] * value
            + c[4] * value * value
            + c[5] / value
            + c[6] * square.log1p()
        )
        derivative.set(
            c[1]
            + 1.0
            + 2.0 * c[2] * z
            + c[3] * value
            + 2.0 * c[4] * value * value
            - c[5] / value
            + 2.0 * c[6] * square / (1.0 + square)
        )
    return Evaluated(x.get(), slope.get(), log_density.get(), derivative.get())
