"""The coefficients of a gaussian outcome integrated out exactly, by messages over the tree.

All is told by square roots: what the rows below a node say of its coefficients beta_v = m + delta_v is an
upper triangle A, (p + c + 1)^2, that stands for the factor exp(-|A (delta_v, epsilon, -1)|^2 / 2), epsilon
being gamma less the pivot g; m and g are any numbers near the coefficients. With delta_v = delta_pa + L u_v,
u_v ~ Normal(0, I) and L the standard deviations of a node about its parent (0 where an effect does not vary),
rotations of the rows of

    [ I      0        0 ]  u_v                    [ R   T    g_z    g_y ]
    [ A_b L  A_b  A_zy ]  delta_pa, epsilon, -1   [ 0   the message      ]

leave above u_v given the rest, R u_v + T delta_pa + g_z epsilon - g_y ~ Normal(0, I), and below the message,
another triangle, with log marginal += -sum log diag R. Triangles of siblings are put into one by rotations;
so are those of the root, whose parent is the prior mean, and last of gamma, which is one more node. The last
number that is left is the square root of what the marginal density has in its exponent. Nothing is inverted
and nothing subtracted but pivots, so that no scale is too small and no weight too large.

On the way down gamma is drawn first, and from the root, with eps ~ Normal(0, I), or 0 for the means,

    u_v = R^-1 (g_y - g_z epsilon - T delta_pa + eps),    beta_v = beta_pa(v) + L u_v.

Sources: Papaspiliopoulos and Zanella (2017), arXiv 1704.06064; Papaspiliopoulos, Stumpf-Fetizon and Zanella
(2023), arXiv 2103.10875; by square roots: Bierman (1977), "Factorization Methods for Discrete Sequential
Estimation", chapter 6. Belief propagation on a tree is exact: Pearl (1988), chapter 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor_reference.data import roots_of
from nestor_reference.gaussian import covariate_moments, require_gaussian, root_moments
from nestor_reference.rotations import insert
from nestor_reference.siblings import merge, rounds
from nestor_reference.steps import Noise, Step, draw, eliminate, known, whiten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nestor.data.problem import LevelDesign, Problem
    from nestor.stats.arrays import FloatArray


#: Numbers in the largest array of a pass: as fast as more of them, in some 25 MB.
_LARGEST_ARRAY = 450_000
_LOG_TWO_PI = float(np.log(2 * np.pi))


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
    gamma : Step
        Of no coefficients where there are no covariates.
    """

    log_marginal: FloatArray
    levels: tuple[Step, ...]
    root: Step
    gamma: Step


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

    Raises
    ------
    Unsupported
        If the problem is not of that kind.
    """

    def __init__(self, problem: Problem) -> None:
        require_gaussian(problem)
        self._problem = problem
        self._leaves = roots_of(problem)
        p = len(problem.effects)
        mean, self._root_sd = root_moments(problem)
        gamma_mean, self._gamma_sd = covariate_moments(problem)
        self._pivot, self._gamma_pivot = self._leaves.fit[:p], self._leaves.fit[p:]
        self._root_mean, self._gamma_mean = mean - self._pivot, gamma_mean - self._gamma_pivot
        self._rounds = [
            rounds(np.bincount(level.parent, minlength=level.n_parents)) for level in problem.levels
        ]
        q = self._leaves.A.shape[1]
        self.batch = max(1, _LARGEST_ARRAY // (p * q * problem.levels[-1].n))

    def up(self, scales: Mapping[str, FloatArray]) -> UpPass:
        """Integrate all coefficients out.

        Parameters
        ----------
        scales : mapping of str to ndarray, (B, *shape)
            Every tau_<level>, and sigma, also where its value is known.
        """
        leaves, problem, sigma = self._leaves, self._problem, scales["sigma"]
        A = leaves.A[..., None] / sigma
        steps = []
        for level, pairs in zip(reversed(problem.levels), reversed(self._rounds), strict=True):
            step, A = eliminate(_spread(problem, level, scales), A)
            A = merge(A, pairs)
            steps.append(step)
        root, A = eliminate(self._root_sd[:, None, None], A)
        left = leaves.remainder[..., None, None] / sigma
        for i, row in enumerate(known(A, self._root_mean)):
            insert(left, row, first=max(0, i - len(self._root_sd)))
        gamma, left = eliminate(self._gamma_sd[:, None, None], left)
        exponent = np.square(known(left, self._gamma_mean)[:, 0, 0]).sum(axis=0)
        log_marginal = (
            -leaves.n_rows * (0.5 * _LOG_TWO_PI + np.log(sigma))
            + 0.5 * leaves.sum_log_weights
            - sum(step.log_det for step in (root, gamma, *steps))
            - 0.5 * exponent
        )
        return UpPass(log_marginal, tuple(reversed(steps)), root, gamma)

    def down(self, up: UpPass, noise: Noise) -> DownPass:
        """Draw all coefficients jointly, or compute their means, given what `up` kept."""
        problem, values = self._problem, {}
        nothing = np.zeros((0, 1, len(up.log_marginal)))
        gamma, log_density = draw(up.gamma, self._gamma_mean[:, None, None], nothing, noise)
        above, found = draw(up.root, self._root_mean[:, None, None], gamma, noise)
        log_density = log_density + found
        values["beta"] = above[:, 0].T + self._pivot
        for level, step in zip(problem.levels, up.levels, strict=True):
            above, found = draw(step, above[:, level.parent], gamma, noise)
            log_density = log_density + found
            values[f"beta_{level.name}"] = above.T + self._pivot
        if len(gamma):
            values["gamma"] = gamma[:, 0].T + self._gamma_pivot
        return DownPass(values, log_density)

    def whiten(self, up: UpPass, values: Mapping[str, FloatArray]) -> DownPass:
        """Find the noise with which `down` returns given coefficients.

        If these are exact draws, it is independent standard normal numbers, whatever the scales.

        Parameters
        ----------
        up : UpPass
            Of B sets of scales.
        values : mapping of str to ndarray, (B, *shape)
            beta, every beta_<level> and gamma.

        Returns
        -------
        DownPass
            The noise in place of the coefficients, 0 where these are inherited or fixed; and the log
            density of the coefficients given the outcome and the scales.
        """
        problem, found = self._problem, {}
        nothing = np.zeros((0, 1, len(up.log_marginal)))
        own = nothing
        if problem.spec.covariates:
            own = (values["gamma"] - self._gamma_pivot).T[:, None]
        mean = self._gamma_mean[:, None, None]
        (found["gamma"], log_density), gamma = whiten(up.gamma, mean, own, nothing), own
        own = (values["beta"] - self._pivot).T[:, None]
        found["beta"], more = whiten(up.root, self._root_mean[:, None, None], own, gamma)
        log_density = log_density + more
        for level, step in zip(problem.levels, up.levels, strict=True):
            parent, name = own[:, level.parent], f"beta_{level.name}"
            own = (values[name] - self._pivot).T
            found[name], more = whiten(step, parent, own, gamma)
            log_density = log_density + more
        shapes = {n: values[n].shape for n in found if n in values}
        return DownPass({n: found[n].T.reshape(shape) for n, shape in shapes.items()}, log_density)


def _spread(problem: Problem, level: LevelDesign, scales: Mapping[str, FloatArray]) -> FloatArray:
    """Standard deviations of a level's deviations, (p, n or 1, B); 0 where an effect does not vary."""
    p, varying = len(problem.effects), level.varying
    if len(varying) == 0:
        return np.zeros((p, 1, 1))
    tau = scales[f"tau_{level.name}"]
    by_node = level.scale_of_nodes(tau) if level.per_parent else tau[:, None, :]
    L = np.zeros((p, *by_node.shape[1::-1]))
    L[varying] = by_node.T
    return L
