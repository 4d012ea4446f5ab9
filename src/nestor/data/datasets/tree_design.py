"""The design of a simulated tree: arguments checked and completed, and the matching formula."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from nestor.data.datasets.outcomes import OUTCOMES
from nestor.errors import DataError
from nestor.errors.arguments import flag, number, numbers, one_of, shown, whole
from nestor.model.terms.parse import MOST_LEVELS, MOST_TERMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from nestor.stats.arrays import FloatArray

_DEFAULTS: Mapping[str, float] = {"sigma": 1.0, "nu": 4.0, "alpha": 2.0, "phi": 10.0}
_RESERVED = ("chain", "draw", "effect", "effect_2", "covariate", "row", "y", "offset")
_EXTRAS = ("weight", "trials", "exposure")
_DOUBLE = 8


@dataclass(frozen=True, eq=False)
class TreeDesign:
    """The checked arguments of a simulation: depth K levels, p effects, c covariates.

    Parameters
    ----------
    levels, branching : tuple of str, tuple of int, (K,)
    effects : tuple of str, (p,)
    varying : ndarray of bool, (K, p)
    scale : str
    correlation : float
    beta : ndarray, (p,)
    tau : ndarray, (K, p)
    gamma : ndarray, (c,)
    """

    levels: tuple[str, ...]
    branching: tuple[int, ...]
    effects: tuple[str, ...]
    varying: NDArray[np.bool_]
    scale: str
    correlation: float
    beta: FloatArray
    tau: FloatArray
    gamma: FloatArray

    def is_correlated(self, level: int) -> bool:
        """Whether the effects of a level (0 is the first) are correlated."""
        return self.correlation != 0.0 and int(self.varying[level].sum()) > 1

    def formula(self, *, offset: bool) -> str:
        """Return the lme4-style formula; levels with different effects get a term each."""
        fixed = [_constant(self.effects), *(e for e in self.effects if e != "Intercept")]
        fixed += [f"z{j + 1}" for j in range(len(self.gamma))]
        fixed += ["offset(offset)"] if offset else []
        inner = [self._inner(k) for k in range(len(self.levels))]
        if len(set(inner)) == 1:
            terms = [f"({inner[0]} {'/'.join(self.levels)})"]
        else:
            paths = [":".join(self.levels[: k + 1]) for k in range(len(self.levels))]
            terms = [f"({what} {path})" for what, path in zip(inner, paths, strict=True)]
        return f"y ~ {' + '.join([*fixed, *terms])}"

    def _inner(self, level: int) -> str:
        effects = [e for e, v in zip(self.effects, self.varying[level], strict=True) if v]
        terms = [_constant(effects), *(e for e in effects if e != "Intercept")]
        return f"{' + '.join(terms)} {'|' if self.is_correlated(level) else '||'}"


def tree_levels(
    depth: int | None, branching: int | Sequence[int], levels: Sequence[str] | None
) -> dict[str, int]:
    """Return the branching by level's name, from the top down; their lengths must agree."""
    one = isinstance(branching, int | np.integer)
    counts: list[Any] | None = None if one else _entries("branching", branching)
    names = None if levels is None else _entries("levels", levels)
    known = [len(given) for given in (counts, names) if given is not None]
    if depth is None:
        depth = known[0] if known else 2
    depth = whole("depth", depth, least=1, most=MOST_LEVELS, error=DataError)
    counts = [branching] * depth if counts is None else counts
    names = [f"level{k + 1}" for k in range(depth)] if names is None else names
    for what, given in (("branching", counts), ("levels", names)):
        if len(given) != depth:
            raise DataError(
                f"{what} must have one entry for each of {depth} levels, not {shown(given)}."
            )
    for name in names:
        _check_level_name(name, names)
    return {
        name: whole("branching", count, least=1, error=DataError)
        for name, count in zip(names, counts, strict=True)
    }


