"""Logarithms of vectors, for which there is no instruction, and sums of many of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nestor_numba.kernels.emit import Variable

if TYPE_CHECKING:
    from nestor_numba.kernels.emit import Code
    from nestor_numba.kernels.values import Number

#: Numbers u whose product of 1 + u does not overflow where they are below 10^38.
_TOGETHER = 8
#: Of log(1 + f) = f - f^2/2 + s (f^2/2 + R), s = f / (2 + f), R a polynomial in s^2, on [sqrt(1/2), sqrt(2)],
#: by Remez, with an error below 2^-58: FreeBSD's msun, e_log.c (Sun Microsystems 1993).
_ODD = (
    6.666666666666735130e-01,
    2.857142874366239149e-01,
    1.818357216161805012e-01,
    1.479819860511658591e-01,
)
_EVEN = (3.999999999940941908e-01, 2.222219843214978396e-01, 1.531383769920937332e-01)
#: log 2 in two parts, the first of so few digits that multiples of it are exact.
_LOG2_HIGH, _LOG2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10


def log1p(u: Number) -> Number:
    """Write log(1 + u) of a vector of numbers of at least 0, to a few units in the last place."""
    code = u.code
    t = 1.0 + u
    # What the sum has rounded away, so that a small u keeps its digits.
    lost = (u - (t - 1.0)) / t
    mantissa = t.mantissa()
    above = code.splat(math.sqrt(2.0)).less(mantissa)
    f = code.blend(above, 0.5 * mantissa, mantissa) - 1.0
    k = t.exponent() + code.blend(above, 1.0, 0.0)
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    half = 0.5 * f * f
    R = z * _polynomial(w, _ODD) + w * _polynomial(w, _EVEN)
    rest = s * (half + R) + (k * _LOG2_LOW + lost)
    return k * _LOG2_HIGH - ((half - rest) - f)


def _polynomial(x: Number, coefficients: tuple[float, ...]) -> Number:
    value = x * coefficients[-1] + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        value = value * x + coefficient
    return value


class SumOfLogs:
    """Sum of log(1 + u) over vectors u of numbers of at least 0, with one logarithm for eight of them.

    (1 + u)(1 + v) - 1 = u + v + u v has no differences, so that small numbers keep their digits.
    """

    def __init__(self, code: Code) -> None:
        self._code = code
        self._joint = Variable(code, code.splat(0.0))
        self._sum = Variable(code, code.splat(0.0))
        self._kept = code.variable(0.0)

    def add(self, u: Number) -> None:
        """Take in a vector."""
        joint = self._joint.get()
        self._joint.set(joint + u + joint * u)
        self._kept.add(self._code.real(1.0))
        with self._code.when(self._code.real(_TOGETHER - 0.5).less(self._kept.get())):
            self._sum.add(log1p(self._joint.get()))
            self._joint.set(self._code.splat(0.0))
            self._kept.set(self._code.real(0.0))

    def total(self) -> Number:
        """The sum over all lanes."""
        return (self._sum.get() + log1p(self._joint.get())).total()
