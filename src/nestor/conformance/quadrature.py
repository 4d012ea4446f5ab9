"""Exact posteriors of small models by numerical integration, independent of any sampler and of the reference.

For ``y ~ 1 + (1 || g)`` the rows of a group depend on its coefficient b_g alone, so that

    p(beta, tau, phi | y)  is proportional to  p(beta) p(tau) p(phi) prod_g I_g(beta, tau, phi),
    I_g = integral of Normal(b; beta, tau) prod_{i in g} Family(y_i; b, phi) db,

with phi the family's parameters. All integrals are trapezoidal sums over even grids, in the logarithm for
positive parameters; for smooth functions that vanish at both ends their error falls faster than any power
of the spacing (Trefethen and Weideman 2014, SIAM Review 56(3)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.conformance.answers import PROBABILITIES, Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nestor.data.problem import Problem
    from nestor.model.priors import Prior
    from nestor.stats.arrays import FloatArray


#: Points of the grids: population coefficient, scales and family parameters, group coefficients.
N_BETA, N_SCALE, N_GROUP = 61, 31, 161
#: What is cut off at either end of a grid has less than this share of the density at its peak.
_NOTHING = 1e-10


@dataclass(frozen=True)
class Axis:
    """An even grid of one parameter.

    Parameters
    ----------
    u : ndarray, (n,)
        The grid, evenly spaced.
    is_log : bool
        Whether `u` is the parameter's logarithm.
    """

    u: FloatArray
    is_log: bool

    @property
    def x(self) -> FloatArray:
        """The parameter at the grid's points."""
        return np.exp(self.u) if self.is_log else self.u

    def log_prior(self, prior: Prior) -> FloatArray:
        """Log prior density with respect to `u`."""
        found: FloatArray = prior.scipy().logpdf(self.x) + (self.u if self.is_log else 0.0)
        return found

    def trimmed(self, density: FloatArray) -> Axis:
        """Return as many points over the range where the density is not nothing."""
        here = np.flatnonzero(density > _NOTHING * density.max())
        low, high = max(here[0] - 1, 0), min(here[-1] + 1, len(self.u) - 1)
        return Axis(np.linspace(self.u[low], self.u[high], len(self.u)), self.is_log)

    def answer(self, label: str, density: FloatArray) -> Answer:
        """Summarize a density on the grid, known up to a constant."""
        from scipy.integrate import cumulative_simpson

        weight = density / density.sum()
        mean = float(weight @ self.x)
        sd = float(np.sqrt(weight @ (self.x - mean) ** 2))
        below = cumulative_simpson(density, x=self.u, initial=0.0)
        below /= below[-1]
        at = [int(np.argmin(np.abs(below - p))) for p in PROBABILITIES]
        thresholds = tuple(float(self.x[i]) for i in at)
        return Answer(label, mean, sd, thresholds, tuple(float(below[i]) for i in at))


def integrate(problem: Problem, fineness: float = 1.0) -> tuple[Answer, ...]:
    """Integrate the posterior of ``y ~ 1 + (1 || g)``.

    Parameters
    ----------
    problem : Problem
        One level, one effect; gaussian or student_t, with any priors, weights and offset.
    fineness : float
        Factor of the numbers of grid points.

    Returns
    -------
    tuple of Answer
        One for each of the problem's scalars, in their order.
    """
    grids = _first_grids(problem, fineness)
    for _ in range(2):
        grids = {name: axis.trimmed(f) for (name, axis), f in _paired(grids, problem)}
    by_label = {n: axis.answer(n, f) for (n, axis), f in _paired(grids, problem)}
    (level,) = problem.levels
    names = ["beta", f"tau_{level.name}", *(f"group {g}" for g in range(level.n))]
    names += [name for name, prior in problem.priors.family.items() if not prior.is_fixed]
    labels = problem.scalars.labels
    answers = [by_label[name] for name in names]
    return tuple(
        Answer(label, a.mean, a.sd, a.thresholds, a.probabilities)
        for label, a in zip(labels, answers, strict=True)
    )


def _paired(
    grids: Mapping[str, Axis], problem: Problem
) -> list[tuple[tuple[str, Axis], FloatArray]]:
    densities = _marginals(problem, grids)
    return [((name, axis), densities[name]) for name, axis in grids.items()]