def tree_design(
    levels: Mapping[str, int],
    *,
    slopes: int,
    intercept: bool,
    covariates: int,
    varying: ArrayLike | None,
    scale: str,
    correlation: float,
    beta: ArrayLike,
    tau: ArrayLike,
    gamma: ArrayLike | None,
) -> TreeDesign:
    """Check and complete the arguments of `simulate_tree` that describe its coefficients."""
    n_slopes = whole("slopes", slopes, least=0, most=MOST_TERMS, error=DataError)
    effects = tuple(f"x{j + 1}" for j in range(n_slopes))
    if flag("intercept", intercept, error=DataError):
        effects = ("Intercept", *effects)
    if not effects:
        raise DataError("slopes must be at least 1 where intercept is False: no effect is left.")
    n_covariates = whole("covariates", covariates, least=0, most=MOST_TERMS, error=DataError)
    if gamma is not None and not n_covariates:
        raise DataError("gamma was given, but covariates is 0.")
    mask = _mask(varying, (len(levels), len(effects)))
    return TreeDesign(
        levels=tuple(levels),
        branching=tuple(levels.values()),
        effects=effects,
        varying=mask,
        scale=one_of("scale", scale, ("level", "parent"), error=DataError),
        correlation=_correlation(correlation, int(mask.sum(axis=1).max())),
        beta=numbers("beta", beta, (len(effects),), error=DataError),
        tau=numbers("tau", tau, (len(levels), len(effects)), positive=True, error=DataError),
        gamma=numbers("gamma", 0.5 if gamma is None else gamma, (n_covariates,), error=DataError),
    )


def family_parameters(
    family: str, used: Mapping[str, Any], given: Mapping[str, float | None]
) -> tuple[dict[str, int], dict[str, float]]:
    """Return the extra columns (with the largest number of trials) and the family's parameters."""
    outcome = OUTCOMES[one_of("family", family, tuple(OUTCOMES), error=DataError)]
    for name, value in given.items():
        if value is not None and name not in outcome.parameters:
            raise DataError(f"{name} was given, but the family {family} has no such parameter.")
    parameters = {}
    for name in outcome.parameters:
        value = given[name]
        parameters[name] = number(
            name, _DEFAULTS[name] if value is None else value, above=0.0, error=DataError
        )
    wanted = {name: value for name, value in used.items() if name not in ("trials", "offset")}
    extras = [
        name for name, value in wanted.items() if flag(_argument(name), value, error=DataError)
    ]
    if family == "binomial" or used["trials"] is not None:
        extras.append("trials")
    for name in extras:
        if name != outcome.extra:
            raise DataError(f"{_argument(name)} cannot be used with the family {family}.")
    if flag("offset", used["offset"], error=DataError):
        extras.append("offset")
    most = (
        10 if used["trials"] is None else whole("trials", used["trials"], least=1, error=DataError)
    )
    return dict.fromkeys(extras, most), parameters


def generator(seed: int) -> np.random.Generator:
    """Return the generator of a seed, a whole number of at least 0."""
    return np.random.default_rng(whole("seed", seed, least=0, error=DataError))


@dataclass(frozen=True, eq=False)
class Simulation:
    """The checked arguments of `simulate_tree`, and the sizes that follow from them.

    Parameters
    ----------
    plan : TreeDesign
        Tree and coefficients.
    extras : dict of str to int
        Extra columns, with the largest number of trials.
    parameters : dict of str to float
        The family's.
    rows : int
        In all.
    imbalance : float
        Of children and rows.
    """

    plan: TreeDesign
    extras: dict[str, int]
    parameters: dict[str, float]
    rows: int
    imbalance: float

    @property
    def nodes(self) -> int:
        """Number of nodes of all levels."""
        branching = self.plan.branching
        return sum(math.prod(branching[: k + 1]) for k in range(len(branching)))


