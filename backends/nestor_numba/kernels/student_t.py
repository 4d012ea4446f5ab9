"""The normalizing constant of Student's t by its degrees of freedom, without differences of large numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nestor_numba.kernels.values import Number

#: Steps of the recurrence before the series, which then is exact to 2e-16.
_STEPS = 16
#: Coefficients of 1/x, 1/x^3, ... of log Gamma(x + 1/2) - log Gamma(x) - log(x) / 2, from Stirling's series
#: (DLMF 5.11.1, https://dlmf.nist.gov/5.11.E1).
_SERIES = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336, -31 / 18432)


def log_normalizer(nu: Number) -> tuple[Number, Number]:
    """Write log Gamma((nu + 1)/2) - log Gamma(nu/2) - log(nu/2)/2, and its derivative by nu.

    The t density at 0 is exp of it over sqrt(2 pi) sigma. With x = nu/2 the first is
    sum over i < n of log((x + i) / (x + i + 1/2)) + log((x + n) / x)/2 + the series at x + n.
    """
    x = 0.5 * nu
    top, slope = nu.code.real(1.0), nu.code.real(0.0)
    for i in range(_STEPS):
        here, later = x + float(i), x + (i + 0.5)
        top = top * (here / later)
        slope = slope + 0.5 / (here * later)
    far = x + float(_STEPS)
    inverse = 1.0 / far
    square = inverse * inverse
    series, change, power = nu.code.real(0.0), nu.code.real(0.0), inverse
    for k, coefficient in enumerate(_SERIES):
        series = series + coefficient * power
        change = change - (coefficient * (2 * k + 1)) * power * inverse
        power = power * square
    value = series + top.call("log") + 0.5 * (far / x).call("log")
    # d/dx log((x + n) / x) / 2 = -n / (2 x (x + n))
    return value, 0.5 * (change + slope - (0.5 * _STEPS) * inverse / x)
