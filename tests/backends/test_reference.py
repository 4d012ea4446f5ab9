"""The reference's density against plain loops over rows and nodes, and at the edges of supports."""

import math
from math import inf, lgamma, log, pi

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, Problem
from nestor.agreement.density import density_points
from nestor.engines import registry
from nestor.engines.formulation import Formulation

LEVELS = ("a", "b", "c", "d")


def table(seed, n=30):
    rng = np.random.default_rng(seed)
    found = pd.DataFrame({name: rng.choice(["u", "v"], n) for name in LEVELS})
    for name in ("x", "z", "e"):
        found[name] = rng.normal(size=n)
    found["w"] = rng.uniform(0.3, 3, n)
    found["y"] = 5 + 2 * found.x + rng.normal(size=n)
    return found


def compiled(problem, **how):
    backend = registry.get("reference").backend
    formulation = Formulation.parse(how.pop("words", []), problem.spec.level_names)
    how = {"sampler": None, "device": "cpu", "dtype": "float64"} | how
    return backend.compile(problem, formulation, **how)


# --- plain loops: lists, dicts and math, nothing of nestor's arrays ---------------------------


def log_normal(x, mu, sigma):
    return -0.5 * log(2 * pi) - log(sigma) - (x - mu) ** 2 / (2 * sigma * sigma)


def log_t(x, nu, mu, sigma):
    inner = 1 + ((x - mu) / sigma) ** 2 / nu
    return (
        lgamma((nu + 1) / 2)
        - lgamma(nu / 2)
        - 0.5 * log(nu * pi)
        - log(sigma)
        - (nu + 1) / 2 * log(inner)
    )


PRIOR = {
    "Normal": log_normal,
    "HalfNormal": lambda x, s: log(2) + log_normal(x, 0, s),
    "HalfStudentT": lambda x, nu, s: log(2) + log_t(x, nu, 0, s),
    "Gamma": lambda x, a, r: a * log(r) - lgamma(a) + (a - 1) * log(x) - r * x,
    "InverseGamma": lambda x, a, s: a * log(s) - lgamma(a) - (a + 1) * log(x) - s / x,
    "Exponential": lambda x, r: log(r) - r * x,
    "Uniform": lambda x, low, high: -log(high - low),
}


def log_prior(prior, value):
    return PRIOR[prior.family](float(value), *prior.args)


def paths(rows, depth):
    """Nodes of a level as tuples of labels, in the order of text."""
    return sorted({tuple(row[name] for name in LEVELS[:depth]) for row in rows})


def by_loops(spec, priors, rows, point):
    """Log joint density, one number at a time."""
    effects = spec.effects
    total = sum(
        log_prior(priors.beta[e], point["beta"][j])
        for j, e in enumerate(effects)
        if e not in spec.zero_mean
    )
    total += sum(log_prior(p, point["gamma"][j]) for j, p in enumerate(priors.gamma.values()))
    family = {}
    for name, prior in priors.family.items():
        family[name] = prior.args[0] if prior.family == "Fixed" else float(point[name])
        total += 0.0 if prior.family == "Fixed" else log_prior(prior, point[name])
    root = {
        e: 0.0 if e in spec.zero_mean else float(point["beta"][j]) for j, e in enumerate(effects)
    }
    above = {(): root}
    for depth, level in enumerate(spec.levels, start=1):
        parents = list(above)
        nodes = {}
        for v, path in enumerate(paths(rows, depth)):
            nodes[path] = dict(above[path[:-1]])
            for q, effect in enumerate(level.effects):
                tau = point[f"tau_{level.name}"]
                per_parent = level.scale == "parent" and depth > 1
                sd = float(tau[parents.index(path[:-1]), q] if per_parent else tau[q])
                value = float(point[f"beta_{level.name}"][v, effects.index(effect)])
                total += log_normal(value, above[path[:-1]][effect], sd)
                nodes[path][effect] = value
        if level.effects:
            for q, prior in enumerate(priors.tau[level.name].values()):
                column = np.atleast_1d(point[f"tau_{level.name}"][..., q])
                total += sum(log_prior(prior, each) for each in column)
        above = nodes
    for row in rows:
        leaf = above[tuple(row[level.name] for level in spec.levels)]
        eta = sum(leaf[e] * (1.0 if e == "Intercept" else row[e]) for e in effects)
        for j, name in enumerate(spec.covariates):
            eta += float(point["gamma"][j]) * (1.0 if name == "Intercept" else row[name])
        eta += row[spec.offset] if spec.offset else 0.0
        scale = family["sigma"] / math.sqrt(row[spec.weights] if spec.weights else 1.0)
        if spec.family == "gaussian":
            total += log_normal(row["y"], eta, scale)
        else:
            total += log_t(row["y"], family["nu"], eta, scale)
    return total


def chain(depth, *effects, **more):
    """A model whose effects all vary at every level."""
    levels = [
        {"name": name, "effects": effects or ("Intercept", "x"), **more} for name in LEVELS[:depth]
    ]
    return {"levels": levels, "effects": effects or ("Intercept", "x")}


PARTIAL = {
    "effects": ("Intercept", "x", "z"),
    "zero_mean": ("z",),
    "levels": [
        {"name": "a", "effects": ("Intercept", "x")},
        {"name": "b", "effects": ()},
        {"name": "c", "effects": ("x", "z"), "scale": "parent"},
        {"name": "d", "effects": ("Intercept",)},
    ],
}

