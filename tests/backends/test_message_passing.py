"""Densities of leaves given all others: against dense linear algebra, 50 digits, and a count of the work."""

import dataclasses

import many_digits
import numpy as np
import pandas as pd
import pytest
from edges import CASES, EDGES
from gaussian_trees import at, gaussian_problems, random_scales, random_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nestor import ModelSpec, Problem
from nestor.data.index import NestedIndex
from nestor.errors import Unsupported
from nestor.posterior.message_passing import Predictive, triangles
from nestor_reference import log_marginal_dense

QUICK = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def without(problem, v):
    """The same tree and priors, less the rows of leaf v."""
    return with_rows(problem, problem.leaf != v)


def with_rows(problem, kept):
    """The same tree and priors with some of the rows."""
    rows = problem.rows
    arrays = {f.name: getattr(rows, f.name) for f in dataclasses.fields(rows)}
    rows = dataclasses.replace(rows, **{n: a[kept] for n, a in arrays.items() if a is not None})
    counts = np.bincount(rows.leaf, minlength=problem.index.n_leaves)
    index = NestedIndex(problem.index.levels, counts, rows.order, rows.leaf)
    return problem._with_rows(index, rows)


def with_sigma(problem, scales, n):
    sigma = problem.priors.family["sigma"]
    return {"sigma": np.full(n, sigma.value)} | scales if sigma.is_fixed else scales


