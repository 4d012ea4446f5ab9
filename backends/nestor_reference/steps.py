"""One level's coefficients: integrated out, drawn from noise, or mapped back to the noise that draws them.

See `nestor_reference.messages` for the formulas; arrays have their matrix axes first, then node and draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor_reference.rotations import angle, multiply, rotate, solve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.stats.arrays import FloatArray


#: (shape) -> noise of that shape: zeros for means, standard normal numbers for draws.
Noise = Callable[[tuple[int, ...]], "NDArray[np.float64]"]

_LOG_TWO_PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Step:
    """What one level's coefficients became when they were integrated out; axes (..., node, draw).

    Parameters
    ----------
    L : ndarray, (p, n or 1, B or 1)
        Standard deviations about the parent; 0 where an effect does not vary.
    R, T : ndarray, (p, p, n, B)
        As in the module's formulas.
    g : ndarray, (p, c + 1, n, B)
        A column for each covariate, then one for y.
    """

    L: FloatArray
    R: FloatArray
    T: FloatArray
    g: FloatArray

    @property
    def log_det(self) -> FloatArray:
        """Sum of log diag R over effects and nodes, (B,)."""
        return np.asarray(sum(np.log(self.R[j, j]).sum(axis=0) for j in range(len(self.R))))


def eliminate(L: FloatArray, A: FloatArray) -> tuple[Step, FloatArray]:
    """Rotate a level's rows, those of A from the last up so that A stays a triangle; A is used up."""
    p, m = len(L), A.shape[1]
    above = np.zeros((p, p + m, *A.shape[2:]))
    above[range(p), range(p)] = 1.0
    for i in reversed(range(p)):
        below, scaled = A[i, i:], L * A[i, :p]
        for j in range(i, p):
            cosine, sine = angle(above[j, j], scaled[j])
            rotate(cosine, sine, above[j, j:p], scaled[j:])
            rotate(cosine, sine, above[j, p + i :], below)
    return Step(L, above[:, :p], above[:, p : 2 * p], above[:, 2 * p :]), A


def known(A: FloatArray, value: FloatArray) -> FloatArray:
    """Rows of A, (r, m, ...), once the first coefficients have the values (p,): (r, m - p, ...)."""
    p = len(value)
    left = A[:, p:].copy()
    left[:, -1] -= np.einsum("rj...,j->r...", A[:, :p], value)
    return left


def _rest(step: Step, parent: FloatArray, gamma: FloatArray) -> FloatArray:
    """R u less its noise, (p, n, B)."""
    rest: FloatArray = step.g[:, -1] - multiply(step.T, parent)
    return rest - multiply(step.g[:, :-1], gamma) if len(gamma) else rest


def _log_density(step: Step, eps: FloatArray) -> FloatArray:
    """Log density of the coefficients that vary, drawn with the noise (p, n, B): (B,)."""
    varies = step.L > 0
    log_scale = np.log(np.where(varies, step.L, 1.0))
    # diag R is 1 where an effect does not vary.
    each = np.where(varies, -0.5 * (eps**2 + _LOG_TWO_PI) - log_scale, 0.0)
    return np.asarray(each.sum(axis=(0, 1)) + step.log_det)


def draw(
    step: Step, parent: FloatArray, gamma: FloatArray, noise: Noise
) -> tuple[FloatArray, FloatArray]:
    """Coefficients less their pivots, (p, n, B), and their log density where they vary, (B,)."""
    rest = _rest(step, parent, gamma)
    eps = noise(rest.shape)
    return parent + step.L * solve(step.R, rest + eps), _log_density(step, eps)


def whiten(
    step: Step, parent: FloatArray, own: FloatArray, gamma: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Noise with which `draw` returns `own`, 0 where an effect does not vary, and the log density."""
    varies = step.L > 0
    u = np.where(varies, (own - parent) / np.where(varies, step.L, 1.0), 0.0)
    eps = np.where(varies, multiply(step.R, u) - _rest(step, parent, gamma), 0.0)
    return eps, _log_density(step, eps)
