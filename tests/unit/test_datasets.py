"""Moments are checked within 5 Monte Carlo standard errors: a chance of 6e-7 each, and seeds are fixed."""

import math

import numpy as np
import pandas as pd
import pytest

from nestor.data.datasets import (
    blog_income,
    blog_truth,
    income,
    income_truth,
    simulate_income,
    simulate_tree,
)
from nestor.data.datasets.simulate import apportion
from nestor.data.index import build_index
from nestor.errors import DataError
from nestor.model.spec import ModelSpec

FAMILIES = {
    "gaussian": {"sigma": 0.7},
    "student_t": {"sigma": 0.7, "nu": 12.0},
    "bernoulli": {},
    "binomial": {"trials": 7},
    "poisson": {},
    "negative_binomial": {"alpha": 3.0},
    "gamma": {"alpha": 3.0},
    "beta": {"phi": 6.0},
}
EXTRA = {"gaussian": "weights", "student_t": "weights"} | dict.fromkeys(
    ["poisson", "negative_binomial"], "exposure"
)


def mean_is(values, expected):
    """Whether the mean of independent `values` is `expected` within 5 standard errors."""
    return abs(np.mean(values) - expected) < 5.0 * np.std(values) / math.sqrt(len(values))


# --- the blog post ----------------------------------------------------------------------------


def test_blog_truth_is_the_posts():
    lines = {row[:3]: row[3:] for row in blog_truth().itertuples(index=False, name=None)}
    assert lines == {  # design, model.md: "The income example"
        ("no degree", "CA", "Riverside"): (5000.0, 1250.0),
        ("no degree", "IL", "Cook"): (6500.0, 1150.0),
        ("no degree", "IL", "Lake"): (7000.0, 1350.0),
        ("degree", "CA", "Riverside"): (6000.0, 1250.0),
        ("degree", "IL", "Cook"): (7500.0, 1150.0),
        ("degree", "IL", "Lake"): (8000.0, 1350.0),
    }


def test_blog_salaries_without_noise_lie_on_the_lines():
    table = blog_income(seed=3, noise_sd=0.0)
    assert list(table) == ["degree", "state", "county", "month_index", "salary"]
    groups = table.groupby(["degree", "state", "county"], sort=False)
    assert len(groups) == 6
    for path, slope, intercept in zip(
        blog_truth()[["degree", "state", "county"]].itertuples(index=False, name=None),
        blog_truth()["slope"],
        blog_truth()["intercept"],
        strict=True,
    ):
        series = groups.get_group(path)
        assert list(series["month_index"]) == list(range(len(series)))
        np.testing.assert_array_equal(series["salary"], slope * series["month_index"] + intercept)


def test_blog_series_have_1_to_23_months():
    keys = ["degree", "state", "county"]
    lengths = np.concatenate([blog_income(seed).groupby(keys).size() for seed in range(60)])
    # 360 draws: a given length is missed with probability (22/23)^360 = 1e-7
    assert set(lengths) == set(range(1, 24))


def test_blog_noise():
    noise = np.concatenate(
        [blog_income(s)["salary"] - blog_income(s, noise_sd=0.0)["salary"] for s in range(40)]
    )
    assert mean_is(noise, 0.0)
    assert mean_is(noise**2, 500.0**2)


# --- the demo ---------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", [blog_income, income, lambda seed: simulate_tree(seed=seed).table])
def test_same_seed_same_table_and_another_seed_another(draw):
    pd.testing.assert_frame_equal(draw(seed=5), draw(seed=5), check_exact=True)
    assert not draw(seed=5).equals(draw(seed=6))


