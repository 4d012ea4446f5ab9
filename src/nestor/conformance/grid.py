"""Models on which log densities are compared: shapes of trees, parts of models, priors of every family."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from nestor.conformance.problems import table
from nestor.data.demo import blog_spec
from nestor.data.marginalization import not_marginalizable
from nestor.data.problem import Problem
from nestor.model.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

_TREE = ((2,), (2, 1), (1, 3, 1), (1,) * 5, (2, 1, 1, 1, 1))
#: One prior of every family on positive numbers; the parameters are all different, and none is 1.
POSITIVE: tuple[str, ...]
POSITIVE = ("HalfNormal(1.7)", "HalfStudentT(4, 1.3)", "HalfCauchy(0.8)", "Exponential(1.9)")
POSITIVE += ("Gamma(2.5, 0.7)", "InverseGamma(3, 1.4)", "LogNormal(0.2, 0.9)", "Uniform(0, 12)")
#: One prior of every family.
PRIORS = ("Normal(0.3, 2)", "StudentT(3, -0.2, 1.5)", "Cauchy(0.1, 2.5)", *POSITIVE)
#: Models in which the outcome family plays a part of its own.
_OUTCOME = ("depth 2", "weights", "offset", "rows that repeat", "everything at once")
#: Addresses that take any prior, and those whose prior lives on positive numbers.
_ANYWHERE, _SCALES = ("beta", "gamma"), ("tau", "sigma", "nu")


@dataclass(frozen=True)
class Model:
    """One model of the grid.

    Parameters
    ----------
    name : str
        What it is there for.
    formula : str
        Of columns of `nestor.conformance.problems.table`.
    family : str
        Outcome family.
    children, rows : sequence
        Shape of the tree; see `table`.
    arguments : mapping
        Further arguments of `ModelSpec.from_formula`.
    features : tuple of str
        Words of `Missing` under which `Capabilities.reasons` may explain that a backend refuses the model.
    quick : bool
        Whether it is part of the reduced kit.
    copies : int
        How often each row occurs.
    """

    name: str
    formula: str
    family: str = "gaussian"
    children: Sequence[Sequence[int]] = _TREE[:2]
    rows: Sequence[int] = (1, 3, 2)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    quick: bool = False
    copies: int = 1

    @property
    def has_statistics(self) -> bool:
        """Whether the likelihood can be summed over less than the rows."""
        return self.family == "gaussian" or self.copies > 1

    @property
    def is_of_priors(self) -> bool:
        """Whether it is there for one family of priors."""
        return self.name.endswith(("priors", "priors of scales"))

    @property
    def marginalizes(self) -> bool:
        """Whether its coefficients integrate out exactly."""
        return self.family == "gaussian" and not_marginalizable(self.problem()) is None

    def spec(self) -> ModelSpec:
        """Return the model's description."""
        return ModelSpec.from_formula(self.formula, family=self.family, **self.arguments)

    def data(self) -> pd.DataFrame:
        """Return its data."""
        import pandas as pd

        return pd.concat([table(self.children, self.rows)] * self.copies)

    def problem(self) -> Problem:
        """Return model and data; one object for each model."""
        return _problem(self.name, self.family)


@cache
def _problem(name: str, family: str) -> Problem:
    (model,) = (m for m in models((family,)) if m.name == name)
    return Problem(model.spec(), model.data())


class _Blog(Model):
    """The blog post's model on its own data."""

    def spec(self) -> ModelSpec:
        return blog_spec()

    def data(self) -> pd.DataFrame:
        from nestor.data.datasets import blog_income

        return blog_income(seed=1)


def models(families: Sequence[str]) -> list[Model]:
    """Return the models whose outcome family is one of `families`."""
    found: list[Model] = []
    for family in families:
        parts = [*_shapes(family), *_parts(family)]
        # What does not depend on the outcome family is looked at once.
        found += parts if family == families[0] else [m for m in parts if m.name in _OUTCOME]
    found += _priors(families[-1]) if families else []
    found += _priors_of_scales() if "gaussian" in families else []
    if "student_t" in families:
        found += [
            Model("known nu and sigma", "y ~ x + (x || k1/k2)", "student_t",
                  arguments={"priors": {"nu": 1, "sigma": 2.5}}),
            _Blog("the blog post's model", "", "student_t", quick=True),
        ]  # fmt: skip
    return found


