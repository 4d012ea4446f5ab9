"""From a table to arrays: alignment, names, coordinates, inherited entries, errors."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nestor import ModelSpec, Problem
from nestor.errors import DataError, SpecError

RNG = np.random.default_rng(5)
N = 48
TABLE = pd.DataFrame(
    {
        "state": RNG.choice(["CA", "IL", "WA"], N),
        "county": RNG.choice(["Lake", "Cook"], N),
        "tract": RNG.choice(["1", "2"], N),
        "x": RNG.normal(size=N),
        "z": RNG.normal(size=N),
        "e 1": RNG.normal(size=N),
        "w 1": RNG.uniform(0.5, 2, N),
        "b": RNG.random(N) < 0.5,
        "i": RNG.integers(0, 9, N),
    }
).assign(y=lambda t: t.x + RNG.normal(size=N))
FULL = "y ~ x + z + offset(`e 1`) + (x || state) + (1 || state:county)"


def problem(formula=FULL, table=TABLE, missing="error", **arguments):
    return Problem(ModelSpec.from_formula(formula, **arguments), table, missing=missing)


@pytest.fixture(scope="module")
def full():
    return problem(weights="w 1", scale={"county": "parent"})


# --- arrays -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index", [None, np.arange(N)[::-1], ["r"] * N, pd.date_range("2020", periods=N)]
)
def test_rows_stay_together_when_they_are_sorted(index):
    table = TABLE if index is None else TABLE.set_axis(index)
    found = problem(table=table, weights="w 1")
    rows = table.iloc[found.index.order]
    paths = found.index.levels[-1].paths[found.leaf]
    assert list(paths) == list(rows.state + "/" + rows.county)
    assert (np.diff(found.leaf) >= 0).all()
    assert np.array_equal(found.y, rows.y)
    assert np.array_equal(found.X, np.column_stack([np.ones(N), rows.x]))
    assert np.array_equal(found.Z, rows[["z"]])
    assert np.array_equal(found.offset, rows["e 1"])
    assert np.array_equal(found.weights, rows["w 1"])


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_nullable_and_arrow_columns_give_the_same_problem(backend):
    other = problem(table=TABLE.convert_dtypes(dtype_backend=backend), weights="w 1")
    assert other.fingerprint == problem(weights="w 1").fingerprint


def test_categories_that_are_not_used_are_no_nodes():
    table = TABLE.assign(state=pd.Categorical(TABLE.state, ["WA", "CA", "IL", "NY"]))
    assert problem(table=table).fingerprint == problem().fingerprint


def test_booleans_and_integers_are_numbers():
    found = problem("y ~ b + i + (b || state)")
    rows = TABLE.iloc[found.index.order]
    assert np.array_equal(found.X[:, 1], rows.b.astype(float))
    assert np.array_equal(found.Z[:, 0], rows.i)
    assert found.X.dtype == found.Z.dtype == found.y.dtype == np.float64


def test_a_column_named_like_a_transform_is_the_column():
    table = TABLE.assign(**{"log(w)": TABLE["w 1"], "log(e)": TABLE["e 1"]})
    found = problem("y ~ 1 + (1 || state)", table, weights="log(w)", offset="log(e)")
    assert np.array_equal(found.weights, TABLE["w 1"].iloc[found.index.order])
    assert np.array_equal(found.offset, TABLE["e 1"].iloc[found.index.order])


def test_the_order_of_leaves_in_the_table_does_not_matter():
    by_leaf = TABLE.sort_values(["county", "state"], kind="stable", ascending=False)
    assert problem(table=by_leaf).fingerprint == problem().fingerprint


def test_rows_in_another_order_are_the_same_nodes_and_scalars():
    other, own = problem(table=TABLE.iloc[::-1]), problem()
    assert other.scalars.labels == own.scalars.labels
    assert np.array_equal(other.leaf, own.leaf)
    assert np.array_equal(np.sort(other.y[other.leaf == 0]), np.sort(own.y[own.leaf == 0]))
    for address, prior in own.priors.by_address().items():
        assert other.priors.by_address()[address].args == pytest.approx(prior.args, rel=1e-12)


def test_whatever_changes_the_posterior_changes_the_fingerprint():
    changed = TABLE.assign(y=TABLE.y.where(TABLE.index != 7, TABLE.y + 1e-9))
    vague = {"priors": {"sigma": "HalfNormal(1)"}}
    others = [
        problem(weights="w 1"),
        problem(),
        problem(table=changed),
        problem(table=TABLE.replace({"county": {"Lake": "lake"}})),
        problem(family="student_t"),
        problem(scale="parent"),
        problem(**vague),
        problem(FULL.replace(" + offset(`e 1`)", "")),
    ]
    assert len({p.fingerprint for p in others}) == len(others)


def test_a_resolved_description_gives_the_same_problem():
    own = problem(weights="w 1")
    again = Problem(own.resolved_spec, TABLE)
    assert again.fingerprint == own.fingerprint
    assert not again.priors.automatic
    assert ModelSpec.from_toml(own.resolved_spec.to_toml()) == own.resolved_spec


def test_a_problem_can_be_sent_to_another_process(full):
    again = pickle.loads(pickle.dumps(full))
    assert again.fingerprint == full.fingerprint
    assert again.scalars.labels == full.scalars.labels
    assert again.spec == full.spec
    assert again.priors.by_address() == full.priors.by_address()


def test_it_shows_itself():
    expected = "Problem('y ~ 1 + x + (1 + x || state)', 48 rows, 3 state)"
    assert repr(problem("y ~ x + (x || state)")) == expected


# --- variables, labels, coordinates -----------------------------------------------------------


def test_variables_have_the_designs_names_dims_and_roles(full):
    found = {v.name: (v.dims, v.shape, v.role) for v in full.variables.values()}
    assert found == {
        "beta": (("effect",), (2,), "population"),
        "tau_state": (("effect",), (2,), "scale"),
        "tau_county": (("state", "effect_county"), (3, 1), "scale"),
        "beta_state": (("state", "effect"), (3, 2), "node"),
        "beta_county": (("county", "effect"), (6, 2), "node"),
        "gamma": (("covariate",), (1,), "population"),
        "sigma": ((), (), "family"),
    }
    assert np.array_equal(full.variables["beta_county"].random, [[True, False]] * 6)


def test_coordinates_carry_paths_labels_and_ancestors():
    table = TABLE.assign(state=TABLE.state.replace({"CA": "C/A"}))
    coords = problem("y ~ 1 + (1 || state/county/tract)", table).coords
    assert list(coords["state"]) == ["C\\/A", "IL", "WA"]
    assert list(coords["state_label"]) == ["C/A", "IL", "WA"]
    for path, label, state, county in zip(
        coords["tract"],
        coords["tract_label"],
        coords["state_of_tract"],
        coords["county_of_tract"],
        strict=True,
    ):
        assert path == f"{county}/{label}"
        assert county.startswith(f"{state}/")
    dims = problem("y ~ 1 + (1 || state/county/tract)", table).coord_dims
    assert set(dims) == set(coords)
    assert {dims[name] for name in ("tract_label", "state_of_tract", "county_of_tract")} == {
        "tract"
    }


def test_numeric_labels_read_alike_in_paths_and_labels():
    table = TABLE.assign(state=TABLE.state.map({"CA": 1.0, "IL": 2.0, "WA": 10.0}))
    coords = problem("y ~ 1 + (1 || state)", table).coords
    assert list(coords["state"]) == list(coords["state_label"]) == ["1", "2", "10"]


def test_scalars_are_the_random_entries_in_the_order_of_flatten(full):
    labels = full.scalars.labels
    assert len(set(labels)) == len(labels) == len(full.scalars)
    # 2 beta, 2 tau_state, 3 x 1 tau_county, 3 x 2 nodes, 6 x 1 nodes (month inherited), gamma, sigma.
    assert len(labels) == 2 + 2 + 3 + 6 + 6 + 1 + 1
    assert {
        "beta[x]",
        "tau_county[CA, Intercept]",
        "beta_county[CA/Lake, Intercept]",
        "sigma",
    } < set(labels)
    assert "beta_county[CA/Lake, x]" not in labels
    # Write each scalar's place into its own entry: flatten must give 0, 1, 2, ...
    values = {name: np.full((1, 1, *v.shape), np.nan) for name, v in full.variables.items()}
    for i in range(len(labels)):
        variable = full.scalars.variables[full.scalars.variable[i]]
        values[variable.name].reshape(-1)[full.scalars.position[i]] = i
    assert np.array_equal(full.scalars.flatten(values)[0, 0], np.arange(len(labels)))
    nodes = [label.startswith(("beta_state", "beta_county")) for label in labels]
    assert np.array_equal(full.scalars.is_node, nodes)


def test_flatten_reads_the_entry_that_the_label_names(full):
    rng = np.random.default_rng(2)
    values = {name: rng.normal(size=(2, 3, *v.shape)) for name, v in full.variables.items()}
    flat = full.scalars.flatten(values)
    assert flat.shape == (2, 3, len(full.scalars))
    coords = full.coords
    counties, states = list(coords["county"]), list(coords["state"])
    at = full.scalars.labels.index
    found = flat[..., at("beta_county[WA/Cook, Intercept]")]
    assert np.array_equal(found, values["beta_county"][..., counties.index("WA/Cook"), 0])
    found = flat[..., at("tau_county[IL, Intercept]")]
    assert np.array_equal(found, values["tau_county"][..., states.index("IL"), 0])
    assert np.array_equal(flat[..., at("sigma")], values["sigma"])


def test_fixed_and_zero_mean_entries_are_no_scalars():
    found = problem("y ~ 1 + (x || state)", family="student_t", priors={"nu": 4})
    assert "nu" not in found.variables
    assert "beta[x]" not in found.scalars.labels
    assert "beta_state[CA, x]" in found.scalars.labels
    all_zero = problem("y ~ 0 + (0 + x || state)")
    assert "beta" not in {v.name for v in all_zero.random_variables}
    assert not any(label.startswith("beta[") for label in all_zero.scalars.labels)


@pytest.mark.parametrize("lead", [(), (2, 3)])
def test_inherited_entries_are_the_parents(full, lead):
    rng = np.random.default_rng(3)
    values = {name: rng.normal(size=(*lead, *v.shape)) for name, v in full.variables.items()}
    filled = full.with_inherited(values)
    parent = full.levels[1].parent
    assert np.array_equal(filled["beta_county"][..., 1], values["beta_state"][..., parent, 1])
    assert np.array_equal(filled["beta_county"][..., 0], values["beta_county"][..., 0])
    for name in ("beta", "beta_state", "tau_county", "sigma"):
        assert np.array_equal(filled[name], values[name])
    assert not np.array_equal(values["beta_county"][..., 1], filled["beta_county"][..., 1])


def test_a_level_without_effects_inherits_everything_and_a_root_may_be_zero():
    spec = ModelSpec(
        outcome="y",
        effects=("Intercept", "x"),
        zero_mean=("x",),
        levels=[
            {"name": "state", "effects": ["Intercept"]},
            {"name": "county", "effects": []},
            {"name": "tract", "effects": ["x"], "scale": "parent"},
        ],
    )
    found = Problem(spec, TABLE)
    assert "tau_county" not in found.variables
    assert not found.variables["beta_county"].random.any()
    assert found.variables["tau_tract"].dims == ("county", "effect_tract")
    filled = found.with_inherited({n: np.ones(v.shape) * 7 for n, v in found.variables.items()})
    assert np.array_equal(filled["beta"], [7, 0])
    assert np.array_equal(filled["beta_county"], [[7, 0]] * 6)
    assert np.array_equal(filled["beta_tract"], [[7, 7]] * found.levels[2].n)
    assert not any("beta_county" in label for label in found.scalars.labels)


def test_scales_of_nodes_follow_the_parent_or_the_level(full):
    state, county = full.levels
    tau = np.array([[1.0], [2.0], [3.0]])
    assert np.array_equal(county.scale_of_nodes(tau), tau[county.parent])
    assert np.array_equal(state.scale_of_nodes(np.array([4.0, 5.0])), [[4, 5]] * 3)
    draws = np.arange(12.0).reshape(2, 2, 3, 1)
    assert np.array_equal(county.scale_of_nodes(draws), draws[..., county.parent, :])


def test_a_scale_per_parent_on_the_first_level_is_one_scale():
    found = problem("y ~ 1 + (1 || state)", scale="parent")
    assert found.variables["tau_state"].dims == ("effect",)


# --- what does not fit ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": 3.0}, r"predictor 'x' is constant \(3 in every row\)"),
        ({"z": 3.0}, r"predictor 'z' is constant"),
        ({"b": True, "x": TABLE.x}, None),
        ({"state": "CA"}, r"level 'state' has a single node \('CA'\)"),
        ({"w 1": 0.0}, r"weights column 'w 1' has 48 value\(s\) <= 0"),
        ({"w 1": -TABLE["w 1"].where(TABLE.index == 3, -1)}, r"has 1 value\(s\) <= 0"),
        (
            {"w 1": TABLE["w 1"].where(TABLE.index != 3)},
            r"column 'w 1' has 1 missing value \(row 3\)",
        ),
        ({"w 1": TABLE["w 1"].where(TABLE.index != 3, np.inf)}, "column 'w 1' has 1 infinite"),
        ({"e 1": TABLE.x.where(TABLE.index != 3)}, r"column 'e 1' has 1 missing value \(row 3\)"),
        ({"y": TABLE.y.where(TABLE.index != 3)}, r"column 'y' has 1 missing value \(row 3\)"),
        ({"x": TABLE.x.where(TABLE.index != 3)}, r"column 'x' has 1 missing value \(row 3\)"),
        ({"y": "high"}, "column 'y' is not numeric"),
        ({"state": TABLE.state.where(TABLE.index != 3)}, r"1 in column 'state' \(rows 3\)"),
    ],
)
def test_bad_columns_are_named(changes, message):
    table = TABLE.assign(**changes)
    if message is None:
        problem(table=table, weights="w 1")
        return
    with pytest.raises(DataError, match=message):
        problem(table=table, weights="w 1")


@pytest.mark.parametrize("column", ["x", "z", "e 1", "w 1", "y", "state", "county"])
def test_a_column_that_is_not_there_is_named(column):
    with pytest.raises(DataError, match=f"column '{column}'"):
        problem(table=TABLE.drop(columns=column), weights="w 1")


@pytest.mark.parametrize(
    "formula", ["y ~ Intercept + x + (1 || state)", "y ~ x + (Intercept + x || state)"]
)
def test_a_column_called_intercept_and_the_constant_are_told_apart(formula, tmp_path):
    table = TABLE.assign(Intercept=TABLE.x**2)
    table.to_parquet(tmp_path / "rows.parquet")
    spec = ModelSpec.from_formula(formula)
    with_priors = spec.with_priors({"sigma": 1})
    makers = {
        "table": lambda spec: Problem(spec, table),
        "parquet": lambda spec: Problem.from_parquet(spec, tmp_path / "rows.parquet"),
        "batches": lambda spec: Problem.from_batches(spec, [table]),
        "arrow": lambda spec: Problem.from_batches(spec, [pa.Table.from_pandas(table)]),
    }
    for make in makers.values():
        for given in (spec, with_priors):
            with pytest.raises(DataError, match="write 1 for the constant, or `Intercept`"):
                make(given)
        # What says which of the two it means, or leaves it to convention, is taken.
        for plain in (
            formula.replace("Intercept", "1"),
            formula.replace("Intercept", "`Intercept`"),
        ):
            assert make(ModelSpec.from_formula(plain)).n_rows == len(TABLE)
    assert Problem(spec, TABLE).n_rows == len(TABLE)
    assert spec == ModelSpec.from_formula(formula.replace("Intercept", "1"))


def test_a_table_without_rows_is_refused():
    with pytest.raises(DataError, match="no rows"):
        problem(table=TABLE.iloc[:0])


def test_rows_without_a_key_become_a_node_where_that_is_asked_for():
    table = TABLE.assign(state=TABLE.state.where(TABLE.index % 5 != 0))
    found = problem("y ~ 1 + (1 || state)", table, missing="group")
    assert list(found.coords["state"]) == ["CA", "IL", "WA", "(missing)"]
    assert np.array_equal(np.sort(found.y[found.leaf == 3]), np.sort(TABLE.y[::5]))
    with pytest.raises(SpecError, match="missing='drop' is unknown"):
        problem("y ~ 1 + (1 || state)", table, missing="drop")


def test_a_single_node_is_fine_where_nothing_varies():
    found = problem("y ~ 1 + (1 || state:county)", TABLE.assign(state="CA"))
    assert found.levels[0].n == 1
    assert "tau_state" not in found.variables


def test_the_table_is_read_only():
    table = TABLE.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problem("log(`w 1`) ~ scale(x) + (scale(x) || state/county)", table)
    pd.testing.assert_frame_equal(table, TABLE)


def test_what_is_not_a_spec_or_a_table_is_named(small_table):
    with pytest.raises(SpecError, match="takes a ModelSpec, not str"):
        Problem("y ~ x + (x || g)", small_table)
    with pytest.raises(DataError, match="must be a pandas DataFrame, not dict"):
        Problem(ModelSpec.from_formula("y ~ x + (x || g)"), {"y": [1.0]})


def test_another_outcome_keeps_the_design_and_the_resolved_priors(small_problem):
    y = small_problem.y * 100.0 + 7.0
    other = small_problem.with_outcome(y)
    assert np.array_equal(other.y, y)
    assert other.priors is small_problem.priors
    assert other.resolved_spec == small_problem.resolved_spec
    assert other.fingerprint != small_problem.fingerprint
    assert small_problem.with_outcome(small_problem.y).fingerprint == small_problem.fingerprint
    assert other.index is small_problem.index


@pytest.mark.parametrize("bad", [[1.0], None])
def test_another_outcome_has_one_finite_number_a_row(small_problem, bad):
    y = np.full(small_problem.n_rows, np.nan) if bad is None else np.array(bad)
    with pytest.raises(DataError, match="finite numbers"):
        small_problem.with_outcome(y)


def test_repeated_rows_stay_sorted_by_leaf(small_problem):
    twice = small_problem.repeated(2)
    assert twice.n_rows == 2 * small_problem.n_rows
    assert np.array_equal(twice.leaf[::2], small_problem.leaf)
    assert np.array_equal(twice.X[1::2], small_problem.X)
    assert np.array_equal(np.bincount(twice.leaf), twice.index.rows_per_leaf)
    assert twice.priors is small_problem.priors
    assert twice.scalars.labels == small_problem.scalars.labels


def test_a_problem_of_a_table_has_its_rows(full):
    assert full.has_rows
    assert np.array_equal(full.order, full.index.order)
    assert full.rows.y is full.y
    assert full.n_rows == len(full.y) == full.index.n_rows == N
    twice = full.repeated(2)
    assert np.array_equal(twice.order, np.repeat(full.order, 2))
    assert np.array_equal(twice.index.leaf, twice.leaf)
    assert twice.weights.sum() == pytest.approx(2 * full.weights.sum())


def test_statistics_follow_rows_that_are_repeated(full):
    own, twice = full.statistics, full.repeated(2).statistics
    np.testing.assert_allclose(twice.fit, own.fit, rtol=1e-10)
    np.testing.assert_allclose(twice.gram, 2 * own.gram, rtol=1e-12)
    np.testing.assert_allclose(twice.residual, 2 * own.residual, rtol=1e-9)
    assert np.array_equal(twice.rows_per_leaf, 2 * own.rows_per_leaf)
