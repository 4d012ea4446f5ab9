"""Every backend against the reference over random trees: depth 1 to 5, lone children, single rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nestor import ModelSpec, Problem
from nestor.agreement.density import compare_densities, density_points
from nestor.data import datasets
from nestor.data.demo import blog_spec
from nestor.engines import registry
from nestor.engines.formulation import Formulation

BACKENDS = ("pymc", "numpyro", "numba")
MARGINALIZING = [
    name
    for name, entry in registry.backends().items()
    if name != "reference"
    and entry.installed
    and "marginalized" in entry.backend.capabilities().coefficients
]
PRIORS = (
    "HalfNormal(2)", "HalfStudentT(3, 1.5)", "HalfCauchy(1)", "Exponential(0.7)", "Gamma(2, 0.5)",
    "InverseGamma(3, 2)", "LogNormal(0, 0.8)", "Uniform(0, 50)",
)  # fmt: skip
LOCATIONS = ("Normal(0.5, 3)", "StudentT(4, -1, 2)", "Cauchy(0, 2)")


@st.composite
def trees(draw):
    """Parents of each level, root first; every parent has a child, many have only one."""
    parents = []
    n = 1
    for k in range(draw(st.integers(1, 5))):
        least = 2 if k == 0 else 1
        children = draw(st.lists(st.integers(least, 3), min_size=n, max_size=n))
        if k > 1:  # mostly lone children further down
            children = [1 if c == 2 else c for c in children]
        parent = np.repeat(np.arange(n), children)[:24]
        missing = np.setdiff1d(np.arange(n), parent)
        parent = np.sort(np.concatenate([parent, missing]))
        parents.append(parent)
        n = len(parent)
    return parents


@st.composite
def problems(draw, *, marginalized=False):
    """A random tree, model and data; leaves with one row are common."""
    parents = draw(trees())
    effects = draw(st.sampled_from([1, 2, 4]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = draw(st.lists(st.integers(1, 3), min_size=len(parents[-1]), max_size=len(parents[-1])))
    leaf = np.repeat(np.arange(len(rows)), rows)
    if len(leaf) < 4:
        leaf = np.repeat(leaf, 3)
    names = [f"level{k}" for k in range(len(parents))]
    table, node = {}, leaf
    for k in range(len(parents) - 1, -1, -1):
        table[names[k]] = [f"n{i:03d}" for i in node]
        node = parents[k][node]
    slopes = [f"x{j}" for j in range(1, effects)]
    for name in [*slopes, "z", "y", "o"]:
        table[name] = rng.normal(size=len(leaf))
    table["w"] = rng.uniform(0.2, 5.0, size=len(leaf))
    frame = pd.DataFrame(table)
    formula = _formula(draw, names, slopes)
    student = not marginalized and draw(st.booleans())
    priors = {
        "tau": draw(st.sampled_from(PRIORS)),
        "sigma": draw(st.sampled_from(PRIORS)),
        "beta": LOCATIONS[0] if marginalized else draw(st.sampled_from(LOCATIONS)),
    }
    if student:
        priors["nu"] = draw(st.sampled_from([2.5, "Gamma(2, 0.1)"]))
    if draw(st.booleans()):
        priors[f"tau_{names[0]}"] = draw(st.sampled_from(PRIORS))
    spec = ModelSpec.from_formula(
        formula,
        family="student_t" if student else "gaussian",
        priors=priors,
        scale=draw(st.sampled_from(["level", "parent"])),
        offset=draw(st.sampled_from([None, "o"])),
        weights=draw(st.sampled_from([None, "w"])),
    )
    problem = Problem(spec, frame)
    if marginalized:
        return problem, Formulation.marginalized(names)
    centering = draw(
        st.lists(
            st.sampled_from(["centered", "noncentered"]), min_size=len(names), max_size=len(names)
        )
    )
    likelihoods = ["rows"] if student else ["rows", "statistics"]
    likelihood = draw(st.sampled_from(likelihoods))
    return problem, Formulation(tuple(names), tuple(centering), likelihood)


def _formula(draw, names, slopes):
    """All effects on all levels, or fewer on the lower ones; z varies nowhere."""
    inner = " + ".join(["1", *slopes])
    if slopes and len(names) > 1 and draw(st.booleans()):
        top, rest = names[0], "/".join(names)
        fixed = " + ".join(["1", "z", *slopes[:-1]])  # the last slope has no population mean
        return f"y ~ {fixed} + ({inner} || {top}) + (1 || {rest})"
    fixed = " + ".join(["1", *slopes, *draw(st.sampled_from([[], ["z"]]))])
    return f"y ~ {fixed} + ({inner} || {'/'.join(names)})"


def check(backend, problem, formulation, n=4):
    points = density_points(problem, n)
    reference = _densities("reference", problem, formulation, points)
    assert np.isfinite(reference).all()
    found = _densities(backend, problem, formulation, points)
    result = compare_densities(backend, "float64", reference, found)
    assert result.same, (result.largest, problem.spec.to_toml(), str(formulation))


def _densities(backend, problem, formulation, points):
    model = registry.get(backend).backend.compile(
        problem, formulation, sampler=None, device="cpu", dtype="float64"
    )
    return [model.log_density(point) for point in points]


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=problems())
def test_random_trees(backend, case):
    check(backend, *case)


@pytest.mark.parametrize("backend", MARGINALIZING)
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(case=problems(marginalized=True))
def test_random_trees_with_coefficients_integrated_out(backend, case):
    check(backend, *case)


@pytest.mark.parametrize("centering", ["centered", "noncentered"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("depth", [1, 5])
def test_chains_of_lone_children_with_single_rows(backend, depth, centering):
    """Two chains of `depth` nodes, one row at the end of each but for a third row to have variation."""
    names = [f"k{k}" for k in range(depth)]
    table = pd.DataFrame({name: ["a", "b", "b"] for name in names})
    table = table.assign(x=[0.3, -1.2, 2.0], y=[1.0, 0.2, -0.7])
    spec = ModelSpec.from_formula(f"y ~ x + (x || {'/'.join(names)})")
    check(backend, Problem(spec, table), Formulation(tuple(names), (centering,) * depth))


@pytest.mark.parametrize("centering", ["centered", "noncentered"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_blog_posts_model(backend, centering):
    """Scale per parent, uniform priors, Cauchy errors: the densities at 50 points."""
    problem = Problem(blog_spec(), datasets.blog_income(seed=1))
    check(backend, problem, Formulation(problem.spec.level_names, (centering,) * 3), n=50)


def test_the_check_sees_a_variance_read_as_a_standard_deviation(fake_engines):
    """The same check, on an engine that is wrong."""
    problem = Problem(blog_spec(), datasets.blog_income(seed=1))
    formulation = Formulation(problem.spec.level_names, ("centered",) * 3)
    with pytest.raises(AssertionError):
        check("variance", problem, formulation)
