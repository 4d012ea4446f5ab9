"""What ArviZ does with a fit of two levels: numbers against the draws themselves, and every picture."""

import arviz as az
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import nestor
from nestor import DataError, ModelSpec, Problem, SpecError
from nestor.backend import Draws, Timings
from nestor.runner.datatree import to_datatree

mpl.use("agg")
CHAINS, LENGTH = 2, 60


def table_of():
    rng = np.random.default_rng(8)
    n = 80
    table = pd.DataFrame(
        {"state": rng.choice(["CA", "IL"], n), "county": rng.choice(["a", "b"], n)}
    )
    return table.assign(x=rng.normal(size=n), z=rng.normal(size=n), y=rng.normal(size=n))


TABLE = table_of()
FORMULA = "y ~ x + (x || state) + (1 || state:county)"


@pytest.fixture(scope="session")
def fit():
    problem = Problem(ModelSpec.from_formula(FORMULA), TABLE)
    how = {"chains": CHAINS, "warmup": 60, "draws": LENGTH, "seed": 1, "progress": False}
    found = nestor.with_log_likelihood(problem, nestor.fit(problem, "numba", **how), progress=False)
    # nestor predicts nothing yet: this stands for a group that a user adds.
    likelihood = found["log_likelihood"]["y"]
    noise = np.random.default_rng(1).normal(size=likelihood.shape)
    found["posterior_predictive"] = xr.DataTree(likelihood.copy(data=noise).to_dataset())
    return found


@pytest.fixture(scope="session")
def stored(fit, tmp_path_factory):
    path = tmp_path_factory.mktemp("draws") / "draws.nc"
    fit.to_netcdf(path, engine="h5netcdf")
    return az.from_netcdf(path).load()


@pytest.fixture(params=["fit", "stored"])
def tree(request):
    return request.getfixturevalue(request.param)


def rows_of(posterior):
    """Draws of every scalar by ArviZ's name for it."""
    for name, array in posterior.data_vars.items():
        dims = array.dims[2:]
        for where in np.ndindex(*(array.sizes[dim] for dim in dims)):
            labels = [str(array[d].values[i]) for d, i in zip(dims, where, strict=True)]
            draws = array.values[(slice(None), slice(None), *where)]
            yield f"{name}[{', '.join(labels)}]" if labels else name, draws


def check_means(found, posterior):
    wanted = {label: draws.mean() for label, draws in rows_of(posterior)}
    assert list(found.index) == list(wanted)
    np.testing.assert_allclose(found["mean"].astype(float), list(wanted.values()), rtol=1e-12)


def test_summary_has_every_scalar_beside_its_own_name(tree):
    found = az.summary(tree, round_to="none")
    check_means(found, tree["posterior"].to_dataset())
    assert "beta_county[x, IL/b]" in found.index


@pytest.mark.parametrize(
    "names", [["beta_county"], ["beta_state", "beta_county"], ["sigma", "beta_county", "beta"]]
)
def test_summary_of_some_variables_in_any_order(fit, names):
    found = az.summary(fit, var_names=names, round_to="none", kind="stats")
    check_means(found, fit["posterior"].to_dataset()[names])


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + z + (x + z || state) + (1 + z || state:county)",
        "y ~ z + (0 + x || state) + (x || state:county)",
        "y ~ x + (x || state) + (x || state:county)",
    ],
)
@pytest.mark.parametrize("scale", ["level", "parent"])
def test_summary_of_other_models_names_its_rows_right(formula, scale):
    problem = Problem(ModelSpec.from_formula(formula, scale=scale), TABLE)
    rng = np.random.default_rng(3)
    shapes = {n: (2, 5, *v.shape) for n, v in problem.variables.items()}
    values = problem.with_inherited({n: rng.normal(size=shape) for n, shape in shapes.items()})
    tree = to_datatree(problem, Draws(values, {"lp": np.zeros((2, 5))}, Timings(), {}), {})
    found = az.summary(tree, round_to="none", kind="stats")
    check_means(found, tree["posterior"].to_dataset())


def test_deviations_and_the_population_are_summarized(fit):
    deviations = nestor.deviations(fit)
    check_means(az.summary(deviations, round_to="none", kind="stats"), deviations)
    population = nestor.population(fit)
    found = az.summary(population, round_to="none", kind="stats")
    assert list(found.index) == ["population[Intercept]", "population[x]"]


def test_nestors_own_summary_names_scalars_as_its_tables_do(fit):
    found = nestor.summary(fit, round_to="none")
    posterior = fit["posterior"]
    for county in posterior["county"].values:
        for effect in ("Intercept", "x"):
            draws = posterior["beta_county"].sel(county=county, effect=effect)
            mean = found.loc[f"beta_county[{county}, {effect}]", "mean"]
            assert mean == pytest.approx(float(draws.mean()), rel=1e-12)
    problem = Problem(ModelSpec.from_formula(FORMULA), TABLE)
    assert set(problem.scalars.labels) <= set(found.index)
    assert list(nestor.summary(fit, ["sigma"]).index) == ["sigma"]
    assert list(nestor.summary(fit, "sigma").index) == ["sigma"]
    for odd in ([], 5, [1], [None]):
        with pytest.raises(DataError):
            nestor.summary(fit, odd)
    with pytest.raises(DataError, match="draws are wanted as the DataTree"):
        nestor.summary(None)
    with pytest.raises(TypeError):
        nestor.summary(fit, no_such_option=1)
    with pytest.raises(DataError, match="no omega"):
        nestor.summary(fit, ["omega"])


