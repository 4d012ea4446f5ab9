"""Labels, deviations and the population, from draws alone."""

import re
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import nestor
from nestor import DataError, ModelSpec, Problem
from nestor.backend import Draws, Timings
from nestor.runner.datatree import to_datatree

CHAINS, LENGTH = 2, 12
LEAD = ("chain", "draw")


def table_of_tree():
    """Three levels, uneven; state "ME" has a single county, whose single town is a leaf of its own."""
    leaves = [
        *(("CA", "Lake", t) for t in ("a", "b", "c")),
        *(("CA", "Kern", t) for t in ("a", "d")),
        *(("IL", "Lake", t) for t in ("a", "b")),
        ("IL", "Cook", "e"),
        ("ME", "York", "a"),
    ]
    rng = np.random.default_rng(5)
    found = pd.DataFrame(leaves * 4, columns=["state", "county", "town"])
    n = len(found)
    return found.assign(x=rng.normal(size=n), z=rng.normal(size=n), y=rng.normal(size=n))


TABLE = table_of_tree()


def fitted(formula, table=TABLE, **arguments):
    problem = Problem(ModelSpec.from_formula(formula, **arguments), table)
    rng = np.random.default_rng(2)
    shapes = {n: (CHAINS, LENGTH, *v.shape) for n, v in problem.variables.items()}
    values = problem.with_inherited({n: rng.normal(size=shape) for n, shape in shapes.items()})
    draws = Draws(values, {"lp": np.zeros((CHAINS, LENGTH))}, Timings(), {})
    attrs = {"spec": problem.resolved_spec.model_dump(mode="json", exclude_none=True)}
    return problem, to_datatree(problem, draws, attrs), values


def from_file(tree, tmp_path):
    tree.to_netcdf(tmp_path / "draws.nc", engine="h5netcdf")
    return az.from_netcdf(tmp_path / "draws.nc").load()


def by_hand(problem, values):
    """Deviations by a loop over nodes, (chain, draw, node, effect)."""
    found = {}
    for k, level in enumerate(problem.levels):
        own = values[f"beta_{level.name}"]
        found[level.name] = np.empty_like(own)
        for node in range(level.n):
            if k == 0:
                parent = values["beta"]
            else:
                parent = values[f"beta_{problem.levels[k - 1].name}"][:, :, level.parent[node]]
            found[level.name][:, :, node] = own[:, :, node] - parent
    return found


FORMULAS = {
    "all effects at all levels": "y ~ x + (x || state/county/town)",
    "some effects at some levels": (
        "y ~ x + z + (x || state) + (0 + x || state:county) + (1 || state:county:town)"
    ),
    "root at zero": "y ~ 1 + (x || state/county) + (0 + x || state:county:town)",
    "all at zero": "y ~ 0 + (x || state/county/town)",
    "a level without effects": "y ~ x + (x || state) + (x || state:county:town)",
}


@pytest.mark.parametrize(
    ("name", "stored"),
    [*((name, False) for name in FORMULAS), ("some effects at some levels", True)],
)
def test_deviations_are_a_nodes_total_less_its_parents(name, stored, tmp_path):
    problem, fit, values = fitted(FORMULAS[name])
    found = nestor.deviations(from_file(fit, tmp_path) if stored else fit)
    assert list(found.data_vars) == [f"deviation_{name}" for name in problem.spec.level_names]
    for level in problem.levels:
        array = found[f"deviation_{level.name}"]
        own = fit["posterior"][f"beta_{level.name}"]
        assert array.dims == own.dims
        assert set(array.coords) == set(own.coords)
        assert list(array[level.name].values) == list(own[level.name].values)
        got = array.transpose(*LEAD, level.name, "effect").values
        assert np.array_equal(got, by_hand(problem, values)[level.name])
        rest = np.delete(np.arange(len(problem.effects)), level.varying)
        assert not got[..., rest].any()


