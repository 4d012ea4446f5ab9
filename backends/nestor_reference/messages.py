"""The coefficients of a gaussian outcome integrated out exactly, by messages over the tree.

With y less its prior mean, every coefficient has prior mean zero. The scales given, P and h are the precision
and the linear term that the rows below a node put on its coefficients: A/sigma^2 and b/sigma^2 at a leaf.
With L the diagonal of the standard deviations of beta_v about its parent (0 where an effect does not vary;
L is never inverted),

    M = I + L P L = R R'           T = R^-1 L P           g = R^-1 L h
    to the parent:  Q = P - T'T,   q = h - T'g            log marginal += -sum log diag R + g'g / 2

level by level up to the root, whose parent is zero and whose L holds the prior's standard deviations. gamma
rides along as further columns of h: G = sum g'g leaves it the precision A_zz/sigma^2 - G_zz and the linear
term b_z/sigma^2 - G_zy, and it is integrated out by the same step, last. On the way down gamma is drawn
first, g becomes g_y - g_z gamma, and from the root

    beta_v = beta_pa(v) + L R'^-1 (g - T beta_pa(v) + eps),   eps ~ Normal(0, I);   eps = 0 gives the means.

Sources: Papaspiliopoulos and Zanella (2017), arXiv 1704.06064; Papaspiliopoulos, Stumpf-Fetizon and Zanella
(2023), arXiv 2103.10875. Belief propagation on a tree is exact: Pearl (1988), chapter 7.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor_reference.gaussian import covariate_moments, require_gaussian, root_moments
from nestor_reference.leaves import leaf_statistics
from nestor_reference.triangular import cholesky, multiply, solve_lower, solve_upper

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor.problem import LevelDesign, Problem

    type FloatArray = NDArray[np.float64]

#: (shape) -> noise of that shape: zeros for means, standard normal numbers for draws.
Noise = Callable[[tuple[int, ...]], "NDArray[np.float64]"]

#: Numbers in the largest array of a pass: as fast as ten times more of them, in some 25 MB.
_LARGEST_ARRAY = 300_000
_LOG_TWO_PI = float(np.log(2 * np.pi))
#: In terms of the spread of y about its prior mean: rounding of 4 eps (spread / sigma)^2 per row is 1e-9.
_SMALLEST_SIGMA = 1e-3


@dataclass(frozen=True)
class Step:
    """What one level's coefficients became when they were integrated out; axes (..., draw, node).

    Parameters
    ----------
    L : ndarray, (p, B, n or 1)
        Standard deviations about the parent; 0 where an effect does not vary.
    R, T : ndarray, (p, p, B, n)
        As in the module's formulas.
    g : ndarray, (p, 1 + c, B, n)
        A column for y and one for each covariate.
    """

    L: FloatArray
    R: FloatArray
    T: FloatArray
    g: FloatArray

    @property
    def log_det(self) -> FloatArray:
        """Sum of log diag R over effects and nodes, (B,)."""
        return np.asarray(sum(np.log(self.R[j, j]).sum(axis=-1) for j in range(len(self.R))))


@dataclass(frozen=True)
class UpPass:
    """The marginal density at B sets of scales, and what drawing coefficients needs.

    Parameters
    ----------
    log_marginal : ndarray, (B,)
        log p(y | tau, sigma), all constants included.
    levels : tuple of Step
        From the first level to the leaves.
    root : Step
        The population's.
    gamma : Step or None
        None where there are no covariates.
    """

    log_marginal: FloatArray
    levels: tuple[Step, ...]
    root: Step
    gamma: Step | None


@dataclass(frozen=True)
class DownPass:
    """Coefficients given the scales, and their density there.

    Parameters
    ----------
    values : dict of str to ndarray, (B, *shape)
        beta, every beta_<level> and gamma, in canonical shapes.
    log_density : ndarray, (B,)
        Their log density given the outcome and the scales, with respect to the entries that are random.
    """

    values: dict[str, FloatArray]
    log_density: FloatArray


class MessagePassing:
    """Exact passes over the tree of one problem, for many sets of scales at once.

    Parameters
    ----------
    problem : Problem
        A gaussian outcome and Normal priors of population coefficients.

    Attributes
    ----------
    batch : int
        Sets of scales at once beyond which memory, not time, would grow.
    smallest_sigma : float
        Below it the log marginal density loses more than 1e-9 per row to rounding: it is a difference
        of terms as large as (y - prior mean)^2 / sigma^2, and differences lose what these have.

    Raises
    ------
    Unsupported
        If the problem is not of that kind.
    """

    def __init__(self, problem: Problem) -> None:
        require_gaussian(problem)
        self._problem = problem
        self._leaves = leaf_statistics(problem)
        self._root_mean, self._root_sd = root_moments(problem)
        self._gamma_mean, self._gamma_sd = covariate_moments(problem)
        # Nodes are sorted by parent and every parent has a child.
        self._starts = [
            np.searchsorted(level.parent, np.arange(level.n_parents)) for level in problem.levels
        ]
        spread = math.sqrt(self._leaves.cross[0, 0] / problem.n_rows)
        self.smallest_sigma = _SMALLEST_SIGMA * spread
        p, columns = self._leaves.b.shape[:2]
        self.batch = max(1, _LARGEST_ARRAY // (p * max(p, columns) * problem.levels[-1].n))

    def up(self, scales: Mapping[str, FloatArray]) -> UpPass:
        """Integrate all coefficients out.

        Parameters
        ----------
        scales : mapping of str to ndarray, (B, *shape)
            Every tau_<level>, and sigma, also where its value is known.
        """
        leaves, problem = self._leaves, self._problem
        sigma = scales["sigma"]
        precision = sigma[:, None] ** -2.0
        P, h = leaves.A[:, :, None] * precision, leaves.b[:, :, None] * precision
        # What is left of [y, Z]'W[y, Z] / sigma^2 when the coefficients of the tree are integrated out.
        left = leaves.cross[:, :, None] * precision[:, 0]
        steps = []
        for level, starts in zip(reversed(problem.levels), reversed(self._starts), strict=True):
            step = _step(_spread(problem, level, scales), P, h)
            left = left - _squares(step.g)
            P, h = (np.add.reduceat(m, starts, axis=-1) for m in _message(step, P, h))
            steps.append(step)
        root = _step(self._root_sd[:, None, None], P, h)
        left = left - _squares(root.g)
        log_marginal = (
            -0.5 * leaves.n_rows * (_LOG_TWO_PI + 2.0 * np.log(sigma))
            + 0.5 * leaves.sum_log_weights
            - sum(step.log_det for step in (root, *steps))
            - 0.5 * left[0, 0]
        )
        gamma = None
        if len(self._gamma_sd):
            gamma = _step(
                self._gamma_sd[:, None, None], left[1:, 1:, :, None], left[1:, :1, :, None]
            )
            log_marginal = log_marginal - gamma.log_det + 0.5 * _squares(gamma.g)[0, 0]
        return UpPass(log_marginal, tuple(reversed(steps)), root, gamma)

    def down(self, up: UpPass, noise: Noise) -> DownPass:
        """Draw all coefficients jointly, or compute their means, given what `up` kept."""
        problem = self._problem
        values: dict[str, FloatArray] = {}
        log_density = np.zeros(len(up.log_marginal))
        gamma: FloatArray | None = None
        if up.gamma is not None:
            gamma, log_density = _draw(up.gamma, up.gamma.g[:, 0], noise)
        residual = _without(up.root.g, gamma)
        above, found = _draw(up.root, residual, noise)
        log_density = log_density + found
        values["beta"] = above[..., 0].T + self._root_mean
        for level, step in zip(problem.levels, up.levels, strict=True):
            parent = above[..., level.parent]
            residual = _without(step.g, gamma) - multiply(step.T, parent[:, None])[:, 0]
            deviation, found = _draw(step, residual, noise)
            above = parent + deviation
            log_density = log_density + found
            values[f"beta_{level.name}"] = np.moveaxis(above, 0, -1) + self._root_mean
        if gamma is not None:
            values["gamma"] = gamma[..., 0].T + self._gamma_mean
        return DownPass(values, log_density)


def _spread(problem: Problem, level: LevelDesign, scales: Mapping[str, FloatArray]) -> FloatArray:
    """Standard deviations of a level's deviations, (p, B, n or 1); 0 where an effect does not vary."""
    p, varying = len(problem.effects), level.varying
    if len(varying) == 0:
        return np.zeros((p, 1, 1))
    tau = scales[f"tau_{level.name}"]
    by_node = level.scale_of_nodes(tau) if level.per_parent else tau[:, None, :]
    L = np.zeros((p, *by_node.shape[:2]))
    L[varying] = np.moveaxis(by_node, -1, 0)
    return L


