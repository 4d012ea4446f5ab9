"""Step 0: log densities at shared points, against the reference, before any sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.surrogate_rows import mean_row_weight, rounding_of_sums, surrogate_rows
from nestor.engines import registry
from nestor.engines.formulation import Formulation
from nestor.errors.text import short_repr

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.protocol import CompiledModel, DType
    from nestor.model.priors import Prior

    type Point = dict[str, NDArray[np.float64]]

#: Largest |difference| / max(1, |lp|) that still counts as the same density. In float64 a sum of N terms
#: computed in two orders differs by about 1e-16 sqrt(N) relative. In float32 the outcome and the
#: parameters themselves are rounded to 6e-8 relative, which the residuals' squares amplify by the ratio of
#: the outcome's level to its residual; 1e-4 leaves room for a ratio of several hundred.
TOLERANCE: Mapping[DType, float] = {"float64": 1e-8, "float32": 1e-4}

N_POINTS = 50


@dataclass(frozen=True)
class DensityCheck:
    """One engine's log densities beside the reference's.

    Parameters
    ----------
    contender : str
        The engine's name.
    tolerance : float
        Bound on the relative difference.
    reference, found : tuple of float
        Log densities at the shared points.
    rounding : tuple of float
        What rounding of the point itself may add to each difference, absolute; empty for nothing.
    """

    contender: str
    tolerance: float
    reference: tuple[float, ...]
    found: tuple[float, ...]
    rounding: tuple[float, ...] = ()

    __repr__ = short_repr

    @property
    def differences(self) -> NDArray[np.float64]:
        """|found - reference| / max(1, |reference|) per point; 0 where both are the same infinity.

        What rounding of the point explains is not counted.
        """
        reference, found = np.array(self.reference), np.array(self.found)
        same = (reference == found) & np.isinf(reference)
        with np.errstate(invalid="ignore"):
            absolute = np.abs(found - reference)
            if self.rounding:
                absolute = np.maximum(absolute - np.array(self.rounding), 0.0)
            relative = absolute / np.maximum(1.0, np.abs(reference))
        relative = np.where(np.isnan(relative), np.inf, relative)
        return np.where(same, 0.0, relative)

    @property
    def largest(self) -> float:
        """The largest relative difference; infinity where only one side is finite."""
        return float(self.differences.max())

    @property
    def same(self) -> bool:
        """Whether every point agrees within the tolerance."""
        return self.largest <= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON document."""
        worst = int(self.differences.argmax())
        return {
            "contender": self.contender,
            "same": self.same,
            "points": len(self.reference),
            "max_relative_difference": _finite(self.largest),
            "tolerance": self.tolerance,
            "worst_point": worst,
            "worst_reference": _finite(self.reference[worst]),
            "worst_found": _finite(self.found[worst]),
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def density_points(problem: Problem, n: int = N_POINTS, seed: int = 0) -> list[Point]:
    """Make points at which all engines are evaluated: from the prior, near the posterior, dispersed.

    Parameters
    ----------
    problem : Problem
        Model and data; of one whose rows are not in memory, points are like those of the whole table and
        not the same ones.
    n : int
        Number of points, shared out among the three kinds in turn.
    seed : int
        Of the generator.

    Returns
    -------
    list of dict of str to ndarray
        Canonical variables, on the natural scale, inside every prior's support.
    """
    rng = np.random.default_rng([seed, 20_140_317])
    centre = _pooled_fit(problem)
    makers = (_from_prior, lambda p, r: _near(p, r, centre), _dispersed)
    return [makers[i % 3](problem, rng) for i in range(n)]


def compare_densities(
    contender: str,
    dtype: DType,
    reference: Sequence[float],
    found: Sequence[float],
    rounding: Sequence[float] = (),
) -> DensityCheck:
    """Set an engine's log densities beside the reference's at the same points."""
    tolerance = TOLERANCE[dtype]
    return DensityCheck(contender, tolerance, tuple(reference), tuple(found), tuple(rounding))


class ReferenceDensity:
    """The reference's log densities of a problem: joint, and marginal over the coefficients.

    Each contender is compared with the density that its formulation samples.

    Parameters
    ----------
    problem : Problem
        Model and data.
    n : int
        Number of points.

    Attributes
    ----------
    points : list of dict of str to ndarray
        Where densities are compared; all canonical variables.
    """

    def __init__(self, problem: Problem, n: int = N_POINTS) -> None:
        self._problem = problem
        self.points = density_points(problem, n)
        self._models: dict[bool, CompiledModel] = {}
        self._log_densities: dict[bool, list[float]] = {}

    def model(self, formulation: Formulation) -> CompiledModel:
        """Return the reference's model: the joint density, or the marginal one of the scales.

        Raises
        ------
        Unsupported
            If coefficients are to be marginalized that cannot be.
        """
        key = formulation.is_marginalized
        if key not in self._models:
            levels = self._problem.spec.level_names
            words = ["marginalized"] if key else []
            if not key and not self._problem.has_rows:
                words = ["statistics"]
            self._models[key] = registry.get("reference").backend.compile(
                self._problem,
                Formulation.parse(words, levels),
                sampler=None,
                device="cpu",
                dtype="float64",
            )
        return self._models[key]

    def whitened(self, values: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        """Return the noise of coefficients, (chain, draw, *shape); see `nestor.agreement.recovery`."""
        levels = self._problem.spec.level_names
        model: Any = self.model(Formulation.marginalized(levels))
        found: dict[str, NDArray[np.float64]] = model.whitened(values)
        return found

    def log_densities(self, formulation: Formulation) -> list[float]:
        """Return the log densities at the points; raises what `model` raises."""
        key = formulation.is_marginalized
        if key not in self._log_densities:
            model = self.model(formulation)
            self._log_densities[key] = [model.log_density(point) for point in self.points]
        return self._log_densities[key]

    def rounding(self, formulation: Formulation) -> list[float]:
        """Return how far two right densities may differ at each point, where sums replace the rows."""
        marginalized = formulation.is_marginalized
        return [rounding_of_sums(self._problem, p, marginalized=marginalized) for p in self.points]


def _from_prior(problem: Problem, rng: np.random.Generator) -> Point:
    """Draw parameters from their priors and nodes from their parents."""

    def scalar(prior: Prior, size: tuple[int, ...]) -> NDArray[np.float64]:
        return np.asarray(prior.scipy().rvs(size=size, random_state=rng), dtype=np.float64)

    return _assemble(problem, rng, scalar, spread=1.0)


def _dispersed(problem: Problem, rng: np.random.Generator) -> Point:
    """Put parameters anywhere between extreme quantiles of their priors, nodes far from their parents."""

    def scalar(prior: Prior, size: tuple[int, ...]) -> NDArray[np.float64]:
        q = rng.uniform(0.001, 0.999, size=size)
        return np.asarray(prior.scipy().ppf(q), dtype=np.float64)

    return _assemble(problem, rng, scalar, spread=4.0)


def _near(problem: Problem, rng: np.random.Generator, centre: Point) -> Point:
    """Put the population at the pooled least-squares fit, scales at small quantiles of their priors."""

    def scalar(prior: Prior, size: tuple[int, ...]) -> NDArray[np.float64]:
        q = rng.uniform(0.02, 0.4, size=size)
        return np.asarray(prior.scipy().ppf(q), dtype=np.float64)

    jitter = {
        name: value * np.exp(0.05 * rng.standard_normal(value.shape))
        for name, value in centre.items()
    }
    return _assemble(problem, rng, scalar, spread=1.0, given=_clipped(problem, jitter))


def _assemble(
    problem: Problem,
    rng: np.random.Generator,
    scalar: Any,
    spread: float,
    given: Mapping[str, NDArray[np.float64]] | None = None,
) -> Point:
    """Fill a point from the top down; `scalar` makes values for a prior, `given` overrides."""
    priors, given = problem.priors, given or {}
    unit = _unit(problem)

    def value(prior: Prior, size: tuple[int, ...] = ()) -> NDArray[np.float64]:
        with np.errstate(all="ignore"):  # SciPy's quantiles may overflow
            found = scalar(prior, size)
        return _moderate(prior, found, 1e-9 * unit, 1e9 * unit)

    point: Point = {"beta": np.zeros(len(problem.effects))}
    for j, effect in enumerate(problem.effects):
        if effect in priors.beta:
            point["beta"][j] = value(priors.beta[effect])
    if priors.gamma:
        point["gamma"] = np.array([value(prior) for prior in priors.gamma.values()])
    for name, prior in priors.family.items():
        if not prior.is_fixed:
            # From nu = 1e4 on, the t density's gamma functions cancel to fewer digits than are compared.
            point[name] = (
                _moderate(prior, scalar(prior, ()), 0.01, 1e4) if name == "nu" else value(prior)
            )
    point |= {name: value for name, value in given.items() if name in point}
    above = point["beta"][np.newaxis, :]
    for level in problem.levels:
        nodes = above[level.parent].copy()
        if len(level.varying):
            by_effect = priors.tau[level.name].values()
            size = (level.n_parents,) if level.per_parent else ()
            tau = np.stack([value(prior, size) for prior in by_effect], axis=-1)
            point[f"tau_{level.name}"] = tau
            noise = rng.standard_normal((level.n, len(level.varying)))
            nodes[:, level.varying] += spread * noise * level.scale_of_nodes(tau)
        point[f"beta_{level.name}"] = above = nodes
    return point


def _moderate(
    prior: Prior, values: NDArray[np.float64], smallest: float, largest: float
) -> NDArray[np.float64]:
    """Keep values in a range whose squared ratios are finite; an InverseGamma(0.001, 0.001) has none."""
    low, high = prior.bounds
    if math.isfinite(high):
        return values
    return np.clip(values, smallest if low == 0 else -largest, largest)


def _unit(problem: Problem) -> float:
    """How large outcomes are: the largest or, where rows are not in memory, their root mean square."""
    if problem.has_rows:
        return float(np.abs(problem.y).max()) or 1.0
    return _root_mean_square(problem, surrogate_rows(problem).y) or 1.0


def _root_mean_square(problem: Problem, values: NDArray[np.float64]) -> float:
    """Root mean square of rows that are not in memory, from their surrogate rows."""
    return math.sqrt(float(values @ values) / problem.n_rows / mean_row_weight(problem))


def _pooled_fit(problem: Problem) -> Point:
    """Least squares without groups: population, gamma and the residuals' standard deviation."""
    rows = surrogate_rows(problem)
    design = np.hstack([rows.X[:, problem.population_mask], rows.Z])
    target = rows.y if rows.offset is None else rows.y - rows.offset
    found, *_ = np.linalg.lstsq(design, target, rcond=None)
    beta = np.zeros(len(problem.effects))
    n_population = int(problem.population_mask.sum())
    beta[problem.population_mask] = found[:n_population]
    residual = target - design @ found
    if problem.has_rows:
        sigma, largest = float(residual.std()), float(np.abs(target).max())
    else:
        sigma, largest = _root_mean_square(problem, residual), _unit(problem)
    return {
        "beta": beta,
        "gamma": found[n_population:],
        "sigma": np.asarray(max(sigma, 1e-8 * (1.0 + largest))),
    }


def _clipped(problem: Problem, values: Mapping[str, NDArray[np.float64]]) -> Point:
    """Move values into their priors' supports."""
    priors = problem.priors
    by_name: dict[str, list[Prior | None]] = {
        "beta": [priors.beta.get(effect) for effect in problem.effects],
        "gamma": list(priors.gamma.values()),
        "sigma": [priors.family.get("sigma")],
    }
    found: Point = {}
    for name, value in values.items():
        flat = [_inside(float(v), p) for v, p in zip(value.ravel(), by_name[name], strict=True)]
        found[name] = np.array(flat).reshape(value.shape)
    return found


def _inside(value: float, prior: Prior | None) -> float:
    if prior is None:
        return value
    low, high = prior.bounds
    if low < value < high:
        return value
    return float(prior.scipy().ppf(0.5)) if not prior.is_fixed else value