MODELS = {
    **{f"depth {k}": chain(k) for k in (1, 2, 3, 4)},
    **{f"depth {k}, scale per parent": chain(k, scale="parent") for k in (1, 2, 4)},
    "one effect": chain(2, "Intercept"),
    "no intercept": chain(2, "x"),
    "intercept as covariate": chain(2, "x") | {"covariates": ("Intercept", "z")},
    "inherited, empty and zero-mean effects": PARTIAL | {"offset": "e", "weights": "w"},
    "covariates, offset and weights": chain(2)
    | {"covariates": ("z",), "offset": "e", "weights": "w"},
    "student_t": chain(2) | {"family": "student_t", "weights": "w"},
    "student_t with known nu": chain(2) | {"family": "student_t", "priors": {"nu": 1}},
    "known sigma": chain(2) | {"priors": {"sigma": 0.7}, "weights": "w"},
    "other priors": chain(2)
    | {
        "family": "student_t",
        "priors": {
            "beta[x]": "Uniform(-100, 100)",
            "tau": "Uniform(0, 1000)",
            "tau_b[x]": "InverseGamma(2, 3)",
            "sigma": "Exponential(0.1)",
        },
    },
    "nothing in the population part": chain(1, "x") | {"zero_mean": ("x",)},
}


@pytest.mark.parametrize("name", MODELS)
def test_density_equals_plain_loops(name):
    spec, data = ModelSpec(outcome="y", **MODELS[name]), table(seed=len(name))
    problem = Problem(spec, data)
    model, rows = compiled(problem), data.to_dict("records")
    points = density_points(problem, n=9)
    found = [model.log_density(point) for point in points]
    wanted = [by_loops(spec, problem.priors, rows, point) for point in points]
    # Sums of some 100 terms in two orders: relative rounding of 1e-16 times cancellation.
    assert found == pytest.approx(wanted, rel=1e-12)
    assert len(set(found)) == len(found)


def test_formulations_have_one_canonical_density(small_problem):
    (point,) = density_points(small_problem, n=1)
    words = ([], ["centered"], ["g=centered"])
    assert len({compiled(small_problem, words=w).log_density(point) for w in words}) == 1


def test_inherited_and_fixed_entries_of_the_point_are_ignored():
    fields = MODELS["inherited, empty and zero-mean effects"]
    problem = Problem(ModelSpec(outcome="y", **fields), table(1))
    model = compiled(problem)
    (point,) = density_points(problem, n=1)
    spoiled = {
        name: np.where(variable.random, point[name], np.nan)
        for name, variable in problem.variables.items()
    }
    assert model.log_density(spoiled) == model.log_density(point)


def test_a_point_is_not_changed(small_problem):
    (point,) = density_points(small_problem, n=1)
    before = {name: value.copy() for name, value in point.items()}
    compiled(small_problem).log_density(point)
    assert all(np.array_equal(point[name], before[name]) for name in before)


@pytest.fixture(scope="module")
def bounded():
    priors = {"beta[x]": "Uniform(-1, 1)", "tau_a": "Uniform(0, 2)", "tau_b": "Gamma(0.5, 1)"}
    spec = ModelSpec(outcome="y", **chain(2), family="student_t", priors=priors)
    return Problem(spec, table(3))


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        *[(name, (), value) for name in ("sigma", "nu") for value in (0.0, -0.0, -1.0, -inf)],
        *[("tau_a", (0,), value) for value in (0.0, -1.0, 2.0, 2.1, inf)],
        *[("tau_b", (1,), value) for value in (0.0, -1.0)],
        *[("beta", (1,), value) for value in (-1.0, 1.0, 1.1, -inf, inf)],
        ("sigma", (), 5e-324),
        ("tau_a", (0,), 5e-324),
    ],
)
def test_outside_a_support_the_density_is_minus_infinity_never_nan(bounded, name, place, value):
    (point,) = density_points(bounded, n=1)
    assert math.isfinite(compiled(bounded).log_density(point))
    point[name] = np.array(point[name])
    point[name][place] = value
    with np.errstate(all="ignore"):
        assert compiled(bounded).log_density(point) == -inf


def test_parts_sum_to_the_whole_and_name_each_level(small_problem):
    (point,) = density_points(small_problem, n=1)
    model = compiled(small_problem)
    parts = model.log_parts(small_problem.with_inherited(point))
    assert list(parts) == ["priors", "g", "h", "likelihood"]
    assert model.log_density(point) == pytest.approx(sum(parts.values()), rel=1e-14)


def test_the_likelihood_has_one_term_for_each_row(small_problem):
    (point,) = density_points(small_problem, n=1)
    rows = compiled(small_problem).log_likelihood(small_problem.with_inherited(point))
    leaf = point["beta_h"][small_problem.leaf]
    eta = leaf[:, 0] + leaf[:, 1] * small_problem.X[:, 1]
    sigma = float(point["sigma"])
    wanted = [log_normal(*pair, sigma) for pair in zip(small_problem.y, eta, strict=True)]
    assert rows == pytest.approx(wanted, rel=1e-12)