def _step(L: FloatArray, P: FloatArray, h: FloatArray) -> Step:
    LP = L[:, None] * P
    M = LP * L[None]
    for j in range(len(M)):
        M[j, j] += 1.0
    R = cholesky(M)
    return Step(L, R, solve_lower(R, LP), solve_lower(R, L[:, None] * h))


def _message(step: Step, P: FloatArray, h: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Q = P - T'T and q = h - T'g, without the cancellation where the rows say much more than L.

    Since L Q = M^-1 L P, row j of Q is row j of M^-1 L P over L_j where L_j > 0; likewise q. Only among
    effects that do not vary is the difference taken.
    """
    W, w = solve_upper(step.R, step.T), solve_upper(step.R, step.g)
    varies = np.broadcast_to(step.L > 0, (len(P), *P.shape[2:]))
    safe = np.where(step.L > 0, step.L, 1.0)[:, None]
    PL = P * step.L[None]
    Q = np.where(varies[:, None], W / safe, P - multiply(PL, W))
    Q = np.where(varies[None, :] & ~varies[:, None], Q.swapaxes(0, 1), Q)
    q = np.where(varies[:, None], w / safe, h - multiply(PL, w))
    return 0.5 * (Q + Q.swapaxes(0, 1)), q


def _squares(g: FloatArray) -> FloatArray:
    """Sum of g'g over nodes, (1 + c, 1 + c, B)."""
    return multiply(g.swapaxes(0, 1), g).sum(axis=-1)


def _without(g: FloatArray, gamma: FloatArray | None) -> FloatArray:
    """g_y - g_z gamma, (p, B, n)."""
    return g[:, 0] if gamma is None else g[:, 0] - multiply(g[:, 1:], gamma[:, None])[:, 0]


def _draw(step: Step, residual: FloatArray, noise: Noise) -> tuple[FloatArray, FloatArray]:
    """L R'^-1 (residual + eps), (p, B, n), and its log density over the effects that vary, (B,)."""
    eps = noise(residual.shape)
    deviation = step.L * solve_upper(step.R, (residual + eps)[:, None])[:, 0]
    varies = step.L > 0
    log_scale = np.log(np.where(varies, step.L, 1.0))
    # diag R is 1 where an effect does not vary.
    each = np.where(varies, -0.5 * (eps**2 + _LOG_TWO_PI) - log_scale, 0.0)
    return deviation, each.sum(axis=(0, 2)) + step.log_det
