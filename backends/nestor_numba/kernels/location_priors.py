"""Priors of population coefficients, on the whole line, as coefficients of one formula.

With d = x - mu every one of nestor's families there has log p(x) = c0 + c1 d^2 + c2 log1p(c3 d^2).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nestor.model.priors import Prior
    from nestor_numba.kernels.values import Doubles, Number

#: Numbers of a prior: mu, c0 to c3.
WIDTH = 5


def _normal(mu: float, sigma: float) -> list[float]:
    constant = -0.5 * math.log(2.0 * math.pi) - math.log(sigma)
    return [mu, constant, -0.5 / (sigma * sigma), 0.0, 0.0]


def _student(nu: float, mu: float, sigma: float) -> list[float]:
    constant = (
        math.lgamma((nu + 1.0) / 2.0)
        - math.lgamma(nu / 2.0)
        - 0.5 * math.log(nu * math.pi)
        - math.log(sigma)
    )
    return [mu, constant, 0.0, -(nu + 1.0) / 2.0, 1.0 / (nu * sigma * sigma)]


_COEFFICIENTS: dict[str, Callable[..., list[float]]] = {
    "Normal": _normal,
    "StudentT": _student,
    "Cauchy": lambda mu, sigma: _student(1.0, mu, sigma),
}


def table(priors: Sequence[Prior]) -> NDArray[np.float64]:
    """Coefficients of priors, (n, WIDTH).

    Raises
    ------
    Unsupported
        For a family of priors that is not known here.
    """
    for prior in priors:
        if prior.family not in _COEFFICIENTS:
            raise Unsupported(
                f"numba does not have the prior {prior} of a population coefficient (not yet ours)."
            )
    rows = [_COEFFICIENTS[prior.family](*prior.args) for prior in priors]
    return np.array(rows, dtype=np.float64).reshape(-1, WIDTH)


def evaluate(prior: Doubles, x: Number) -> tuple[Number, Number]:
    """Write what evaluates one row of `table` at x: the log density and its derivative."""
    away = x - prior[0]
    square = prior[4] * away * away
    value = prior[1] + prior[2] * away * away + prior[3] * square.log1p()
    slope = 2.0 * away * (prior[2] + prior[3] * prior[4] / (1.0 + square))
    return value, slope
