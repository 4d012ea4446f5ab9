"""Gaussian problems at the edges of what can be computed, their densities known in many digits.

Each problem has few rows, and is looked at with scales of ordinary size, with a tau, and with every tau, of
nearly nothing, with a sigma of nearly nothing, and with both; with the same outcome, whose density is then
tiny, or with one that is simulated with these scales, so that a part of it that is wrong does not vanish
beside a huge one. `marginal` and `joint` are the exact numbers.
"""

from dataclasses import dataclass
from functools import cache

import many_digits
import numpy as np
import pandas as pd

from nestor import ModelSpec, Problem
from nestor_reference import conditional_draws

#: Of the size of the outcome's spread.
TINY_TAU, TINY_SIGMA = 1e-9, 1e-6


@dataclass(frozen=True)
class Case:
    """A problem with one set of scales."""

    edge: str
    how: str
    simulated: bool

    def __str__(self):
        return f"{self.edge}, {self.how}" + (", simulated" if self.simulated else "")

    @property
    def problem(self):
        problem = _problem(self.edge)
        return _simulated(self) if self.simulated else problem

    @property
    def scales(self):
        return _scales(_problem(self.edge), self.how)

    @property
    def points(self):
        """Points of all variables: coefficients drawn given the outcome, and far from it."""
        return _points(self)

    @property
    def marginal(self):
        """log p(y, scales)."""
        return _marginal(self)

    @property
    def joint(self):
        """log p(y, coefficients, scales) at each of `points`."""
        return _joint(self)


def _table(rows, parents=(), seed=1):
    """Leaves with so many rows each; `parents` of the nodes of the second level, of the third, ..."""
    rng = np.random.default_rng(seed)
    node = np.repeat(np.arange(len(rows)), rows)
    columns = {}
    for k in range(len(parents), -1, -1):
        columns[f"k{k}"] = [f"n{v:02d}" for v in node]
        if k:
            node = np.asarray(parents[k - 1])[node]
    n = int(np.sum(rows))
    columns |= {name: rng.normal(size=n) for name in ("x", "x2", "z", "z2", "o", "y")}
    columns["w"] = 10.0 ** rng.uniform(-0.5, 0.5, n)
    return pd.DataFrame(columns)


def _chains(depth):
    """Two chains of lone children, `depth` levels deep."""
    return _table([1, 2], [[0, 1]] * (depth - 1))


def _constant(table):
    """x does not vary in the first two leaves, and hardly in the third."""
    leaf = table.k1.to_numpy()
    at = {name: leaf == name for name in ("n00", "n01", "n02")}
    table.loc[at["n00"], "x"] = 0.7
    table.loc[at["n01"], "x"] = -1.3e3
    table.loc[at["n02"], "x"] = 2.0 + 1e-7 * np.arange(at["n02"].sum())
    return table


_TWO = [[0, 0, 0, 1, 1]]
_SLOPE = "y ~ x + (x || k0/k1)"


def _weighted(table):
    return table.assign(w=10.0 ** np.linspace(-6, 6, len(table))[np.argsort(table.x)])