def test_summary_selects_labels_and_takes_arvizs_options(fit):
    found = nestor.summary(fit, coords={"county": "CA/a", "effect": ["x"]}, round_to="none")
    assert "beta_county[CA/a, x]" in found.index
    assert "sigma" in found.index
    assert [n for n in found.index if "Intercept" in n or "CA/b" in n] == ["tau_county[Intercept]"]
    wanted = float(fit["posterior"]["beta_county"].sel(county="CA/a", effect="x").mean())
    assert found.loc["beta_county[CA/a, x]", "mean"] == pytest.approx(wanted, rel=1e-12)
    few = nestor.summary(fit, "beta", kind="stats", ci_prob=0.5, ci_kind="eti", round_to=3)
    assert list(few.columns) == ["mean", "sd", "eti50_lb", "eti50_ub"]
    assert "beta_county[CA/a, x]" in nestor.summary(fit, coords={"chain": [0]}, kind="stats").index


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "zz"}, "kind must be all, stats, diagnostics"),
        ({"ci_prob": "x"}, "ci_prob must lie between 0 and 1, not 'x'"),
        ({"ci_prob": 1.5}, "ci_prob must lie between 0 and 1"),
        ({"ci_kind": "x"}, "ci_kind must be hdi or eti, not 'x'"),
        ({"fmt": "xarray"}, r"for a Dataset call arviz\.summary"),
        ({"fmt": "zz"}, "fmt must be wide or long, not 'zz'"),
        ({"round_to": "x"}, "round_to must be auto, none or None, not 'x'"),
        ({"round_to": 1.5}, "round_to must be a whole number"),
        ({"skipna": "x"}, "skipna must be True or False"),
        ({"group": "prior"}, r"another group call arviz\.summary\(fit, group="),
        ({"group": None}, "summarizes the group posterior, not None"),
        ({"coords": "x"}, "coords must be a mapping of dimensions to labels"),
        ({"coords": {"a": ["b"]}}, "no variable asked for has a dimension 'a'; there are chain"),
        ({"coords": {"conty": ["b"]}}, "Did you mean 'county'"),
        (
            {"coords": {"county": ["CA/A"]}},
            "'CA/A' is no county of these draws. Did you mean 'CA/a'",
        ),
        ({"coords": {"county": []}}, "selects no county; name at least one"),
        ({"coords": {"effect": slice(1, 2)}}, "coords: cannot select effect"),
        ({"var_names": "sigma", "coords": {"county": ["CA/a"]}}, "no variable asked for"),
    ],
)
def test_options_of_summary_that_are_none_are_refused(fit, options, message):
    with pytest.raises((SpecError, DataError), match=message):
        nestor.summary(fit, **options)


def test_diagnostics_of_every_variable(tree):
    for function in (az.ess, az.rhat, az.mcse):
        found = function(tree)
        for name, array in tree["posterior"].data_vars.items():
            assert found[name].dims == array.dims[2:]
    assert az.ess(tree)["beta_county"].sel(effect="x", county="CA/a") > 0


def test_draws_are_extracted(tree):
    found = az.extract(tree)
    assert found.sizes["sample"] == CHAINS * LENGTH
    assert set(found.data_vars) == set(tree["posterior"].data_vars)
    assert az.extract(tree, group="log_likelihood").dims == ("row", "sample")


@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")
def test_predictive_accuracy(stored):
    found = az.loo(stored, pointwise=True)
    assert found.n_data_points == len(TABLE)
    table = az.compare({"one": stored, "other": stored})
    assert table.loc["other", "elpd"] == pytest.approx(found.elpd, abs=1)  # whole numbers there


SOME = ["beta", "tau_county", "beta_county"]
PICTURES = {
    "plot_trace": {"var_names": SOME},
    "plot_trace_dist": {"var_names": SOME},
    "plot_forest": {},
    "plot_rank": {"var_names": SOME},
    "plot_pair": {"var_names": ["beta", "tau_state"]},
    "plot_energy": {},
    "plot_ppc_dist": {},
    "plot_dist": {"var_names": SOME},
    "plot_autocorr": {"var_names": ["beta_state"]},
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(stored, name):
    found = getattr(az, name)(stored, **PICTURES[name], backend="matplotlib")
    figure = found.viz["figure"].item()
    figure.canvas.draw()
    assert figure.axes


def test_a_forest_has_a_row_for_each_node(fit):
    found = az.plot_forest(fit, var_names=["beta_county"], backend="matplotlib")
    words = {text.get_text() for axis in found.viz["figure"].item().axes for text in axis.texts}
    assert {"beta_county", "Intercept", "x", *fit["posterior"]["county"].values} <= words
