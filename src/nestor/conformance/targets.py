"""Posteriors that are known exactly, and where the knowledge comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.conformance.answers import PROBABILITIES, Answer
from nestor.conformance.grid import POSITIVE, PRIORS
from nestor.conformance.problems import table
from nestor.conformance.quadrature import integrate
from nestor.data.marginalization import not_marginalizable
from nestor.data.problem import Problem
from nestor.errors import SpecError
from nestor.model.priors import Prior
from nestor.model.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

_BOTH = ("noncentered", "centered")
#: A prior that is too wide by so much is to be found where there is next to no data.
TOO_WIDE = 1.3


@dataclass(frozen=True)
class Target:
    """A posterior that is known.

    Parameters
    ----------
    name : str
        What it is.
    formula : str
        Of columns of `nestor.conformance.problems.table`.
    answers : callable or None
        Makes the exact answers, once; None where the reference's exact sampler has them.
    family : str
        Outcome family.
    arguments : mapping
        Further arguments of `ModelSpec.from_formula`.
    children, rows : sequence
        Shape of the tree; see `table`.
    centering : tuple of str
        The formulations in which it can be sampled well, the quick kit's first.
    features : tuple of str
        Words of `Missing` under which `Capabilities.reasons` may explain that a backend refuses it.
    one_way : bool
        Whether one formulation is enough, since what is checked does not depend on it.
    everywhere : bool
        Whether it is also sampled by each other chain method, in single precision and on a GPU.
    every_likelihood : bool
        Whether it is sampled with each likelihood that is offered.
    priors : tuple of str
        Addresses of priors that its draws are to show: the power to find them too wide is told.
    quick : bool
        Whether it is part of the reduced kit.
    """

    name: str
    formula: str
    answers: Callable[[], tuple[Answer, ...]] | None
    family: str = "gaussian"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    children: Sequence[Sequence[int]] = ((4,),)
    rows: Sequence[int] = (6, 4, 8, 5)
    centering: tuple[str, ...] = _BOTH
    features: tuple[str, ...] = ()
    one_way: bool = False
    everywhere: bool = False
    every_likelihood: bool = False
    priors: tuple[str, ...] = ()
    quick: bool = False

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the model's levels."""
        return self.problem().spec.level_names

    @property
    def marginalizes(self) -> bool:
        """Whether its coefficients integrate out exactly."""
        return not_marginalizable(self.problem()) is None

    def problem(self) -> Problem:
        """Return model and data; one object for each target."""
        return _problem(self.name)

    def wider(self) -> Mapping[str, tuple[Answer, ...]]:
        """Return the answers that an engine would have whose prior is too wide, by its address."""
        return {address: _wider(self.name, address) for address in self.priors}

    def scalars(self) -> NDArray[np.intp]:
        """Return the positions of the scalars about which something is known."""
        labels = self.problem().scalars.labels
        if self.answers is None:
            return np.arange(len(labels))
        known = {answer.label for answer in self.answers()}
        return np.array([i for i, label in enumerate(labels) if label in known])


@cache
def _problem(name: str) -> Problem:
    (target,) = (t for t in TARGETS if t.name == name)
    spec = ModelSpec.from_formula(target.formula, family=target.family, **target.arguments)
    return Problem(spec, _data(target))


def _data(target: Target) -> pd.DataFrame:
    data = table(target.children, target.rows, seed=3)
    data["prior_only"] = (
        1e-20  # weights under which the likelihood is flat: the posterior is the prior
    )
    return data


@cache
def _integrated(name: str) -> tuple[Answer, ...]:
    return integrate(_problem(name))


@cache
def _wider(name: str, address: str) -> tuple[Answer, ...]:
    (target,) = (t for t in TARGETS if t.name == name)
    problem = target.problem()
    prior = Prior.parse(target.arguments["priors"][address])
    spec = problem.spec.with_priors({address: widened(prior, TOO_WIDE)})
    return integrate(Problem(spec, _data(target)))


def widened(prior: Prior, factor: float) -> Prior:
    """Return the prior of `factor` times the number, for families on positive numbers."""
    name, values = prior.family, list(prior.args)
    match name:
        case "LogNormal":
            values[0] += float(np.log(factor))
        case "Gamma":
            values[1] /= factor
        case "Exponential":
            values[0] /= factor
        case "HalfNormal" | "HalfCauchy" | "HalfStudentT" | "InverseGamma":
            values[-1] *= factor
        case _:
            raise SpecError(f"no scale is known of the prior {prior}.")
    return Prior(name, tuple(values))


@cache
def _covariates() -> tuple[Answer, ...]:
    problem = _problem("priors of covariates")
    names = list(problem.priors.gamma)
    return tuple(_of_prior(problem, f"gamma[{name}]", "gamma", name) for name in names)