EDGES = {
    "plain": lambda: (_SLOPE, _table([4, 3, 5, 4, 4], _TWO), {}),
    "one-row leaves": lambda: (_SLOPE, _table([1] * 5, _TWO), {}),
    "fewer rows than effects": lambda: (
        "y ~ x + x2 + (x + x2 || k0/k1)",
        _table([1, 2, 2, 1, 4], _TWO),
        {},
    ),
    "a constant predictor": lambda: (_SLOPE, _constant(_table([3, 4, 4, 2, 3], _TWO)), {}),
    "weights": lambda: (_SLOPE, _weighted(_table([4, 3, 1, 4, 4], _TWO)), {"weights": "w"}),
    "two leaves": lambda: ("y ~ x + (x || k0)", _table([3, 5]), {}),
    "chains of lone children": lambda: (
        f"y ~ x + (x || {'/'.join(f'k{k}' for k in range(6))})",
        _chains(6),
        {},
    ),
    "effects of some levels": lambda: (
        "y ~ x + (x + x2 || k0) + (0 + x || k0:k1)",
        _table([4, 1, 5, 2, 4], _TWO),
        {},
    ),
    "scales per parent": lambda: (
        _SLOPE,
        _table([4, 1, 3, 4, 4], _TWO),
        {"scale": "parent"},
    ),
    "covariates and an offset": lambda: (
        "y ~ x + z + z2 + (x || k0/k1)",
        _table([4, 1, 5, 2, 4], _TWO),
        {"offset": "o", "weights": "w"},
    ),
    "covariates that effects explain": lambda: (
        "y ~ x + z + z2 + (x || k0/k1)",
        _table([4, 1, 5, 2, 4], _TWO).assign(
            z=lambda t: 2 * t.x + 1, z2=lambda t: t.x - 0.5 + 1e-8 * t.z2
        ),
        {},
    ),
    "far from zero": lambda: (
        _SLOPE,
        _table([4, 1, 5, 2, 4], _TWO).assign(y=lambda t: 1e3 + t.y, x=lambda t: 10 + t.x),
        {},
    ),
    "a known sigma": lambda: (_SLOPE, _table([4, 1, 5, 2, 4], _TWO), {"priors": {"sigma": 0.6}}),
}
HOW = ("usual", "a tau of nothing", "no tau", "no sigma", "no tau and no sigma", "large taus")

CASES = [
    Case(edge, how, simulated)
    for edge in EDGES
    for how in HOW
    for simulated in (False, True)
    if not (edge == "a known sigma" and "sigma" in how)
]


@cache
def _problem(edge):
    formula, table, arguments = EDGES[edge]()
    return Problem(ModelSpec.from_formula(formula, **arguments), table)


@cache
def _simulated(case):
    """The problem with an outcome drawn from the model, given the scales."""
    rng = np.random.default_rng(7)
    problem, scales = _problem(case.edge), case.scales
    above = np.zeros((1, len(problem.effects)))
    for j, effect in enumerate(problem.effects):
        if effect in problem.priors.beta:
            mean, sd = problem.priors.beta[effect].args
            above[0, j] = mean + 0.1 * sd * rng.normal()
    for level in problem.levels:
        above = above[level.parent]
        if len(level.varying):
            sd = level.scale_of_nodes(scales[f"tau_{level.name}"])
            above[:, level.varying] += sd * rng.normal(size=(level.n, len(level.varying)))
    y = np.sum(problem.X * above[problem.leaf], axis=1)
    if problem.spec.covariates:
        y += problem.Z @ rng.normal(size=problem.Z.shape[1])
    if problem.offset is not None:
        y += problem.offset
    weights = 1.0 if problem.weights is None else problem.weights
    sigma = problem.priors.family["sigma"]
    sigma = sigma.value if sigma.is_fixed else scales["sigma"]
    return problem.with_outcome(y + sigma / np.sqrt(weights) * rng.normal(size=len(y)))


def _scales(problem, how):
    rng = np.random.default_rng(5)
    taus = [v for v in problem.variables.values() if v.role == "scale"]
    found = {v.name: np.exp(0.5 * rng.normal(size=v.shape)) for v in taus}
    if how == "a tau of nothing":
        found[taus[-1].name].ravel()[-1] = TINY_TAU
    elif how.startswith("no tau"):
        found = {name: TINY_TAU * value for name, value in found.items()}
    elif how == "large taus":
        found = {name: 1e2 * value for name, value in found.items()}
    if "sigma" in problem.variables:
        found["sigma"] = np.array(TINY_SIGMA if how.endswith("no sigma") else 0.8)
    return found


@cache
def _points(case):
    rng = np.random.default_rng(6)
    problem, scales = case.problem, case.scales
    near = scales | conditional_draws(problem, scales, rng)
    far = {
        name: value if name in scales else value + rng.normal(size=value.shape)
        for name, value in near.items()
    }
    return near, problem.with_inherited(far)


@cache
def _marginal(case):
    problem, scales = case.problem, case.scales
    prior = many_digits.log_prior_of_scales(problem, scales)
    return prior + many_digits.log_marginal(problem, scales)


@cache
def _joint(case):
    problem = case.problem
    prior = many_digits.log_prior_of_scales(problem, case.scales)
    return tuple(prior + many_digits.log_joint(problem, point) for point in case.points)