def test_deviations_on_a_path_add_up_to_the_leaf():
    _, fit, _ = fitted(FORMULAS["some effects at some levels"])
    parts = nestor.with_labels(fit, nestor.deviations(fit))
    total = fit["posterior"]["beta"]
    for level in ("state", "county"):
        ancestors = parts[f"{level}_of_town"]
        total = total + parts[f"deviation_{level}"].sel({level: ancestors})
    total = total + parts["deviation_town"]
    wanted = fit["posterior"]["beta_town"]
    # Sums of four doubles of order one.
    np.testing.assert_allclose(total.transpose(*wanted.dims), wanted, atol=1e-14)
    assert parts["deviation_town"].attrs["long_name"] == (
        "deviation of each town's coefficients from its county's"
    )


def test_deviations_of_per_parent_scales_and_odd_names(tmp_path):
    odd = {"state": "the state", "county": "state_label"}
    table = TABLE.rename(columns=odd)
    problem, fit, values = fitted(
        "y ~ x + (x || `the state`) + (1 || `the state`:state_label)", table, scale="parent"
    )
    found = nestor.deviations(from_file(fit, tmp_path))
    got = found["deviation_state_label"].transpose(*LEAD, "state_label", "effect")
    assert np.array_equal(got, by_hand(problem, values)["state_label"])


def test_deviations_of_selected_and_reordered_nodes_are_theirs():
    _, fit, _ = fitted(FORMULAS["all effects at all levels"])
    whole = nestor.deviations(fit)
    turned = nestor.deviations(fit.isel(state=[2, 0, 1], county=[3, 1, 0, 4, 2]))
    xr.testing.assert_equal(turned.sel(state=whole["state"], county=whole["county"]), whole)
    some = {"state": ["IL"], "county": ["IL/Cook", "IL/Lake"], "town": ["IL/Lake/b", "IL/Cook/e"]}
    found = nestor.deviations(fit.sel(some))
    xr.testing.assert_equal(found, whole.sel(some))


def test_deviations_without_a_parent_say_so():
    _, fit, _ = fitted(FORMULAS["all effects at all levels"])
    with pytest.raises(DataError, match="lack the state 'IL', the parent of the county 'IL/Cook'"):
        nestor.deviations(fit.sel(state=["CA", "ME"], county=["IL/Cook"], town=["IL/Cook/e"]))
    with pytest.raises(DataError, match=r"no dimension state: of one node, select a list"):
        nestor.deviations(fit.sel(state="CA"))


def test_deviations_say_what_is_missing():
    _, fit, _ = fitted(FORMULAS["all effects at all levels"])
    with pytest.raises(DataError, match="the attribute 'spec'"):
        nestor.deviations(xr.DataTree.from_dict({"posterior": fit["posterior"].to_dataset()}))
    without = fit.copy()
    del without["constant_data"]
    with pytest.raises(DataError, match="state_of_county"):
        nestor.deviations(without)
    without = fit.copy()
    without["posterior"] = xr.DataTree(fit["posterior"].to_dataset().drop_vars("beta_county"))
    with pytest.raises(DataError, match="lack beta_county"):
        nestor.deviations(without)
    with pytest.raises(DataError, match="this is a Dataset"):
        nestor.deviations(fit["posterior"].to_dataset())


@pytest.mark.parametrize("stored", [False, True])
def test_population_has_all_population_coefficients_under_one_name(stored, tmp_path):
    _, fit, values = fitted("y ~ 1 + z + (x || state) + (1 || state:county)")
    found = nestor.population(from_file(fit, tmp_path) if stored else fit)
    assert found.dims == ("chain", "draw", "term")
    assert list(found.term.values) == ["Intercept", "z"]  # x is 0 in the population
    assert np.array_equal(found.sel(term="Intercept"), values["beta"][..., 0])
    assert np.array_equal(found.sel(term="z"), values["gamma"][..., 0])


def test_an_intercept_that_does_not_vary_is_found_in_the_population():
    _, fit, values = fitted("y ~ 1 + x + (0 + x || state)")
    found = nestor.population(fit)
    assert list(found.term.values) == ["Intercept", "x"]
    assert np.array_equal(found.sel(term="Intercept"), values["gamma"][..., 0])


def test_a_model_without_population_coefficients_says_so():
    _, fit, _ = fitted(FORMULAS["all at zero"])
    with pytest.raises(DataError, match="no population coefficients"):
        nestor.population(fit)


