"""Priors with numbers: what the user gave, and automatic scales from the data for the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Self

import numpy as np

from nestor.errors import DataError, display
from nestor.errors.text import short_repr
from nestor.model.families import family
from nestor.model.names import INTERCEPT
from nestor.model.priors import Prior

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from nestor.model.spec import ModelSpec
    from nestor.stats.arrays import FloatArray


@dataclass(frozen=True)
class PriorBlock:
    """Entries of a vector whose priors are of one family, so that a backend declares them at once.

    Parameters
    ----------
    family : str
        The prior family.
    positions : tuple of int
        Positions of the entries in the vector.
    args : tuple of ndarray, each (len(positions),)
        The family's parameters in its order, float64.
    """

    family: str
    positions: tuple[int, ...]
    args: tuple[FloatArray, ...]

    __repr__ = short_repr


@dataclass(frozen=True)
class ResolvedPriors:
    """Every prior of a problem, with its numbers.

    Parameters
    ----------
    beta : mapping of effect to Prior
        Population coefficients; effects whose root is fixed at zero are absent.
    tau : mapping of level to mapping of effect to Prior
        Group-level standard deviations of the effects that vary at each level.
    gamma : mapping of covariate to Prior
        Coefficients that do not vary.
    family : mapping of parameter to Prior
        The outcome family's parameters; a known value is a fixed prior.
    automatic : frozenset of str
        Addresses whose prior came from the data.
    effects : tuple of str
        The problem's effects in order; empty until the priors belong to a problem.
    scales : mapping of level to int
        How many standard deviations each effect of a level has: 1, or the number of parents.
    """

    beta: Mapping[str, Prior]
    tau: Mapping[str, Mapping[str, Prior]]
    gamma: Mapping[str, Prior]
    family: Mapping[str, Prior]
    automatic: frozenset[str]
    effects: tuple[str, ...] = ()
    scales: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        n = len(self.by_address())
        return f"ResolvedPriors({n:,} priors, {len(self.automatic):,} of them from the data)"

    def _repr_html_(self) -> str:
        return display.html(self)

    def by_address(self) -> dict[str, Prior]:
        """Return all priors keyed by their most specific address."""
        found = {f"beta[{effect}]": prior for effect, prior in self.beta.items()}
        for level, priors in self.tau.items():
            found |= {f"tau_{level}[{effect}]": prior for effect, prior in priors.items()}
        found |= {f"gamma[{name}]": prior for name, prior in self.gamma.items()}
        return found | dict(self.family)

    def entries(self) -> Iterator[tuple[str, NDArray[np.intp], Prior]]:
        """Go through the priors of a problem; parameters with known values are left out.

        Yields
        ------
        variable : str
            One of `Problem.variables`: beta, gamma, tau_<level> or a parameter of the family.
        positions : ndarray of intp
            Which entries of the variable, flattened in C order, have this prior, each independently.
        prior : Prior
            Never a fixed one.
        """
        for effect, prior in self.beta.items():
            yield "beta", np.array([self.effects.index(effect)]), prior
        for level, by_effect in self.tau.items():
            for j, prior in enumerate(by_effect.values()):
                yield f"tau_{level}", j + len(by_effect) * np.arange(self.scales[level]), prior
        for j, prior in enumerate(self.gamma.values()):
            yield "gamma", np.array([j]), prior
        for name, prior in self.family.items():
            if not prior.is_fixed:
                yield name, np.array([0]), prior


def prior_blocks(priors: Mapping[str, Prior]) -> tuple[PriorBlock, ...]:
    """Group the priors of a vector's entries, in the mapping's order, by family."""
    positions: dict[str, list[int]] = {}
    ordered = list(priors.values())
    for i, prior in enumerate(ordered):
        positions.setdefault(prior.family, []).append(i)
    return tuple(
        PriorBlock(
            name,
            tuple(where),
            tuple(
                np.array(column) for column in zip(*(ordered[i].args for i in where), strict=True)
            ),
        )
        for name, where in positions.items()
    )


@dataclass(frozen=True)
class ColumnSummary:
    """A column's mean, population sd, least and largest value, from which automatic priors are made."""

    mean: float
    sd: float
    low: float
    high: float

    @classmethod
    def of(cls, values: FloatArray) -> Self:
        """Summarize a column, (N,); a number beyond double precision becomes infinite or zero."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            sd = float(values.std())
            return cls(float(values.mean()), sd, float(values.min()), float(values.max()))


def resolve_priors(
    spec: ModelSpec,
    y: FloatArray,
    X: FloatArray,
    Z: FloatArray,
    offset: FloatArray | None,
) -> ResolvedPriors:
    """Give every parameter its prior, automatic ones from all rows: see `resolve_from_summaries`."""
    columns = dict(zip(spec.effects, X.T, strict=True)) | dict(
        zip(spec.covariates, Z.T, strict=True)
    )

    @cache
    def summary(predictor: str | None) -> ColumnSummary:
        if predictor is not None:
            return ColumnSummary.of(columns[predictor])
        return ColumnSummary.of(y if offset is None else y - offset)

    return resolve_from_summaries(spec, summary)


def resolve_from_summaries(
    spec: ModelSpec, summary: Callable[[str | None], ColumnSummary]
) -> ResolvedPriors:
    """Give every parameter its prior: the user's, or one scaled by the data as Bambi does.

    With s_y, m_y the outcome's (minus the offset's) standard deviation and mean, slopes get
    Normal(0, 2.5 s_y / sd(x)), the intercept Normal(m_y, sqrt((2.5 s_y)^2 + sum_j s_j^2 mean(x_j)^2)) over
    the slopes j of the population part, group-level standard deviations a HalfNormal of the same scale,
    and sigma HalfStudentT(4, s_y).

    Source: Capretto et al. (2022), "Bambi: A simple interface for fitting Bayesian linear models in
    Python", Journal of Statistical Software 103(15), with the rstanarm rule for scales.

    Parameters
    ----------
    spec : ModelSpec
        The description.
    summary : callable
        Summarizes a predictor, by its term, or the outcome minus the offset, by None. It is asked
        only where an automatic prior is needed.

    Raises
    ------
    DataError
        If a scale is needed from an outcome that is constant, or from numbers too large or too small
        for a standard deviation in double precision.
    """
    automatic = _Automatic(spec, summary)
    used: set[str] = set()

    def choose(variable: str, effect: str | None, default: str) -> Prior:
        given = spec.prior_for(variable, effect)
        if given is not None:
            return given
        used.add(variable if effect is None else f"{variable}[{effect}]")
        return automatic.prior(default, effect)

    return ResolvedPriors(
        beta={e: choose("beta", e, "beta") for e in spec.effects if e not in spec.zero_mean},
        tau={
            level.name: {e: choose(f"tau_{level.name}", e, "tau") for e in level.effects}
            for level in spec.levels
        },
        gamma={c: choose("gamma", c, "beta") for c in spec.covariates},
        family={name: choose(name, None, name) for name in family(spec.family).parameters},
        automatic=frozenset(used),
    )


class _Automatic:
    """Automatic priors of one data set; the data are looked at only when one is needed."""

    def __init__(self, spec: ModelSpec, summary: Callable[[str | None], ColumnSummary]) -> None:
        self._summary = summary
        names = (*spec.effects, *spec.covariates)
        self._population = [c for c in names if c != INTERCEPT and c not in spec.zero_mean]

    def prior(self, what: str, effect: str | None) -> Prior:
        if what == "nu":
            # Juarez and Steel (2010), "Model-based clustering of non-Gaussian panel data based on
            # skew-t distributions", recommend this default; it is also Stan's.
            return Prior("Gamma", (2.0, 0.1))
        if what == "sigma":
            return Prior("HalfStudentT", (4.0, self._sd_y()))
        assert effect is not None  # noqa: S101 - every other prior belongs to a column
        scale = self._scale(effect)
        if what == "tau":
            return Prior("HalfNormal", (scale,))
        return Prior("Normal", (self._summary(None).mean if effect == INTERCEPT else 0.0, scale))

    def _sd_y(self) -> float:
        # The mean of equal numbers is rounded, so that their sd may be some 1e-16 of them instead of 0.
        y = self._summary(None)
        if y.high - y.low <= 8 * np.finfo(np.float64).eps * max(abs(y.low), abs(y.high)):
            raise DataError(
                "the outcome is constant, so no prior scale can be taken from it. "
                "Check the data, or give every prior yourself."
            )
        return _positive("the outcome", y.sd)

    def _scale(self, effect: str) -> float:
        if effect != INTERCEPT:
            sd = _positive(f"predictor {effect!r}", self._summary(effect).sd)
            return _positive(f"predictor {effect!r}", 2.5 * self._sd_y() / sd)
        slopes = (self._scale(c) * self._summary(c).mean for c in self._population)
        return _positive("the outcome", math.hypot(2.5 * self._sd_y(), *slopes))


def _positive(what: str, scale: float) -> float:
    """Refuse a scale that double precision cannot hold, or not its square, the variance."""
    if not 0.0 < scale * scale < math.inf:
        raise DataError(
            f"{what} is too large or too small for a prior scale to be taken from it ({scale:g} in "
            "double precision). Rescale the column, or give the priors yourself."
        )
    return scale