def _shapes(family: str) -> list[Model]:
    found = []
    for depth in range(1, 6):
        path = "/".join(f"k{k}" for k in range(1, depth + 1))
        found.append(
            Model(f"depth {depth}", f"y ~ x + (x || {path})", family, _TREE[:depth],
                  quick=depth in (1, 5))
        )  # fmt: skip
    lone = [[2], [1, 1], [1, 1]]
    return [
        *found,
        Model("lone children", "y ~ x + (x || k1/k2/k3)", family, lone, [2, 3]),
        Model("single rows", "y ~ x + (x || k1/k2)", family, [[3], [1, 2, 1]], [1]),
    ]


def _parts(family: str) -> list[Model]:
    two = "(x || k1/k2)"
    per_parent = {"scale": "parent"}
    everything = {
        "scale": {"k1": "level", "k2": "parent", "k3": "level"},
        "weights": "w",
        "offset": "offset",
        "priors": {"tau_k2": "Exponential(0.5)", "tau_k2[x]": "Gamma(2, 0.5)"},
    }
    return [
        Model("one effect", "y ~ 1 + (1 || k1/k2)", family),
        Model("four effects", "y ~ x + x2 + x3 + (x + x2 + x3 || k1/k2)", family),
        Model("no intercept that varies", "y ~ x + (0 + x || k1/k2)", family),
        Model("weights", f"y ~ x + {two}", family, arguments={"weights": "w"}, features=("weights",)),
        Model("offset", f"y ~ x + {two}", family, arguments={"offset": "offset"}, features=("offset",)),
        Model("covariates", f"y ~ x + z + z2 + {two}", family, features=("covariates",)),
        Model("zero mean", f"y ~ 1 + {two}", family),
        Model("inherited effects", "y ~ x + (x || k1) + (1 || k1/k2)", family),
        Model("a level where nothing varies", "y ~ x + (1 + x || k1) + (1 || k1:k2:k3)", family,
              _TREE[:3]),
        Model("scales per parent", f"y ~ x + {two}", family, arguments=per_parent, features=("parent",)),
        Model("rows that repeat", f"y ~ x + z + {two}", family, copies=3,
              arguments={"weights": "w"}, features=("weights", "covariates")),
        Model("everything at once", "y ~ x + z + (x + x2 || k1/k2) + (1 || k1/k2/k3)", family,
              _TREE[:3], arguments=everything,
              features=("weights", "offset", "covariates", "parent"), quick=True),
    ]  # fmt: skip


def _priors_of_scales() -> list[Model]:
    """One model for each prior family on positive numbers, with coefficients that integrate out."""
    normal = {"beta": "Normal(0.3, 2)", "gamma": "Normal(-0.1, 1.5)"}
    return [
        Model(f"{prior.partition('(')[0]} priors of scales", "y ~ x + z + z2 + (x || k1/k2)",
              arguments={"priors": {**normal, "tau": prior, "sigma": prior}},
              features=(prior.partition("(")[0],))
        for prior in POSITIVE
    ]  # fmt: skip


def _priors(family: str) -> list[Model]:
    """One model for each prior family, at every address that allows it; and one that mixes them."""
    found = []
    for prior in PRIORS:
        name = prior.partition("(")[0]
        places: tuple[str, ...] = _ANYWHERE + (_SCALES if prior in POSITIVE else ())
        if family != "student_t":
            places = tuple(p for p in places if p != "nu")
        found.append(
            Model(f"{name} priors", "y ~ x + z + z2 + (x || k1/k2)", family,
                  arguments={"priors": dict.fromkeys(places, prior)}, features=(name,))
        )  # fmt: skip
    names = ("x", "x2", "x3", "z", "z2")
    mixed = {f"gamma[{n}]": p for n, p in zip(names, PRIORS[:3] + PRIORS[7:9], strict=True)}
    mixed |= {"tau_k2[Intercept]": "HalfCauchy(2)", "tau_k1": "InverseGamma(2, 3)"}
    formula = f"y ~ {' + '.join(names)} + (1 || k1/k2)"
    arguments = {"priors": mixed}
    return [*found, Model("priors of several families in a row", formula, family,
                          arguments=arguments, quick=True)]  # fmt: skip