PAGE = Path(__file__).parents[2] / "docs" / "model.md"
ROWS = re.findall(r"^\| `(y ~ .*?)` \| (.*) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)


def test_the_model_page_has_its_table():
    assert len(ROWS) == 7


@pytest.mark.parametrize(("formula", "population", "scales"), ROWS, ids=[row[0] for row in ROWS])
def test_the_model_page_names_what_the_draws_have(formula, population, scales):
    problem = Problem(ModelSpec.from_formula(formula.replace("\\|", "|")), TABLE)
    named = {"beta": set(), "gamma": set(), "tau": set()}
    for name in problem.scalars.labels:
        kind = "tau" if name.startswith("tau_") else name.partition("[")[0]
        named.setdefault(kind, set()).add(name)
    assert set(re.findall("`(.*?)`", population)) == named["beta"] | named["gamma"]
    assert set(re.findall("`(.*?)`", scales)) == named["tau"]


# --- labels


@pytest.fixture(params=["as fitted", "read from a file"])
def fit(request, tmp_path):
    _, found, _ = fitted("y ~ x + (x || state/county/town)")
    return found if request.param == "as fitted" else from_file(found, tmp_path)


def test_draws_are_grouped_by_an_ancestor(fit):
    labelled = nestor.with_labels(fit)
    ds = labelled["posterior"].to_dataset()
    found = ds.beta_town.groupby("state_of_town").mean()
    for state in ("CA", "IL", "ME"):
        own = [path for path in ds.town.values if path.startswith(f"{state}/")]
        wanted = ds.beta_town.sel(town=own).mean("town")
        got = found.sel(state_of_town=state)
        assert got.transpose(*wanted.dims).values == pytest.approx(wanted.values, rel=1e-12)
    # The coordinate by itself does as well, without a copy.
    again = fit["posterior"]["beta_town"].groupby(fit["constant_data"]["state_of_town"]).mean()
    xr.testing.assert_equal(again, found)


def test_draws_are_selected_by_path_and_label(fit):
    ds = nestor.with_labels(fit)["posterior"].to_dataset()
    assert ds.beta_county.sel(county="CA/Lake", effect="x").dims == LEAD
    lakes = ds.beta_county.where(ds.county_label == "Lake", drop=True)
    assert list(lakes.county.values) == ["CA/Lake", "IL/Lake"]


def test_labels_go_to_whatever_has_nodes(fit):
    means = fit["posterior"]["beta_town"].mean(LEAD).isel(town=[4, 0])
    found = nestor.with_labels(fit, means)
    paths = found.town.values.tolist()
    assert found.state_of_town.values.tolist() == [path.split("/")[0] for path in paths]
    assert found.town_label.values.tolist() == [path.split("/")[2] for path in paths]
    assert "state_label" not in found.coords
    with pytest.raises(DataError, match="'XX' is no town"):
        nestor.with_labels(fit, means.assign_coords(town=["XX", "CA/Lake/a"]))


def test_the_fit_itself_is_left_as_it_is(fit):
    before = set(fit["posterior"].coords)
    labelled = nestor.with_labels(fit)
    assert set(fit["posterior"].coords) == before
    assert np.shares_memory(labelled["posterior"]["beta"].values, fit["posterior"]["beta"].values)
    assert dict(labelled.attrs) == dict(fit.attrs)
    assert set(labelled.children) == set(fit.children)


def test_labels_are_written_and_read_back(fit, tmp_path):
    labelled = nestor.with_labels(fit)
    labelled.to_netcdf(tmp_path / "labelled.nc", engine="h5netcdf")
    found = az.from_netcdf(tmp_path / "labelled.nc").load()
    for name in ("state_label", "state_of_town", "county_of_town"):
        assert np.array_equal(found["posterior"][name], labelled["posterior"][name])


def test_without_labels_it_says_so(fit):
    bare = xr.DataTree.from_dict({"posterior": fit["posterior"].to_dataset()})
    with pytest.raises(DataError, match="no labels of nodes"):
        nestor.with_labels(bare)


@pytest.mark.parametrize("data", [5, "beta", {}, [1]], ids=repr)
def test_what_cannot_be_labelled_is_refused(data):
    _, fit, _ = fitted("y ~ x + (x || state)")
    message = (
        r"data must be a Dataset or DataArray with nodes of these draws, such as nestor\.deviations"
    )
    with pytest.raises(DataError, match=message):
        nestor.with_labels(fit, data)
