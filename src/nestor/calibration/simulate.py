"""Parameters from the priors and outcomes from the family, in NumPy, written from the model's definition.

Nothing here evaluates a density or knows an engine, so that calibration checks the engine's model and its
sampler against a generator that shares no code with either.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import SpecError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from nestor.data.problem import LevelDesign, Problem
    from nestor.engines.protocol import DType
    from nestor.model.priors import Prior
    from nestor.stats.arrays import FloatArray

    type Draw = Callable[..., FloatArray]


DATA, TIES, ENGINE, FIT = range(4)


def stream(seed: int, number: int, purpose: int) -> np.random.Generator:
    """Return the generator of a simulation (or of a fit) for one purpose."""
    return np.random.default_rng(_sequence(seed, number, purpose))


def engine_seed(seed: int, number: int, purpose: int) -> int:
    """Return the seed that a sampler is given, below 2^31."""
    return int(_sequence(seed, number, purpose).generate_state(1)[0] >> 1)


def _sequence(seed: int, number: int, purpose: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(number, purpose))


#: By family: parameters in their order and the shape, to independent draws. Not through SciPy, whose
#: parametrizations the densities are defined in.
_DRAW: Mapping[str, Draw] = {
    "Normal": lambda r, n, mu, sigma: mu + sigma * r.standard_normal(n),
    "StudentT": lambda r, n, nu, mu, sigma: mu + sigma * r.standard_t(nu, n),
    "Cauchy": lambda r, n, mu, sigma: mu + sigma * r.standard_cauchy(n),
    "HalfNormal": lambda r, n, sigma: sigma * np.abs(r.standard_normal(n)),
    "HalfStudentT": lambda r, n, nu, sigma: sigma * np.abs(r.standard_t(nu, n)),
    "HalfCauchy": lambda r, n, sigma: sigma * np.abs(r.standard_cauchy(n)),
    "Exponential": lambda r, n, rate: r.standard_exponential(n) / rate,
    "Gamma": lambda r, n, shape, rate: r.standard_gamma(shape, n) / rate,
    "InverseGamma": lambda r, n, shape, scale: scale / r.standard_gamma(shape, n),
    "LogNormal": lambda r, n, mu, sigma: np.exp(mu + sigma * r.standard_normal(n)),
    "Uniform": lambda r, n, lower, upper: lower + (upper - lower) * r.random(n),
}


@dataclass(frozen=True)
class Entry:
    """An entry of a canonical variable that has a prior of its own.

    Parameters
    ----------
    variable : str
        The variable.
    position : int or None
        Along its last dimension; None for a variable without dimensions.
    address : str
        Under which a description gives its prior.
    prior : Prior
        With its numbers.
    size : tuple of int
        Leading dimensions: one draw for each parent node, or ().
    """

    variable: str
    position: int | None
    address: str
    prior: Prior
    size: tuple[int, ...] = ()


def entries(problem: Problem) -> Iterator[Entry]:
    """All entries that have a prior, from the population down."""
    priors = problem.priors
    for j, effect in enumerate(problem.effects):
        if effect in priors.beta:
            yield Entry("beta", j, f"beta[{effect}]", priors.beta[effect])
    for j, (name, prior) in enumerate(priors.gamma.items()):
        yield Entry("gamma", j, f"gamma[{name}]", prior)
    for level in problem.levels:
        size = (level.n_parents,) if level.per_parent else ()
        for j, (effect, prior) in enumerate(priors.tau[level.name].items()):
            yield Entry(f"tau_{level.name}", j, f"tau_{level.name}[{effect}]", prior, size)
    for name, prior in priors.family.items():
        if not prior.is_fixed:
            yield Entry(name, None, name, prior)


def draw_parameters(problem: Problem, rng: np.random.Generator) -> dict[str, FloatArray]:
    """Draw parameters from their priors, and each node's coefficients from its parent's.

    Parameters
    ----------
    problem : Problem
        Its priors, as they are resolved.
    rng : Generator
        Source of randomness.

    Returns
    -------
    dict of str to ndarray
        Every canonical variable in its shape. An extreme prior may give values that are not finite.

    Raises
    ------
    Unsupported
        For a prior family from which there is no way to draw here.
    """
    values = {name: np.zeros(v.shape) for name, v in problem.variables.items()}
    with np.errstate(all="ignore"):
        for entry in entries(problem):
            drawn = _draw(entry.prior, rng, entry.size)
            if entry.position is None:
                values[entry.variable] = np.asarray(drawn)
            else:
                values[entry.variable][..., entry.position] = drawn
        above = values["beta"][None, :]
        for level in problem.levels:
            above = _children(level, above, values.get(f"tau_{level.name}"), rng)
            values[f"beta_{level.name}"] = above
    return values


def _draw(prior: Prior, rng: np.random.Generator, size: tuple[int, ...]) -> FloatArray:
    if prior.family not in _DRAW:
        raise Unsupported(f"nothing can be simulated from the prior {prior}: not yet ours.")
    return _DRAW[prior.family](rng, size, *prior.args)


def _children(
    level: LevelDesign, above: FloatArray, tau: FloatArray | None, rng: np.random.Generator
) -> FloatArray:
    """Coefficients of a level's nodes, (n, p): Normal about the parent's where the effect varies."""
    nodes = above[level.parent].copy()
    if tau is not None:
        noise = rng.standard_normal((level.n, len(level.varying)))
        nodes[:, level.varying] += noise * level.scale_of_nodes(tau)
    return nodes


def linear_predictor(problem: Problem, values: Mapping[str, FloatArray]) -> FloatArray:
    """Offset plus effects times their leaf's coefficients plus covariates times gamma, (N,)."""
    leaf = values[f"beta_{problem.levels[-1].name}"][problem.leaf]
    with np.errstate(all="ignore"):
        eta = (problem.X * leaf).sum(axis=1)
        if problem.spec.covariates:
            eta = eta + problem.Z @ values["gamma"]
        return eta if problem.offset is None else eta + problem.offset


