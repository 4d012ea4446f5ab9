"""The problems whose posteriors come with nestor: data from seeded simulators, every prior with its numbers.

Data are rounded to a few decimals, so that a last bit that differs between machines cannot make them
another data set; each posterior's file carries the problem's fingerprint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nestor.data.problem import Problem
from nestor.errors import SpecError
from nestor.errors.text import did_you_mean
from nestor.model.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

#: Estimated effects and their standard errors of eight coaching programmes: Rubin (1981), "Estimation in
#: parallel randomized experiments", Journal of Educational Statistics 6(4), table 1.
_EFFECTS = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
_ERRORS = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)


def eight_schools() -> Problem:
    """Eight schools: one row each, with a known standard error as a weight; sigma is fixed at 1.

    Priors of Gelman et al. (2013), "Bayesian Data Analysis", section 5.5, as posteriordb writes them.
    """
    table = pd.DataFrame(
        {
            "school": list("ABCDEFGH"),
            "effect": _EFFECTS,
            "precision": 1.0 / np.square(_ERRORS),
        }
    )
    spec = ModelSpec.from_formula(
        "effect ~ 1 + (1 | school)",
        weights="precision",
        priors={"beta[Intercept]": "Normal(0, 5)", "tau_school": "HalfCauchy(5)", "sigma": 1},
    )
    return Problem(spec, table)


def one_level() -> Problem:
    """Eight groups of five rows, varying intercepts: the smallest hierarchical model."""
    rng = np.random.default_rng(101)
    g = _codes([5] * 8)
    y = 1.0 + 0.8 * rng.standard_normal(8)[g] + rng.standard_normal(len(g))
    table = _table(rng, y=y, g=g)
    return _problem("y ~ 1 + (1 | g)", table)


def two_levels() -> Problem:
    """Six groups of four subgroups of six rows, varying intercepts and slopes."""
    rng = np.random.default_rng(102)
    h = _codes([6] * 24)
    g = h // 4
    x = rng.standard_normal(len(h)).round(3)
    a = 0.7 * rng.standard_normal(6)[g] + 0.5 * rng.standard_normal(24)[h]
    b = 0.5 * rng.standard_normal(6)[g] + 0.3 * rng.standard_normal(24)[h]
    y = 2.0 + a + (0.5 + b) * x + 0.8 * rng.standard_normal(len(h))
    return _problem("y ~ x + (x || g/h)", _table(rng, y=y, g=g, h=h, x=x))


def three_levels() -> Problem:
    """An unbalanced tree of three levels, lone children and leaves of one row among them."""
    rng = np.random.default_rng(103)
    parent_h = np.array([0, 0, 0, 1, 2, 2, 3, 3, 3, 3])
    parent_k = np.repeat(np.arange(10), [3, 1, 2, 2, 4, 1, 2, 3, 1, 2])
    k = _codes([6, 1, 4, 3, 8, 2, 5, 1, 7, 3, 3, 4, 2, 6, 5, 1, 2, 9, 4, 3, 2])
    h = parent_k[k]
    g = parent_h[h]
    effects = 0.9 * rng.standard_normal(4)[g] + 0.6 * rng.standard_normal(10)[h]
    y = effects + 0.5 * rng.standard_normal(21)[k] + rng.standard_normal(len(k))
    return _problem("y ~ 1 + (1 | g/h/k)", _table(rng, y=y, g=g, h=h, k=k))


def mixed_effects() -> Problem:
    """Weights, an offset, a covariate that does not vary, and a slope that varies at one level only."""
    rng = np.random.default_rng(104)
    h = _codes([5] * 18)
    g = h // 3
    x, z = (rng.standard_normal(len(h)).round(3) for _ in range(2))
    w = np.exp(0.5 * rng.standard_normal(len(h))).round(3)
    o = (0.1 * np.arange(len(h)) % 1.0).round(3)
    slope = 0.4 + 0.5 * rng.standard_normal(6)[g]
    level = 0.6 * rng.standard_normal(6)[g] + 0.4 * rng.standard_normal(18)[h]
    noise = 0.7 * rng.standard_normal(len(h)) / np.sqrt(w)
    y = level + slope * x - 0.8 * z + o + noise
    return _problem(
        "y ~ x + z + (x || g) + (1 | g:h)",
        _table(rng, y=y, g=g, h=h, x=x, z=z, w=w, o=o),
        weights="w",
        offset="o",
    )


def few_rows() -> Problem:
    """Thirty leaves of two rows and a small scale: the funnel in its natural place."""
    rng = np.random.default_rng(105)
    g = _codes([2] * 30)
    y = 0.3 * rng.standard_normal(30)[g] + rng.standard_normal(len(g))
    return _problem("y ~ 1 + (1 | g)", _table(rng, y=y, g=g))


def student_t() -> Problem:
    """Two levels with heavy-tailed errors and an unknown number of degrees of freedom."""
    rng = np.random.default_rng(106)
    h = _codes([8] * 15)
    g = h // 3
    x = rng.standard_normal(len(h)).round(3)
    level = 0.8 * rng.standard_normal(5)[g] + 0.5 * rng.standard_normal(15)[h]
    y = 1.0 + level + 0.7 * x + 0.6 * rng.standard_t(4, len(h))
    return _problem(
        "y ~ x + (1 | g/h)",
        _table(rng, y=y, g=g, h=h, x=x),
        family="student_t",
        priors={"nu": "Gamma(2, 0.1)"},
    )


_PROBLEMS: dict[str, Callable[[], Problem]] = {
    "eight-schools": eight_schools,
    "one-level": one_level,
    "two-levels": two_levels,
    "three-levels": three_levels,
    "mixed-effects": mixed_effects,
    "few-rows": few_rows,
    "student-t": student_t,
}

NAMES: tuple[str, ...] = tuple(_PROBLEMS)


def problem(name: str) -> Problem:
    """Return the problem called `name`.

    Raises
    ------
    SpecError
        If there is none.
    """
    if name not in _PROBLEMS:
        meant = did_you_mean(name, NAMES)
        raise SpecError(
            f"there is no reference problem {name!r}; there are {', '.join(NAMES)}.{meant}"
        )
    return _PROBLEMS[name]()


def describe(name: str) -> str:
    """Return a line about the problem called `name`."""
    return (_PROBLEMS[name].__doc__ or "").strip().splitlines()[0]


def _problem(
    formula: str,
    table: pd.DataFrame,
    *,
    family: str = "gaussian",
    weights: str | None = None,
    offset: str | None = None,
    priors: Mapping[str, str] | None = None,
) -> Problem:
    """Make a problem whose priors are numbers of the simulators' own size."""
    every = {"beta": "Normal(0, 2)", "tau": "HalfNormal(1)", "sigma": "HalfNormal(2)"}
    if "z" in table.columns:
        every["gamma"] = "Normal(0, 2)"
    spec = ModelSpec.from_formula(
        formula, family=family, priors={**every, **(priors or {})}, weights=weights, offset=offset
    )
    return Problem(spec, table)


def _codes(rows: list[int]) -> NDArray[np.intp]:
    """Leaf of each row, given the rows of each leaf."""
    return np.repeat(np.arange(len(rows)), rows)


def _table(rng: np.random.Generator, **columns: NDArray[np.generic]) -> pd.DataFrame:
    """Make a table in random order, numbers rounded, labels with leading zeros."""
    table = pd.DataFrame(
        {
            name: [f"{name}{code:02d}" for code in values]
            if name in "ghk"
            else np.round(values.astype(np.float64), 4)
            for name, values in columns.items()
        }
    )
    return table.iloc[rng.permutation(len(table))].reset_index(drop=True)