def check_simulation(given: Mapping[str, Any]) -> Simulation:
    """Check all arguments of `simulate_tree`, by name, without allocating anything large.

    Raises
    ------
    DataError
        If an argument is wrong, or the table would not fit into this machine's memory.
    """
    coefficients = (
        "slopes", "intercept", "covariates", "varying", "scale", "correlation", "beta", "tau", "gamma",
    )  # fmt: skip
    levels = tree_levels(given["depth"], given["branching"], given["levels"])
    plan = tree_design(levels, **{name: given[name] for name in coefficients})
    used = {"weight": given["weights"]} | {n: given[n] for n in ("exposure", "offset", "trials")}
    extras, parameters = family_parameters(
        given["family"], used, {name: given[name] for name in _DEFAULTS}
    )
    for name in ("shuffle", "reuse_labels"):
        flag(name, given[name], error=DataError)
    whole("seed", given["seed"], least=0, error=DataError)
    rows, skew = row_count(
        plan.branching, given["rows"], given["rows_per_leaf"], given["imbalance"]
    )
    found = Simulation(plan, extras, parameters, rows, skew)
    refuse_size(rows, found.nodes, len(levels) + len(plan.effects) + len(plan.gamma) + 1)
    if rows < (leaves := math.prod(plan.branching)):
        raise DataError(f"rows must be at least the number of leaves, {leaves:,}, not {rows:,}.")
    return found


def refuse_size(rows: int, nodes: int, columns: int) -> None:
    """Refuse a table that this machine's memory cannot hold, before any of it is made.

    Parameters
    ----------
    rows, nodes : int
        Of the table, and of all levels together.
    columns : int
        Numbers of a row: levels, predictors and the outcome.

    Raises
    ------
    DataError
        If the numbers alone take more than there is.
    """
    needed = _DOUBLE * columns * max(rows, nodes)
    memory = psutil.virtual_memory().total
    if needed > memory:
        raise DataError(
            f"{rows:.4g} rows and {nodes:.4g} nodes are too many for this machine: their numbers alone take "
            f"{needed / 10**9:.4g} GB, and it has {memory / 10**9:,.0f} GB. Make fewer: rows, rows_per_leaf, "
            "branching, depth or leaves."
        )


def row_count(
    branching: Sequence[int], rows: int | None, rows_per_leaf: int | None, imbalance: float
) -> tuple[int, float]:
    """Return the number of rows in all, and the imbalance."""
    if rows is not None and rows_per_leaf is not None:
        raise DataError("rows and rows_per_leaf were both given; give one.")
    skew = number("imbalance", imbalance, least=0.0, error=DataError)
    if rows is not None:
        return whole("rows", rows, least=1, error=DataError), skew
    per_leaf = (
        10
        if rows_per_leaf is None
        else whole("rows_per_leaf", rows_per_leaf, least=1, error=DataError)
    )
    return math.prod(branching) * per_leaf, skew


def _entries(name: str, value: Any) -> list[Any]:
    if not isinstance(value, str):
        with suppress(TypeError):  # also an array of no dimension
            return list(value)
    raise DataError(f"{name} must be a sequence, not {shown(value)}.")


def _constant(effects: Sequence[str]) -> str:
    return "1" if "Intercept" in effects else "0"


def _argument(column: str) -> str:
    return "weights" if column == "weight" else column


def _check_level_name(name: str, names: Sequence[str]) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise DataError(f"levels must be names such as 'county', not {shown(name)}.")
    if names.count(name) > 1:
        raise DataError(f"levels names {name!r} twice.")
    predictor = name[0] in "xz" and name[1:].isdigit()
    if predictor or name in (*_RESERVED, *_EXTRAS):
        raise DataError(f"levels may not contain {name!r}: the table or the draws use this name.")


def _mask(varying: ArrayLike | None, shape: tuple[int, int]) -> NDArray[np.bool_]:
    mask = np.ones(shape, dtype=bool) if varying is None else np.asarray(varying)
    if mask.dtype != np.bool_ or mask.shape != shape:
        raise DataError(f"varying must be booleans of shape {shape} (levels, effects).")
    if not mask.any(axis=1).all() or not mask.any(axis=0).all():
        raise DataError("varying must have a True for every level and for every effect.")
    return mask


def _correlation(value: float, most_effects: int) -> float:
    correlation = number("correlation", value, error=DataError)
    if correlation and most_effects < 2:
        raise DataError("correlation was given, but no level has two effects that vary.")
    lowest = -1.0 / max(most_effects - 1, 1)
    if not lowest < correlation < 1.0:
        raise DataError(f"correlation must lie between {lowest:g} and 1, not {correlation:g}.")
    return correlation
