"""Draws with names: the tree, the file it is written to, and what reads it."""

import warnings

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import nestor
from nestor import ModelSpec, Problem
from nestor.backend import Draws, Timings
from nestor.model.terms import quoted
from nestor.posterior.draws import read_draws
from nestor.runner.datatree import plain, posterior_of, read_statistics, to_datatree

CHAINS, LENGTH = 2, 10


def draws_of(problem, seed=0):
    rng = np.random.default_rng(seed)
    lead = (CHAINS, LENGTH)
    values = {n: rng.normal(size=(*lead, *v.shape)) for n, v in problem.variables.items()}
    stats = {"diverging": rng.random(lead) < 0.1, "lp": rng.normal(size=lead)}
    return Draws(problem.with_inherited(values), stats, Timings(), {})


def tree_of(problem, attrs=None):
    return to_datatree(problem, draws_of(problem), attrs or {})


def table_of(states, counties, n=60):
    rng = np.random.default_rng(8)
    found = pd.DataFrame({"state": rng.choice(states, n), "county": rng.choice(counties, n)})
    found = found.assign(x=rng.normal(size=n), z=rng.normal(size=n), w=rng.uniform(1, 2, n))
    return found.assign(y=rng.uniform(1, 2, n))


TABLE = table_of(["CA", "IL", "WA"], ["Cook", "Lake"])
FULL = "y ~ x + z + offset(w) + (x || state) + (1 || state:county)"


def problem(formula=FULL, table=TABLE, **arguments):
    return Problem(ModelSpec.from_formula(formula, **arguments), table)


@pytest.fixture(scope="module")
def full():
    return problem(weights="w", scale={"county": "parent"})