@QUICK
@given(problem=gaussian_problems(), seed=st.integers(0, 2**32))
def test_equals_the_marginal_with_the_leaf_less_the_one_without(problem, seed):
    scales = random_scales(problem, np.random.default_rng(seed), 2)
    found = Predictive.of_leaves(problem).log_density(with_sigma(problem, scales, 2))
    for i in range(2):
        whole = log_marginal_dense(problem, at(scales, i))
        for v in range(problem.index.n_leaves):
            wanted = whole - log_marginal_dense(without(problem, v), at(scales, i))
            assert found[v, i] == pytest.approx(wanted, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_holds_at_every_edge(case):
    problem, scales = case.problem, case.scales
    one = with_sigma(problem, {n: np.asarray(a)[None] for n, a in scales.items()}, 1)
    found = Predictive.of_leaves(problem).log_density(one)[:, 0]
    whole = many_digits.log_marginal(problem, scales)
    # Of a covariate that the effects explain but for 1e-8 eight digits are left, and sigma counts them.
    few = case.edge == "covariates that effects explain" and case.how == "no sigma"
    for v in range(problem.index.n_leaves):
        wanted = whole - many_digits.log_marginal(without(problem, v), scales)
        # 50 digits are rounded to doubles before they are subtracted.
        rel = 1e-6 if few else 1e-8
        assert found[v] == pytest.approx(wanted, rel=rel, abs=1e-8 + 4e-16 * abs(whole))


@QUICK
@given(problem=gaussian_problems(), seed=st.integers(0, 2**32))
def test_rows_equal_the_marginal_with_the_row_less_the_one_without(problem, seed):
    scales = random_scales(problem, np.random.default_rng(seed), 1)
    found = Predictive.of_rows(problem).log_density(with_sigma(problem, scales, 1))
    whole = log_marginal_dense(problem, at(scales, 0))
    for i in range(0, problem.n_rows, 5):
        rest = log_marginal_dense(with_rows(problem, np.arange(problem.n_rows) != i), at(scales, 0))
        assert found[i, 0] == pytest.approx(whole - rest, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_hold_at_edges(case):
    problem, scales = case.problem, case.scales
    one = with_sigma(problem, {n: np.asarray(a)[None] for n, a in scales.items()}, 1)
    found = Predictive.of_rows(problem).log_density(one)[:, 0]
    whole = many_digits.log_marginal(problem, scales)
    for i in range(0, problem.n_rows, 3):
        rest = many_digits.log_marginal(with_rows(problem, np.arange(problem.n_rows) != i), scales)
        assert found[i] == pytest.approx(whole - rest, rel=1e-8, abs=1e-8 + 4e-16 * abs(whole))


def test_a_tau_of_exactly_zero_pools_the_leaves(small_problem):
    """Without any variation the leaves share the population's coefficients."""
    scales = {"tau_g": np.zeros(2), "tau_h": np.zeros(2), "sigma": np.array(0.9)}
    found = Predictive.of_leaves(small_problem).log_density({n: a[None] for n, a in scales.items()})
    wanted = log_marginal_dense(small_problem, scales) - log_marginal_dense(
        without(small_problem, 2), scales
    )
    assert found[2, 0] == pytest.approx(wanted, rel=1e-10)


def test_a_covariate_that_is_constant_in_every_leaf():
    """Within leaves nothing but rounding is left of it."""
    table = random_table(2, np.random.default_rng(4))
    table["z"] = table.groupby("level1").ngroup() / 3 + 1e3
    problem = Problem(ModelSpec.from_formula("y ~ x1 + z + (x1 || level0/level1)"), table)
    scales = random_scales(problem, np.random.default_rng(5), 1)
    found = Predictive.of_leaves(problem).log_density(scales)
    whole = log_marginal_dense(problem, at(scales, 0))
    for v in range(problem.index.n_leaves):
        wanted = whole - log_marginal_dense(without(problem, v), at(scales, 0))
        assert found[v, 0] == pytest.approx(wanted, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize(
    "edge", ["plain", "covariates and an offset", "weights", "fewer rows than effects"]
)
def test_needs_no_rows_in_memory(edge):
    formula, table, arguments = EDGES[edge]()
    spec = ModelSpec.from_formula(formula, **arguments)
    whole = Problem(spec, table)
    thirds = [table.iloc[i::3] for i in range(3)]
    streamed = Problem.from_batches(spec, thirds)
    scales = random_scales(whole, np.random.default_rng(2), 3, spread=0.5)
    found = Predictive.of_leaves(streamed).log_density(scales)
    np.testing.assert_allclose(found, Predictive.of_leaves(whole).log_density(scales), rtol=1e-8)


def test_statistics_by_leaf_add_up(small_table):
    spec = ModelSpec.from_formula("y ~ x + (1 || g/h)", weights="w")
    table = small_table.assign(w=np.exp(small_table.x))
    found = Problem.from_batches(spec, [table.iloc[:25], table.iloc[25:]]).statistics
    np.testing.assert_allclose(found.residual_by_leaf.sum(axis=0), found.residual, rtol=1e-13)
    logs = small_table.x.groupby([small_table.g, small_table.h]).sum()
    np.testing.assert_allclose(found.log_weights, logs.to_numpy(), rtol=1e-12)


def nodes_rotated(monkeypatch, parents):
    """Numbers of nodes in all rotations of one evaluation, on a tree with so many leaves per parent."""
    n = sum(parents)
    leaf = np.repeat(np.arange(n), 2)
    parent = np.repeat(np.arange(len(parents)), parents)[leaf]
    rng = np.random.default_rng(1)
    columns = {"a": [f"a{v:04d}" for v in parent], "b": [f"b{v:04d}" for v in leaf]}
    table = pd.DataFrame(columns | {"x": rng.normal(size=2 * n), "y": rng.normal(size=2 * n)})
    problem = Problem(ModelSpec.from_formula("y ~ x + (x || a/b)"), table)
    predictive, counted = Predictive.of_leaves(problem), []
    rotate = triangles._rotate

    def counting(*pairs):
        counted.append(pairs[0][0].shape[1])
        rotate(*pairs)

    monkeypatch.setattr(triangles, "_rotate", counting)
    one = np.ones(1)
    predictive.log_density({"tau_a": np.ones((1, 2)), "tau_b": np.ones((1, 2)), "sigma": one})
    monkeypatch.undo()
    return sum(counted), len(counted)


@pytest.mark.parametrize("shape", ["many parents", "many siblings", "uneven"])
def test_work_grows_with_nodes_and_calls_with_their_logarithm(monkeypatch, shape):
    trees = {
        "many parents": [[4] * 8, [4] * 64],
        "many siblings": [[16, 16], [128, 128]],
        "uneven": [[31, 1], [255, 1]],
    }[shape]
    (few, calls), (many, more) = (nodes_rotated(monkeypatch, tree) for tree in trees)
    assert 4 < many / few <= 8.5
    # Eight times as many siblings take three more rounds of pairs, each a fixed number of calls.
    assert more - calls <= 3 * 3 * 10


def test_refuses_what_is_no_gaussian_given_the_scales(small_table):
    student = ModelSpec.from_formula("y ~ x + (x || g/h)", family="student_t")
    with pytest.raises(Unsupported, match="student_t"):
        Predictive.of_leaves(Problem(student, small_table))
    cauchy = ModelSpec.from_formula("y ~ x + (x || g/h)", priors={"beta[x]": "Cauchy(0, 1)"})
    with pytest.raises(Unsupported, match=r"beta\[x\]"):
        Predictive.of_leaves(Problem(cauchy, small_table))
