"""Posteriors that are known exactly, and where the knowledge comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.auto import not_marginalizable
from nestor.conformance.answers import PROBABILITIES, Answer
from nestor.conformance.grid import POSITIVE, PRIORS
from nestor.conformance.problems import table
from nestor.conformance.quadrature import integrate
from nestor.problem import Problem
from nestor.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

_BOTH = ("noncentered", "centered")


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
        Words under which `Capabilities.reasons` may explain that a backend refuses it.
    one_way : bool
        Whether one formulation is enough, since what is checked does not depend on it.
    everywhere : bool
        Whether it is also sampled by each other chain method, in single precision and on a GPU.
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
    data = table(target.children, target.rows, seed=3)
    data["prior_only"] = (
        1e-20  # weights under which the likelihood is flat: the posterior is the prior
    )
    return Problem(spec, data)


@cache
def _gaussian() -> tuple[Answer, ...]:
    return integrate(_problem("gaussian, by quadrature"))


@cache
def _student_t() -> tuple[Answer, ...]:
    return integrate(_problem("student_t, by quadrature"))


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
        _gaussian,
        arguments={"priors": {**_SOFT, "sigma": "Gamma(3, 2)"}, "weights": "w"},
        everywhere=True,
        quick=True,
    ),
    Target(
        "student_t, by quadrature",
        "y ~ 1 + offset(offset) + (1 || k1)",
        _student_t,
        "student_t",
        arguments={"priors": {**_SOFT, "sigma": "HalfStudentT(4, 1.5)"}},
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
