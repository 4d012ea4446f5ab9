"""Step 0: the shared points, and the comparison of log densities."""

import math
import pickle
import warnings
from math import inf, nan

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, Problem
from nestor.agreement.density import (
    N_POINTS,
    TOLERANCE,
    DensityCheck,
    compare_densities,
    density_points,
)
from nestor.data.datasets import blog_income
from nestor.data.demo import blog_spec
from nestor.engines import registry
from nestor.engines.formulation import Formulation


def reference(problem):
    backend = registry.get("reference").backend
    formulation = Formulation.parse([], problem.spec.level_names)
    return backend.compile(problem, formulation, sampler=None, device="cpu", dtype="float64")


def table(seed=0, n=40, unit=1.0):
    rng = np.random.default_rng(seed)
    found = pd.DataFrame({"g": rng.choice(list("abc"), n), "h": rng.choice(list("xy"), n)})
    found = found.assign(x=rng.normal(size=n), z=rng.normal(size=n), e=rng.normal(size=n))
    return found.assign(y=unit * (found.x + rng.normal(size=n)))


def problem(formula="y ~ x + z + (x || g/h)", data=None, **arguments):
    return Problem(ModelSpec.from_formula(formula, **arguments), table() if data is None else data)


VAGUE = [
    "InverseGamma(0.001, 0.001)",
    "Gamma(0.001, 0.001)",
    "HalfCauchy(1e6)",
    "LogNormal(0, 100)",
]