def written_and_read(tree, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree.to_netcdf(tmp_path / "draws.nc", engine="h5netcdf")
    found = az.from_netcdf(tmp_path / "draws.nc").load()
    found.close()
    return found


def assert_same(tree, found):
    assert set(found.children) == set(tree.children)
    for group in tree.children:
        # not assert_identical: text comes back with a fixed width
        xr.testing.assert_equal(found[group].to_dataset(), tree[group].to_dataset())
        assert set(found[group].coords) == set(tree[group].coords)
    assert dict(found.attrs) == dict(tree.attrs)


def test_the_posterior_has_the_designs_dims_and_coordinates(full):
    tree = tree_of(full)
    posterior = tree["posterior"].to_dataset()
    # Effects before nodes: ArviZ's summary would otherwise mix up labels (docs/decisions/018).
    assert {name: array.dims[2:] for name, array in posterior.data_vars.items()} == {
        name: tuple(sorted(v.dims, key=lambda dim: dim in ("state", "county")))
        for name, v in full.variables.items()
    }
    assert set(posterior.coords) == set(posterior.dims)
    assert tree["posterior"]["beta_county"].dims == ("chain", "draw", "effect", "county")
    # Labels and ancestors, which not all variables have, are beside the posterior.
    kept = {**tree["constant_data"].coords, **posterior.coords}
    assert {n: list(kept[n].values) for n in full.coords} == {
        name: list(value) for name, value in full.coords.items()
    }
    draws = draws_of(full)
    for name, variable in full.variables.items():
        found = posterior[name].transpose("chain", "draw", *variable.dims)
        assert np.array_equal(found, draws.values[name])


def test_draws_are_read_whatever_the_order_of_their_dimensions(full):
    tree = tree_of(full)
    turned = tree.copy()
    nodes_first = tree["posterior"].to_dataset().transpose("chain", "draw", "county", "state", ...)
    turned["posterior"] = xr.DataTree(nodes_first)
    assert turned["posterior"]["beta_county"].dims[2] == "county"
    wanted = draws_of(full).values
    for found in (read_draws(full, turned, full.variables), posterior_of(full, turned)):
        assert all(np.array_equal(found[name], wanted[name]) for name in full.variables)


def test_every_variable_says_what_it_is(full, tmp_path):
    found = written_and_read(tree_of(full), tmp_path)["posterior"]
    said = {name: array.attrs["long_name"] for name, array in found.data_vars.items()}
    assert said == {name: v.description for name, v in full.variables.items()}
    assert said["beta_county"] == (
        "coefficients of each county: the total, not the deviation from its parent"
    )
    assert said["tau_county"] == (
        "standard deviation of each county's coefficients around its state's, for each state"
    )
    assert said["tau_state"] == (
        "standard deviation of each state's coefficients around the population's"
    )
    assert "do not vary" in said["gamma"]
    assert "do not" not in said["beta"]


def test_statistics_and_data_have_groups_of_their_own(full):
    tree = tree_of(full)
    assert set(tree["sample_stats"].data_vars) == {"diverging", "lp"}
    rows = TABLE.iloc[tree["observed_data"].row.values]
    assert np.array_equal(tree["observed_data"].y, rows.y)
    assert list(tree["observed_data"].county_of_row.values) == list(rows.state + "/" + rows.county)
    constant = tree["constant_data"]
    assert np.array_equal(constant.X.sel(effect="x"), rows.x)
    assert np.array_equal(constant.Z.sel(covariate="z"), rows.z)
    assert np.array_equal(constant.offset, rows.w)
    assert np.array_equal(constant.weights, rows.w)
    assert np.array_equal(constant.parent_of_county, full.levels[1].parent)
    assert np.array_equal(constant.leaf, full.leaf)


def test_what_the_model_lacks_is_not_there():
    constant = tree_of(problem("y ~ 1 + (1 || state)"))["constant_data"]
    assert set(constant.data_vars) == {"X", "leaf"}


def test_it_reads_back_from_netcdf(full, tmp_path):
    tree = tree_of(
        full, {"engine": "pymc", "settings": {"b": None, "a": [1, True]}, "bytes": 2**40}
    )
    found = written_and_read(tree, tmp_path)
    assert_same(tree, found)
    assert found.attrs["settings"] == '{"a": [1, true], "b": null}'


def test_without_rows_it_says_so(full, tmp_path):
    streamed = Problem.from_batches(full.spec, [TABLE.iloc[:20], TABLE.iloc[20:]])
    tree = tree_of(streamed)
    found = written_and_read(tree, tmp_path)
    assert_same(tree, found)
    xr.testing.assert_equal(tree["posterior"].to_dataset(), tree_of(full)["posterior"].to_dataset())
    assert not tree["observed_data"].data_vars
    constant = found["constant_data"]
    assert set(constant.data_vars) == {"rows_per_leaf", "parent_of_county"}
    counts = TABLE.groupby(["state", "county"]).size()
    assert list(constant.rows_per_leaf.values) == list(counts)
    assert list(constant.rows_per_leaf.county.values) == ["/".join(path) for path in counts.index]
    stored = read_statistics(found)
    for name in ("root", "fit", "residual", "rows_per_leaf", "log_weights"):
        assert np.array_equal(getattr(stored, name), getattr(streamed.statistics, name))
    assert list(found["leaf_statistics"]["response"].values) == ["y", "z"]
    assert read_statistics(tree_of(full)) is None
    for group in ("observed_data", "constant_data"):
        assert found[group].attrs["rows"].startswith("read in batches and not kept")
        assert "rows" not in tree_of(full)[group].attrs


ODD = {
    "signs and unicode": table_of(["a/b", "é\\", "☃ \n"], ["/", "//", " "]),
    "empty": table_of(["", "a", "b"], ["", "/"]),
    "long": table_of(["x" * 5000, "y"], ["u" * 3000, "v"]),
    "numbers": table_of([1.5, 2.0, 1e300], [0, -1]),
    "dates": table_of(pd.to_datetime(["2020-01-01", "2021-01-01"]), [True, False]),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_labels_read_back(name, tmp_path):
    tree = tree_of(problem(table=ODD[name]))
    assert_same(tree, written_and_read(tree, tmp_path))


COLUMNS = ("a b", "a/b", "é", ".", "draw", "posterior", "X", "effect")


@pytest.mark.parametrize("outcome", [*(quoted(name) for name in COLUMNS), "log(y)", "log(`a/b`)"])
def test_odd_outcomes_read_back(outcome, tmp_path):
    table = TABLE.assign(**dict.fromkeys(COLUMNS, TABLE.y))
    found = problem(f"{outcome} ~ 1 + (1 || state/county)", table)
    tree = tree_of(found)
    back = written_and_read(tree, tmp_path)
    assert_same(tree, back)
    (observed,) = back["observed_data"].data_vars.values()
    assert observed.attrs["term"] == outcome
    assert np.array_equal(observed, found.y)


def test_odd_effects_read_back(tmp_path):
    table = TABLE.rename(columns={"x": "x / y"})
    tree = tree_of(problem("y ~ `x / y` + (log(w) + `x / y` || state)", table))
    found = written_and_read(tree, tmp_path)
    assert_same(tree, found)
    assert list(found["posterior"].effect.values) == ["Intercept", "`x / y`", "log(w)"]


@pytest.mark.parametrize(
    "level", ["school id", " ", "school\n\tid", "é.:", "posterior", "0", "x" * 200, ".."]
)
def test_odd_levels_read_back(level, tmp_path):
    found = problem(f"y ~ x + (x || `{level}`/county)", TABLE.rename(columns={"state": level}))
    tree = tree_of(found)
    assert_same(tree, written_and_read(tree, tmp_path))


def test_coordinates_of_a_level_with_a_blank_have_an_underscore():
    found = problem(
        "y ~ x + (x || `the state`/county)", TABLE.rename(columns={"state": "the state"})
    )
    posterior = nestor.with_labels(tree_of(found))["posterior"].to_dataset()
    assert {"the state", "the_state_label", "the_state_of_county"} <= set(posterior.coords)
    means = posterior["beta_county"].groupby("the_state_of_county").mean()
    assert means.sizes["the_state_of_county"] == 3


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("text", "text"),
        ("", ""),
        (3, 3),
        (0.5, 0.5),
        (True, "true"),
        (None, "null"),
        ([], "[]"),
        ({"b": 1, "a": (1, None)}, '{"a": [1, null], "b": 1}'),
        ({"step": float("nan"), "n": np.int64(3)}, '{"n": 3, "step": null}'),
        (np.array([1.5, np.inf]), "[1.5, null]"),
    ],
)
def test_attributes_are_plain(value, stored):
    found = plain(value)
    assert (found, type(found)) == (stored, type(stored))


def test_attributes_that_json_cannot_say_are_errors():
    with pytest.raises(TypeError, match="set has no plain form"):
        plain({1, 2})