@cache
def _scales(name: str) -> tuple[Answer, ...]:
    problem = _problem(name)
    (level,) = problem.levels
    names = list(problem.priors.tau[level.name])
    return tuple(_of_prior(problem, f"tau_k1[{name}]", "tau", name) for name in names)


def _of_prior(problem: Problem, label: str, what: str, name: str) -> Answer:
    """Return the prior's quantiles; the likelihood does not depend on anything there."""
    prior = problem.priors.gamma[name] if what == "gamma" else problem.priors.tau["k1"][name]
    distribution = prior.scipy()
    thresholds = tuple(float(distribution.ppf(p)) for p in PROBABILITIES)
    return Answer(label, None, None, thresholds, PROBABILITIES)


#: Little mass near zero, where group coefficients and scales make a funnel.
_SOFT = {"beta": "Normal(0.5, 2)", "tau": "LogNormal(0, 0.4)"}
#: One of each prior family but Cauchy's, whose tails no sampler of unconstrained numbers explores quickly.
_COVARIATES = tuple(p for p in PRIORS if not p.startswith("Cauchy"))
_NAMES = tuple(f"p{i}" for i in range(1, 12))


def _priors_of_scales(priors: Sequence[str]) -> Target:
    """Some prior families of scales, an effect for each: few, so that marginalized graphs compile quickly."""
    families = tuple(prior.partition("(")[0] for prior in priors)
    name = f"priors of scales: {', '.join(families)}"
    own = _NAMES[: len(priors) - 1]
    effects = " + ".join(("1", *own))
    return Target(
        name,
        f"y ~ {effects} + ({effects} || k1)",
        partial(_scales, name),
        arguments={
            "weights": "prior_only",
            "priors": {
                "beta": "Normal(0.5, 2)",
                "sigma": 1,
                **{f"tau_k1[{n}]": p for n, p in zip(("Intercept", *own), priors, strict=True)},
            },
        },
        children=((2,),),
        centering=("noncentered",),
        features=families,
    )


TARGETS = (
    Target(
        "gaussian, by quadrature",
        "y ~ 1 + (1 || k1)",
        partial(_integrated, "gaussian, by quadrature"),
        arguments={"priors": {**_SOFT, "sigma": "Gamma(3, 2)"}, "weights": "w"},
        everywhere=True,
        every_likelihood=True,
        quick=True,
    ),
    Target(
        "student_t, by quadrature",
        "y ~ 1 + offset(offset) + (1 || k1)",
        partial(_integrated, "student_t, by quadrature"),
        "student_t",
        arguments={"priors": {**_SOFT, "sigma": "HalfStudentT(4, 1.5)"}},
    ),
    # Two groups of one row each: what the draws show of scales and of the family is next to their priors.
    Target(
        "prior of sigma, next to no data",
        "y ~ 1 + (1 || k1)",
        partial(_integrated, "prior of sigma, next to no data"),
        arguments={"priors": {**_SOFT, "sigma": "Gamma(4, 3)"}},
        children=((2,),),
        rows=(1,),
        every_likelihood=True,
        priors=("sigma", "tau"),
        quick=True,
    ),
    Target(
        "priors of nu and sigma, next to no data",
        "y ~ 1 + (1 || k1)",
        partial(_integrated, "priors of nu and sigma, next to no data"),
        "student_t",
        arguments={"priors": {**_SOFT, "sigma": "LogNormal(0.2, 0.5)", "nu": "Gamma(3, 0.3)"}},
        children=((2,),),
        rows=(1,),
        priors=("nu", "sigma", "tau"),
    ),
    Target(
        "priors of covariates",
        f"y ~ 1 + {' + '.join(_NAMES[: len(_COVARIATES)])} + (1 || k1)",
        _covariates,
        arguments={
            "weights": "prior_only",
            "priors": {
                **_SOFT,
                "sigma": 1,
                **{f"gamma[{n}]": p for n, p in zip(_NAMES, _COVARIATES, strict=False)},
            },
        },
        features=tuple(p.partition("(")[0] for p in _COVARIATES),
        one_way=True,
    ),
    *(_priors_of_scales(POSITIVE[first : first + 3]) for first in range(0, len(POSITIVE), 3)),
    Target(
        "two levels, by the exact reference",
        "y ~ x + z + offset(offset) + (x || k1) + (1 || k1/k2)",
        None,
        arguments={
            "priors": {"tau": "LogNormal(-0.5, 0.4)", "sigma": "Gamma(3, 2)"},
            "weights": "w",
        },
        children=((4,), (2, 1, 3, 2)),
        quick=True,
    ),
    Target(
        "three levels, scales per parent, by the exact reference",
        "y ~ x + (x || k1) + (1 || k1/k2/k3)",
        None,
        arguments={
            "scale": {"k2": "parent"},
            "priors": {"tau": "LogNormal(-0.5, 0.4)", "sigma": "HalfNormal(2)"},
        },
        children=((2,), (2, 2), (2, 1, 3, 2)),
    ),
)