@pytest.mark.parametrize("seed", range(4))
def test_income_table(seed):
    table = income(seed)
    keys = ["degree", "state", "county"]
    assert list(table) == [*keys, "month_index", "salary"]
    assert table["degree"].nunique() == 12
    months = table.groupby(keys)["month_index"].agg(["size", "nunique", "min", "max"])
    assert (months["size"] == months["nunique"]).all()
    assert (months["min"] == -(months["size"] // 2)).all()
    assert (months["max"] - months["min"] + 1 == months["size"]).all()
    assert months["size"].between(5, 12).all()
    assert 12 * 4 * 3 <= len(months) <= 12 * 4 * 5
    assert np.isfinite(table["salary"]).all()


@pytest.mark.parametrize("seed", range(4))
def test_income_nodes_are_the_indexs(seed):
    simulated = simulate_income(seed)
    index = build_index(simulated.table, ["degree", "state", "county"])
    np.testing.assert_array_equal(simulated.leaf[index.order], index.leaf)
    for level in index.levels:
        np.testing.assert_array_equal(simulated.parents[level.name], level.parent)
        assert simulated.truth[f"beta_{level.name}"].shape == (level.n, 2)
    assert {"Lake", "Orange", "Washington", "Jefferson"} <= set(simulated.table["county"])


def test_income_is_drawn_from_its_truth():
    residuals, deviations = [], {"state": [], "county": []}
    for seed in range(5):
        simulated = simulate_income(seed)
        truth, table = simulated.truth, simulated.table
        b = truth["beta_county"][simulated.leaf]
        residuals.append(table["salary"] - b[:, 0] - b[:, 1] * table["month_index"])
        for above, level in [("degree", "state"), ("state", "county")]:
            d = truth[f"beta_{level}"] - truth[f"beta_{above}"][simulated.parents[level]]
            deviations[level].append(d / truth[f"tau_{level}"])
    residuals = np.concatenate(residuals)
    assert mean_is(residuals, 0.0)
    assert mean_is(residuals**2, float(truth["sigma"]) ** 2)
    for z in deviations.values():
        for effect in np.concatenate(z).T:
            assert mean_is(effect, 0.0)
            assert mean_is(effect**2, 1.0)


def test_income_degrees_have_exactly_tau_and_pay_by_schooling():
    truth = income_truth(2)
    np.testing.assert_allclose(truth["beta_degree"].mean(axis=0), truth["beta"], rtol=1e-12)
    np.testing.assert_allclose(
        truth["beta_degree"].std(axis=0, ddof=1), truth["tau_degree"], rtol=1e-12
    )
    degrees = sorted(income(2)["degree"].unique())
    pay = dict(zip(degrees, truth["beta_degree"][:, 0], strict=True))
    assert min(pay, key=pay.get) == "no degree"
    assert max(pay, key=pay.get) == "doctorate"


def test_income_formula_is_a_model_of_its_table():
    simulated = simulate_income()
    spec = ModelSpec.from_formula(simulated.formula, **simulated.arguments)
    assert spec.level_names == ("degree", "state", "county")
    assert spec.effects == simulated.effects


# --- shapes of simulated trees ----------------------------------------------------------------


@pytest.mark.parametrize("depth", range(1, 7))
@pytest.mark.parametrize("imbalance", [0.0, 1.0])
@pytest.mark.parametrize("reuse_labels", [True, False])
def test_sizes_and_shapes(depth, imbalance, reuse_labels):
    branching = [2, 3, 2, 3, 1, 2][:depth]
    leaves = math.prod(branching)
    simulated = simulate_tree(
        depth,
        branching=branching,
        rows=leaves * 3 + 1,
        imbalance=imbalance,
        slopes=2,
        reuse_labels=reuse_labels,
        seed=depth,
    )
    names = [f"level{k + 1}" for k in range(depth)]
    assert list(simulated.table) == [*names, "x1", "x2", "y"]
    assert len(simulated.table) == leaves * 3 + 1
    index = build_index(simulated.table, names)
    np.testing.assert_array_equal(simulated.leaf[index.order], index.leaf)
    for k, level in enumerate(index.levels):
        assert level.n == math.prod(branching[: k + 1])
        np.testing.assert_array_equal(level.parent, simulated.parents[level.name])
        assert simulated.truth[f"beta_{level.name}"].shape == (level.n, 3)
        assert simulated.truth[f"tau_{level.name}"].shape == (3,)


def test_balanced_tree_is_balanced():
    simulated = simulate_tree(branching=[4, 5], rows=20 * 6 + 3)
    assert set(np.bincount(simulated.parents["level2"])) == {5}
    assert sorted(np.bincount(simulated.leaf)) == [6] * 17 + [7] * 3


def test_imbalanced_tree_is_skewed():
    simulated = simulate_tree(branching=[20, 20], imbalance=1.0)
    children = np.bincount(simulated.parents["level2"])
    # the largest share of Zipf's law over 20: 1 / (1 + 1/2 + ... + 1/20) = 0.278 of 380, and its own one
    assert children.max() == round(380 * 0.27795) + 1
    assert children.min() >= 1
    assert children.sum() == 400


@pytest.mark.parametrize(("total", "n"), [(7, 7), (100, 7), (10**6, 999), (5, 1)])
@pytest.mark.parametrize("imbalance", [0.0, 0.5, 3.0])
def test_apportion_gives_everyone_one_and_all_of_it(total, n, imbalance):
    counts = apportion(total, n, imbalance, np.random.default_rng(1))
    assert counts.shape == (n,)
    assert counts.sum() == total
    assert counts.min() >= 1


def test_rows_are_shuffled_unless_told():
    assert (np.diff(simulate_tree(shuffle=False).leaf) >= 0).all()
    assert (np.diff(simulate_tree().leaf) < 0).any()


def test_labels_are_reused_or_unique():
    table = simulate_tree(branching=[3, 4], levels=["state", "county"]).table
    assert set(table["county"]) == {f"county-{i}" for i in range(1, 5)}
    table = simulate_tree(branching=[3, 4], reuse_labels=False).table
    assert table["level2"].nunique() == 12
    assert len(table[["level1", "level2"]].drop_duplicates()) == 12


# --- truth ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["level", "parent"])
def test_deviations_have_their_scales(scale):
    simulated = simulate_tree(
        branching=[600, 4], rows_per_leaf=1, scale=scale, tau=[[0.5, 0.1], [2.0, 1.0]], seed=8
    )
    truth = simulated.truth
    above = {"level1": truth["beta"][None], "level2": truth["beta_level1"]}
    for level, parent in simulated.parents.items():
        tau = truth[f"tau_{level}"]
        if scale == "parent" and level == "level2":
            assert tau.shape == (600, 2)
            log = np.log(tau / [2.0, 1.0]).ravel()
            assert mean_is(log, 0.0)
            assert mean_is(log**2, 0.25)  # (log sd 0.5) ** 2, as documented
            tau = tau[parent]
        else:
            np.testing.assert_array_equal(tau, [[0.5, 0.1], [2.0, 1.0]][level == "level2"])
        for z in ((truth[f"beta_{level}"] - above[level][parent]) / tau).T:
            assert mean_is(z, 0.0)
            assert mean_is(z**2, 1.0)


def test_effects_that_do_not_vary_are_inherited_exactly():
    simulated = simulate_tree(
        3, branching=4, slopes=2, varying=[[True, True, False], [False, True, True], [True] * 3]
    )
    truth = simulated.truth
    np.testing.assert_array_equal(truth["beta_level1"][:, 2], truth["beta"][2])
    above = truth["beta_level1"][simulated.parents["level2"]]
    same = truth["beta_level2"] == above
    assert same[:, 0].all()
    assert not same[:, 1:].any()
    assert [truth[f"tau_level{k}"].shape for k in (1, 2, 3)] == [(2,), (2,), (3,)]


def test_correlated_effects():
    simulated = simulate_tree(1, branching=4000, rows_per_leaf=1, slopes=2, correlation=-0.3)
    z = (simulated.truth["beta_level1"] - simulated.truth["beta"]) / simulated.truth["tau_level1"]
    expected = np.full((3, 3), -0.3) + 1.3 * np.eye(3)
    np.testing.assert_allclose(simulated.truth["corr_level1"], expected, rtol=1e-15)
    for i in range(3):
        for j in range(i + 1):
            assert mean_is(z[:, i] * z[:, j], expected[i, j])


def linear_predictor(simulated):
    table, truth = simulated.table, simulated.truth
    coefficients = truth[f"beta_{list(simulated.parents)[-1]}"][simulated.leaf]
    columns = [1.0 if e == "Intercept" else table[e] for e in simulated.effects]
    eta = sum(coefficients[:, j] * x for j, x in enumerate(columns))
    eta = eta + sum(g * table[f"z{j + 1}"] for j, g in enumerate(truth.get("gamma", [])))
    return np.asarray(eta + table.get("offset", 0.0))


def moments(family, simulated):
    """Mean and variance of each row's outcome, from the documented parametrization."""
    truth, table = simulated.truth, simulated.table
    eta = linear_predictor(simulated)
    p = 1.0 / (1.0 + np.exp(-eta))
    m = np.exp(eta) * np.asarray(table.get("exposure", 1.0))
    w = np.asarray(table.get("weight", 1.0))
    n = np.asarray(table.get("trials", 1))
    if family == "gaussian":
        return eta, truth["sigma"] ** 2 / w
    if family == "student_t":
        return eta, truth["sigma"] ** 2 / w * truth["nu"] / (truth["nu"] - 2)
    if family in ("bernoulli", "binomial"):
        return n * p, n * p * (1 - p)
    if family == "beta":
        return p, p * (1 - p) / (1 + truth["phi"])
    return {
        "poisson": (m, m),
        "negative_binomial": (m, m + m**2 / truth.get("alpha", 1.0)),
        "gamma": (m, m**2 / truth.get("alpha", 1.0)),
    }[family]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rich", [False, True])
def test_outcomes_have_their_moments(family, rich):
    more = {"covariates": 2, "gamma": [0.4, -0.2], "offset": True} if rich else {}
    if rich and family in EXTRA:
        more[EXTRA[family]] = True
    simulated = simulate_tree(
        branching=[6, 6], rows=20_000, family=family, tau=0.3, seed=4, **FAMILIES[family], **more
    )
    mean, variance = moments(family, simulated)
    y = simulated.table["y"].to_numpy()
    z = (y - mean) / np.sqrt(variance)
    assert mean_is(z, 0.0)
    assert mean_is(z**2, 1.0)
    assert mean_is(z * linear_predictor(simulated), 0.0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tau", [0.5, 3.0])
def test_tables_are_finite_and_in_the_familys_support(family, tau):
    small = {name: 0.05 for name in FAMILIES[family] if name in ("alpha", "phi")}
    simulated = simulate_tree(
        2, branching=5, family=family, tau=tau, seed=1, **FAMILIES[family] | small
    )
    table = simulated.table
    assert np.isfinite(table.select_dtypes("number").to_numpy()).all()
    y = table["y"]
    counts = family in ("bernoulli", "binomial", "poisson", "negative_binomial")
    assert pd.api.types.is_integer_dtype(y) == counts
    if counts:
        assert y.min() >= 0
    if family == "bernoulli":
        assert set(y) == {0, 1}
    if family == "binomial":
        assert (y <= table["trials"]).all()
        assert set(table["trials"]) == set(range(1, 8))
    if family in ("gamma", "beta"):
        assert y.min() > 0
    if family == "beta":
        assert y.max() < 1


# --- formula and arguments --------------------------------------------------------------------


def test_formula_of_one_term():
    simulated = simulate_tree(levels=["state", "county"], slopes=2, covariates=1)
    assert simulated.formula == "y ~ 1 + x1 + x2 + z1 + (1 + x1 + x2 || state/county)"
    assert simulated.arguments == {"family": "gaussian"}


def test_formula_of_correlated_effects_without_intercept():
    simulated = simulate_tree(1, slopes=2, intercept=False, correlation=0.5)
    assert simulated.formula == "y ~ 0 + x1 + x2 + (0 + x1 + x2 | level1)"


def test_formula_with_levels_of_different_effects_is_a_spec():
    simulated = simulate_tree(
        varying=[[True, True], [False, True]], offset=True, weights=True, scale="parent"
    )
    assert simulated.formula == (
        "y ~ 1 + x1 + offset(offset) + (1 + x1 || level1) + (0 + x1 || level1:level2)"
    )
    spec = ModelSpec.from_formula(simulated.formula, **simulated.arguments)
    assert [level.effects for level in spec.levels] == [("Intercept", "x1"), ("x1",)]
    assert {level.scale for level in spec.levels} == {"parent"}
    assert (spec.offset, spec.weights) == ("offset", "weight")


def test_arguments_name_the_extra_columns():
    assert simulate_tree(family="binomial").arguments == {
        "family": "binomial",
        "trials": "trials",
    }
    assert simulate_tree(family="poisson", exposure=True).arguments == {
        "family": "poisson",
        "exposure": "exposure",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"depth": 0},
        {"depth": 1.5},
        {"depth": 2, "branching": [3]},
        {"branching": 0},
        {"branching": "3"},
        {"branching": np.array(3)},
        {"rows": 99},
        {"rows": 200, "rows_per_leaf": 2},
        {"rows_per_leaf": 0},
        {"imbalance": -1.0},
        {"imbalance": math.inf},
        {"slopes": -1},
        {"slopes": 0, "intercept": False},
        {"intercept": 1},
        {"covariates": -1},
        {"gamma": 0.5},
        {"gamma": [1.0, 2.0], "covariates": 3},
        {"varying": [[True, True]]},
        {"varying": [[1, 0], [1, 1]]},
        {"varying": [[True, True], [False, False]]},
        {"varying": [[True, False], [True, False]]},
        {"family": "normal"},
        {"scale": "node"},
        {"correlation": 1.0},
        {"correlation": -0.6, "slopes": 2},
        {"correlation": 0.5, "slopes": 0},
        {"beta": [1.0]},
        {"beta": math.nan},
        {"tau": 0.0},
        {"tau": [1.0, 1.0, 1.0]},
        {"tau": "wide"},
        {"sigma": -1.0},
        {"sigma": 1.0, "family": "poisson"},
        {"nu": 3.0},
        {"alpha": 1.0, "family": "beta"},
        {"phi": 1.0},
        {"trials": 3},
        {"trials": 0, "family": "binomial"},
        {"weights": True, "family": "poisson"},
        {"exposure": True},
        {"offset": "yes"},
        {"levels": ["a"], "depth": 2},
        {"levels": ["a", "a"]},
        {"levels": ["chain", "b"]},
        {"levels": ["x1", "b"]},
        {"levels": ["a/b", "c"]},
        {"reuse_labels": None},
        {"shuffle": 0},
        {"seed": -1},
        {"seed": True},
        {"beta": 40.0, "family": "poisson"},
    ],
    ids=str,
)
def test_bad_arguments_are_named(arguments):
    with pytest.raises(DataError) as caught:
        simulate_tree(**arguments)
    assert any(name in str(caught.value) for name in arguments)


@pytest.mark.parametrize("draw", [blog_income, income, simulate_income, income_truth])
@pytest.mark.parametrize("seed", [-1, 0.5, "x", None])
def test_bad_seeds(draw, seed):
    with pytest.raises(DataError, match="seed must be"):
        draw(seed)


@pytest.mark.parametrize("noise_sd", [-1.0, math.nan, "x"])
def test_bad_noise(noise_sd):
    with pytest.raises(DataError, match="noise_sd must be"):
        blog_income(noise_sd=noise_sd)
