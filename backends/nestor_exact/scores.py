"""Half-Cauchy scores: a coordinate in which a scale's posterior has tails no heavier than a normal's.

The log of a scale has an exponential left tail wherever a scale of zero is plausible (its density in tau is
flat there), and an exponential right tail under a half-Cauchy prior; no normal or t distribution follows one.
With u = log G(theta), G the quantile function of the half-Cauchy distribution at Phi(theta),

    G(theta) = tan(pi Phi(theta) / 2),        log G(-theta) = -log G(theta),

tails exp(-|u|) become exp(-theta^2 / 2), and near theta = 0 the map is close to a straight line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nestor.stats.arrays import FloatArray


_HALF_PI = np.pi / 2
#: Below this angle its tangent is the angle itself, in double precision.
_SMALL = 1e-9


def from_scores(theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return log G(theta) and the log of its derivative."""
    from scipy.special import log_ndtr

    left = -np.abs(theta)
    log_tail = log_ndtr(left)
    angle = _HALF_PI * np.exp(log_tail)
    safe = np.maximum(angle, _SMALL)
    small = angle < _SMALL
    # Both only where the angle is not too small for them; there tan a = a and sin 2a = 2a.
    log_tan = np.where(small, np.log(_HALF_PI) + log_tail, np.log(np.tan(safe)))
    log_sin = np.where(small, np.log(np.pi) + log_tail, np.log(np.sin(2 * safe)))
    slope = np.log(np.pi) - 0.5 * (np.log(2 * np.pi) + theta**2) - log_sin
    return -np.sign(theta) * log_tan, slope


def to_scores(u: FloatArray) -> FloatArray:
    """Theta of u = log G(theta)."""
    from scipy.special import ndtri_exp

    log_tan = -np.abs(u)
    log_angle = np.where(log_tan < np.log(_SMALL), log_tan, np.log(np.arctan(np.exp(log_tan))))
    return np.asarray(-np.sign(u) * ndtri_exp(log_angle - np.log(_HALF_PI)))