def draw_outcome(
    problem: Problem, values: Mapping[str, FloatArray], rng: np.random.Generator
) -> FloatArray:
    """Draw an outcome for every row, (N,), in the order of `Problem.y`.

    Parameters
    ----------
    problem : Problem
        Design and family.
    values : mapping of str to ndarray
        Canonical variables; family parameters that are fixed come from the problem.
    rng : Generator
        Source of randomness.

    Raises
    ------
    Unsupported
        For an outcome family from which there is no way to draw here.
    """
    family = {
        name: prior.value if prior.is_fixed else values[name]
        for name, prior in problem.priors.family.items()
    }
    n, name = problem.n_rows, problem.spec.family
    with np.errstate(all="ignore"):
        if name == "gaussian":
            noise = rng.standard_normal(n)
        elif name == "student_t":
            noise = rng.standard_t(family["nu"], n)
        else:
            raise Unsupported(f"no outcome of the family {name!r} can be simulated: not yet ours.")
        precision = 1.0 if problem.weights is None else problem.weights
        return linear_predictor(problem, values) + family["sigma"] / np.sqrt(precision) * noise


#: Every engine sums squares of outcomes; up to here those of a billion rows are finite.
LARGEST: Mapping[DType, float] = {"float64": 1e145, "float32": 1e14}


def check_simulations(problem: Problem, seed: int, simulations: int, dtype: DType) -> None:
    """Refuse priors that generate what cannot be computed with in one simulation or more.

    Leaving such simulations out would bias the check: calibration holds over the whole prior.

    Raises
    ------
    SpecError
        Saying how many, and which prior to tighten.
    """
    blamed: Counter[str] = Counter()
    for s in range(simulations):
        if (entry := blame(problem, seed, s, LARGEST[dtype])) is not None:
            blamed[f"{entry.address} ~ {entry.prior}"] += 1
    if blamed:
        worst, _ = blamed.most_common(1)[0]
        raise SpecError(
            f"the priors generate numbers too extreme to compute with in {blamed.total()} of "
            f"{simulations} simulations (infinite, zero scales, or beyond {LARGEST[dtype]:g}). "
            f"Calibration holds over the whole prior, so none can be left out. Tighten {worst}, by a "
            "prior of your own, or calibrate around the data (around='posterior')."
        )


def blame(problem: Problem, seed: int, simulation: int, largest: float) -> Entry | None:
    """Return the entry whose prior spoils a simulation, or None if it can be computed with."""
    rng = stream(seed, simulation, DATA)
    values = draw_parameters(problem, rng)
    known = list(entries(problem))
    for entry in known:
        if _unusable(entry, _value(entry, values), largest):
            return entry
    eta = linear_predictor(problem, values)
    location = [e for e in known if e.variable not in problem.priors.family]
    if not _within(eta, largest):
        return _largest(location, values)
    if _within(draw_outcome(problem, values, rng), largest):
        return None
    family = [e for e in known if e.variable in problem.priors.family]
    heavy = [e for e in family if e.variable == "nu" and _value(e, values) < 1]
    return heavy[0] if heavy else _largest(family or location, values)


def _value(entry: Entry, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    array = values[entry.variable]
    return array if entry.position is None else array[..., entry.position]


def _unusable(entry: Entry, value: NDArray[np.float64], largest: float) -> bool:
    zero = entry.prior.is_positive and bool((value <= 0).any())
    # A density with infinitely many degrees of freedom is the normal one: large ones do no harm.
    bound = np.inf if entry.variable == "nu" else largest
    return zero or not _within(value, bound) or not bool(np.isfinite(value).all())


def _within(values: NDArray[np.float64], largest: float) -> bool:
    return bool((np.abs(values) <= largest).all())


def _largest(known: list[Entry], values: Mapping[str, NDArray[np.float64]]) -> Entry:
    return max(known, key=lambda entry: float(np.abs(_value(entry, values)).max()))