PROBLEMS = {
    "usual": problem,
    "student_t": lambda: problem(family="student_t"),
    "vague nu": lambda: problem(family="student_t", priors={"nu": "Exponential(1e-6)"}),
    "nearly cauchy": lambda: problem(priors={"beta": "StudentT(0.01, 0, 1)"}),
    "scale per parent, offset": lambda: problem(
        "y ~ x + offset(e) + (x || g) + (1 || g:h)", scale="parent"
    ),
    "uniform": lambda: problem(
        priors={
            "beta": "Uniform(3, 4)",
            "gamma": "Uniform(-4, -3)",
            "tau": "Uniform(0.1, 0.2)",
            "sigma": "Uniform(5, 6)",
        }
    ),
    "half priors on coefficients": lambda: problem(
        priors={"beta": "HalfNormal(1)", "gamma[z]": "Exponential(1)"}
    ),
    "known sigma": lambda: problem(priors={"sigma": 2}),
    "no population part": lambda: problem("y ~ 0 + (0 + x || g)"),
    **{text: lambda text=text: problem(priors={"tau": text, "sigma": text}) for text in VAGUE},
    **{f"unit {u:g}": lambda u=u: problem(data=table(unit=u)) for u in (1e-150, 1e-9, 1e9, 1e150)},
    "exact fit": lambda: problem(data=table().assign(y=lambda t: t.x)),
    "blog": lambda: Problem(blog_spec(), blog_income()),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_points_lie_inside_supports_and_have_finite_densities(name):
    found = PROBLEMS[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = density_points(found)
        densities = [reference(found).log_density(point) for point in points]
    assert len(points) == N_POINTS
    assert np.isfinite(densities).all()
    assert len(set(densities)) == N_POINTS
    for point in points:
        assert {k: (v.shape, v.dtype) for k, v in point.items()} == {
            k: (v.shape, np.dtype(np.float64)) for k, v in found.variables.items()
        }
        for prior, value in _priors_with_values(found, point):
            low, high = prior.bounds
            assert low < value < high, (str(prior), value)


def _priors_with_values(found, point):
    priors = found.priors
    for j, effect in enumerate(found.effects):
        if effect in priors.beta:
            yield priors.beta[effect], point["beta"][j]
    for level, by_effect in priors.tau.items():
        for j, prior in enumerate(by_effect.values()):
            yield from ((prior, v) for v in np.ravel(point[f"tau_{level}"][..., j]))
    yield from zip(priors.gamma.values(), point.get("gamma", ()), strict=True)
    yield from ((p, point[name]) for name, p in priors.family.items() if not p.is_fixed)


def test_the_same_seed_gives_the_same_points_exactly():
    found = problem()
    one, two = (
        density_points(found, seed=3),
        density_points(pickle.loads(pickle.dumps(found)), seed=3),
    )
    other = density_points(found, seed=4)
    for a, b, c in zip(one, two, other, strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)
        assert not np.array_equal(a["beta_h"], c["beta_h"])


def test_fewer_points_are_the_first_of_more():
    found = problem()
    for a, b in zip(density_points(found, n=5), density_points(found, n=9)[:5], strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)


def test_every_scalar_takes_part():
    """A point in which a scalar had no effect would hide that engines treat it differently."""
    found = problem("y ~ x + offset(e) + (x || g) + (1 || g:h)", scale="parent", family="student_t")
    model = reference(found)
    (point,) = density_points(found, n=1)
    before = model.log_density(point)
    for variable in found.random_variables:
        for place in np.argwhere(variable.random):
            moved = {name: np.array(value) for name, value in point.items()}
            moved[variable.name][tuple(place)] *= 1.001
            assert model.log_density(moved) != before, (variable.name, place)


def test_points_near_the_posterior_are_near_it():
    """The second kind fits the data far better than what a prior that is 1000 times too wide gives."""
    wide = {"beta": "Normal(0, 1000)", "gamma": "Normal(0, 1000)", "sigma": "HalfNormal(1000)"}
    found = problem(priors=wide)
    model = reference(found)
    prior, near, dispersed = (
        np.median(
            [
                float(np.sum(model.log_likelihood(found.with_inherited(p))))
                for p in density_points(found)[kind::3]
            ]
        )
        for kind in range(3)
    )
    assert near > prior
    assert near > dispersed


# --- the comparison ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference_", "found", "largest"),
    [
        ((-10.0, 3.0), (-10.0, 3.0), 0.0),
        ((-10.0, 3.0), (-10.0, 3.3), 0.1),
        ((-10.0, 0.5), (-11.0, 0.5), 0.1),
        ((0.01, 1.0), (0.03, 1.0), 0.02),  # below one, differences are absolute
        ((-inf, 1.0), (-inf, 1.0), 0.0),
        ((-inf, 1.0), (-5.0, 1.0), inf),
        ((-5.0, 1.0), (-inf, 1.0), inf),
        ((-inf, 1.0), (inf, 1.0), inf),
        ((1.0, 1.0), (nan, 1.0), inf),
        ((nan, 1.0), (nan, 1.0), inf),
        ((nan, 1.0), (1.0, 1.0), inf),
    ],
)
def test_differences_are_relative_and_what_is_undefined_differs(reference_, found, largest):
    check = compare_densities("engine", "float64", reference_, found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check.largest == pytest.approx(largest, rel=1e-12)
        assert check.same == (largest == 0.0)
        plain = check.to_dict()
    assert plain["points"] == 2
    assert all(v is None or not isinstance(v, float) or math.isfinite(v) for v in plain.values())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_tolerance_is_the_dtypes(dtype):
    bound = TOLERANCE[dtype]
    same = compare_densities("engine", dtype, [-1000.0], [-1000.0 * (1 + 0.9 * bound)])
    other = compare_densities("engine", dtype, [-1000.0], [-1000.0 * (1 + 1.1 * bound)])
    assert (same.same, other.same) == (True, False)


def test_the_worst_point_is_named():
    check = DensityCheck("pymc:nutpie", 1e-8, (-1.0, -2.0, -4.0), (-1.0, -3.0, -4.0))
    assert check.to_dict() == {
        "contender": "pymc:nutpie",
        "same": False,
        "points": 3,
        "max_relative_difference": 0.5,
        "tolerance": 1e-8,
        "worst_point": 1,
        "worst_reference": -2.0,
        "worst_found": -3.0,
    }


def test_densities_of_different_length_are_not_compared():
    with pytest.raises(ValueError, match="shape"):
        _ = compare_densities("engine", "float64", [1.0, 2.0, 3.0], [1.0, 2.0]).largest