def _first_grids(problem: Problem, fineness: float) -> dict[str, Axis]:
    (level,) = problem.levels
    (beta,), (tau,) = problem.priors.beta.values(), problem.priors.tau[level.name].values()
    n_beta, n_scale, n_group = (round(fineness * n) for n in (N_BETA, N_SCALE, N_GROUP))
    low, high = beta.scipy().ppf(np.array([1e-8, 1 - 1e-8]))
    reach = float(np.ptp(problem.y))
    # Where there is next to no data, a group's coefficient is where its prior is.
    groups = np.linspace(
        min(low, problem.y.min() - reach), max(high, problem.y.max() + reach), n_group
    )
    grids = {"beta": Axis(np.linspace(low, high, n_beta), is_log=False)}
    grids |= {f"tau_{level.name}": _scale_axis(tau, n_scale)}
    grids |= {f"group {g}": Axis(groups, is_log=False) for g in range(level.n)}
    return grids | {
        name: _scale_axis(prior, n_scale)
        for name, prior in problem.priors.family.items()
        if not prior.is_fixed
    }


def _scale_axis(prior: Prior, n: int) -> Axis:
    low, high = np.log(prior.scipy().ppf(np.array([1e-6, 1 - 1e-7])))
    return Axis(np.linspace(low, high, n), is_log=True)


def _marginals(problem: Problem, grids: Mapping[str, Axis]) -> dict[str, FloatArray]:
    """Marginal posterior densities on each grid, up to constants."""
    (level,) = problem.levels
    tau_name = f"tau_{level.name}"
    beta, tau = grids["beta"], grids[tau_name]
    names = [n for n in grids if n not in ("beta", tau_name) and not n.startswith("group ")]
    rows = [_log_likelihood(problem, g, grids[f"group {g}"].x, grids) for g in range(level.n)]
    kernels = [_kernel(beta.x, tau.x, grids[f"group {g}"].x) for g in range(level.n)]
    integrals = [k @ r for k, r in zip(kernels, rows, strict=True)]
    prior = _log_priors(problem, grids, names)
    with np.errstate(divide="ignore"):
        joint = prior + sum(np.log(found) for found in integrals)
    joint = np.exp(joint - joint.max())
    found = {}
    for g in range(level.n):
        others = np.divide(joint, integrals[g], out=np.zeros_like(joint), where=integrals[g] > 0)
        found[f"group {g}"] = np.sum((kernels[g].T @ others) * rows[g], axis=1)
    shape = (len(beta.u), len(tau.u), *(len(grids[n].u) for n in names))
    whole = joint.reshape(shape)
    for axis, name in enumerate(["beta", tau_name, *names]):
        found[name] = whole.sum(axis=tuple(a for a in range(whole.ndim) if a != axis))
    return found


def _kernel(beta: FloatArray, tau: FloatArray, group: FloatArray) -> FloatArray:
    """Normal(b; beta, tau) up to a constant, (beta x tau, b)."""
    z = (group - beta[:, None, None]) / tau[:, None]
    found: FloatArray = np.exp(-0.5 * z**2) / tau[:, None]
    flat: FloatArray = found.reshape(-1, len(group)) * (group[1] - group[0])
    return flat


def _log_priors(problem: Problem, grids: Mapping[str, Axis], names: list[str]) -> FloatArray:
    """Log prior of (beta x tau, family parameters)."""
    (level,) = problem.levels
    (beta,), (tau,) = problem.priors.beta.values(), problem.priors.tau[level.name].values()
    first = grids["beta"].log_prior(beta)[:, None] + grids[f"tau_{level.name}"].log_prior(tau)
    second = np.zeros(1)
    for name in names:
        one = grids[name].log_prior(problem.priors.family[name])
        second = (second[:, None] + one).ravel()
    return first.reshape(-1, 1) + second


def _log_likelihood(
    problem: Problem, group: int, b: FloatArray, grids: Mapping[str, Axis]
) -> FloatArray:
    """Likelihood of a group's rows, up to a constant, (b, family parameters)."""
    from scipy import stats

    values = [
        grids[name].x if name in grids else np.array([prior.value])
        for name, prior in problem.priors.family.items()
    ]
    flat = [v.ravel() for v in np.meshgrid(*values, indexing="ij")]
    family = dict(zip(problem.priors.family, flat, strict=True))
    total = np.zeros((len(b), len(flat[0])))
    for i in np.flatnonzero(problem.leaf == group):
        weight = 1.0 if problem.weights is None else problem.weights[i]
        offset = 0.0 if problem.offset is None else problem.offset[i]
        scale = family["sigma"] / np.sqrt(weight)
        place = {"x": problem.y[i] - offset, "loc": b[:, None], "scale": scale}
        if problem.spec.family == "gaussian":
            total += stats.norm.logpdf(**place)
        else:
            total += stats.t.logpdf(df=family["nu"], **place)
    found: FloatArray = np.exp(total - total.max())
    return found
