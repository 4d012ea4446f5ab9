"""Draws of another model, of other data or of other priors are told from those of a problem."""

import numpy as np
import pytest
import xarray as xr

from nestor import ModelSpec, Problem
from nestor.backend import Draws, Timings
from nestor.errors import DataError
from nestor.posterior.provenance import check_same_posterior
from nestor.runner.datatree import to_datatree

FORMULA = "y ~ x + z + (x || g/h)"
OPTIONS = {"weights": "w", "offset": "o"}


@pytest.fixture(scope="module")
def table(small_table):
    rng = np.random.default_rng(3)
    return small_table.assign(
        z=rng.normal(size=60), w=np.exp(rng.normal(size=60)), o=rng.normal(size=60)
    )


def spec_of(formula=FORMULA, **options):
    return ModelSpec.from_formula(formula, **(OPTIONS | options))


def in_batches(spec, table, rows=17):
    return Problem.from_batches(
        spec, [table.iloc[k : k + rows] for k in range(0, len(table), rows)]
    )


MAKERS = {"table": Problem, "batches": in_batches}


def tree_of(problem, *, attrs=True):
    """Draws of nothing, with all that a fit stores of the problem."""
    lead = (1, 2)
    values = {n: np.ones((*lead, *v.shape)) for n, v in problem.variables.items()}
    spec = problem.resolved_spec.model_dump(mode="json", exclude_none=True)
    stored = {"spec": spec, "fingerprint": problem.fingerprint} if attrs else {}
    return to_datatree(problem, Draws(values, {"lp": np.zeros(lead)}, Timings(), {}), stored)


@pytest.fixture(scope="module", params=MAKERS)
def fit(request, table):
    return tree_of(MAKERS[request.param](spec_of(), table))


@pytest.fixture(params=MAKERS)
def make(request):
    """Problem with rows, or without."""
    return MAKERS[request.param]


def test_the_same_posterior_is_accepted(fit, make, table):
    check_same_posterior(make(spec_of(), table), fit)


def test_rows_in_another_order_are_the_same_posterior(fit, make, table):
    shuffled = table.sample(frac=1, random_state=1)
    problem = make(spec_of(), shuffled)
    assert problem.fingerprint != fit.attrs["fingerprint"]
    check_same_posterior(problem, fit)


def test_columns_of_another_name_and_rounding_are_the_same_posterior(fit, make, table):
    renamed = table.rename(columns={"w": "u", "o": "v"})
    renamed["x"] *= 1 + 1e-14
    check_same_posterior(make(spec_of(weights="u", offset="v"), renamed), fit)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": None}, "their weights: 'w', here: none"),
        ({"offset": None}, "their offset: 'o', here: none"),
        ({"weights": None, "offset": None}, "their offset: 'o', here: none; their weights: 'w'"),
        ({"weights": "z2"}, "their weights: 'w', here: 'z2'"),
        ({"priors": {"sigma": 0.5}}, r"prior of sigma was HalfStudentT\(.*, not Fixed\(0.5\)\.$"),
        ({"priors": {"tau_h": "HalfNormal(9)"}}, r"prior of tau_h\[Intercept\] was HalfNormal\("),
        ({"scale": "parent"}, "scale of level 'h' was one per level, not one per parent"),
        ({"formula": "y ~ x + (x || g/h)"}, "formula was y ~ 1 .* not y ~"),
        ({"formula": "y ~ x + z + (1 || g) + (x || g:h)"}, "formula was y ~ 1 .* not y ~"),
        ({"formula": "y2 ~ x + z + (x || g/h)"}, "their outcome: 'y', here: 'y2'"),
    ],
)
def test_other_models_are_named(fit, make, table, options, message):
    more = table.assign(z2=table.z**2, y2=table.y**2)
    with pytest.raises(DataError, match=f"not of this problem's posterior: .*{message}"):
        check_same_posterior(make(spec_of(**options), more), fit)


def test_another_family_is_named(table):
    fit = tree_of(Problem(spec_of(), table))
    other = Problem(spec_of(family="student_t", priors={"nu": 4}), table)
    with pytest.raises(DataError, match="family was gaussian, not student_t"):
        check_same_posterior(other, fit)
    with pytest.raises(DataError, match="family was student_t, not gaussian"):
        check_same_posterior(Problem(spec_of(), table), tree_of(other))


def moved(column, by=0.1):
    def change(table):
        found = table.copy()
        found.loc[7, column] += by
        return found

    return change


def swapped(table):
    """Two outcomes of one leaf change places: means and squares stay."""
    found = table.copy()
    one, other = found.index[(found.g == "a") & (found.h == "x")][:2]
    found.loc[[one, other], "y"] = table.loc[[other, one], "y"].to_numpy()
    return found


def in_another_leaf(table):
    """A row goes from a leaf to another, and one comes back: leaves keep their numbers of rows."""
    found = table.copy()
    a, b = found.index[found.g == "a"][0], found.index[found.g == "b"][0]
    found.loc[[a, b], ["g", "h"]] = table.loc[[b, a], ["g", "h"]].to_numpy()
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (moved("y"), "values of 'y'. What is left out"),
        (moved("y", 1e-6), "values of 'y'"),
        (moved("x"), "values of 'x'."),
        (moved("z"), "values of 'z'."),
        (moved("w"), "values of the weights."),
        (moved("o"), "values of ('y'|the offset)."),
        (swapped, "values of ('x', 'z', )?'y'(, 'z')?."),
        (in_another_leaf, "other values of"),
        (lambda t: t.iloc[:-1], "given 60 rows, not 59"),
    ],
)
def test_other_data_are_named(fit, make, table, change, message):
    with pytest.raises(DataError, match=f"not of this problem's posterior: .*{message}"):
        check_same_posterior(make(spec_of(), change(table)), fit)


def test_a_column_is_named_whatever_the_order_of_rows(table):
    fit = tree_of(Problem(spec_of(), table))
    other = Problem(spec_of(), moved("x")(table).sample(frac=1, random_state=1))
    with pytest.raises(DataError, match=r"other values of 'x'\. What"):
        check_same_posterior(other, fit)


FORMULAS = ("y ~ 1 + (1 || g/h)", "y ~ 0 + x + (0 + x || g/h)", "y ~ 1 + (0 + x || g/h)")


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("options", [OPTIONS, {"weights": None, "offset": None}], ids=str)
def test_sums_of_rows_and_of_statistics_are_the_same(table, formula, options):
    """With an intercept among the effects or not; far from zero, where rounding counts.

    Where there is no intercept, sums are not centred: it is automatic priors that are seen to differ.
    """
    far = table.assign(x=table.x + 1e4, y=table.y + 1e5)
    spec = spec_of(formula, **options)
    whole, streamed = Problem(spec, far), in_batches(spec, far)
    check_same_posterior(streamed, tree_of(whole))
    check_same_posterior(whole, tree_of(streamed))
    check_same_posterior(in_batches(spec, far, 60), tree_of(streamed))
    for problem, other in ((whole, in_batches), (in_batches(spec, far), Problem)):
        with pytest.raises(DataError, match=r"other values of|which comes from the data"):
            check_same_posterior(other(spec, moved("y", 1e-4)(far)), tree_of(problem))


def test_data_are_compared_without_a_description(fit, make, table):
    bare = fit.copy()
    bare.attrs = {"spec": "of something else"}
    check_same_posterior(make(spec_of(), table), bare)
    with pytest.raises(DataError, match="values of"):
        check_same_posterior(make(spec_of(weights=None), table), bare)


def test_what_was_not_stored_is_not_compared(table):
    """Older files lack statistics; draws made elsewhere have no data, or the outcome alone."""
    streamed = tree_of(in_batches(spec_of(), table))
    del streamed["leaf_statistics"]
    check_same_posterior(Problem(spec_of(), table), streamed)
    with pytest.raises(
        DataError, match=r"prior of beta\[Intercept\] .*, which comes from the data"
    ):
        check_same_posterior(Problem(spec_of(), moved("y")(table)), streamed)
    with pytest.raises(DataError, match="given 60 rows, not 59"):
        check_same_posterior(Problem(spec_of(), table.iloc[1:]), streamed)
    problem = Problem(spec_of(), table)
    bare = tree_of(problem, attrs=False)
    posterior = xr.DataTree.from_dict({"posterior": bare["posterior"].to_dataset()})
    check_same_posterior(Problem(spec_of(), moved("y")(table)), posterior)
    del bare["constant_data"]
    check_same_posterior(Problem(spec_of(), moved("x")(table)), bare)
    check_same_posterior(in_batches(spec_of(), table), bare)
    with pytest.raises(DataError, match="values of 'y'"):
        check_same_posterior(Problem(spec_of(), moved("y")(table)), bare)


def test_it_is_read_back_from_a_file(fit, table, tmp_path):
    fit.to_netcdf(tmp_path / "draws.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "draws.nc", engine="h5netcdf") as read:
        for make in MAKERS.values():
            check_same_posterior(make(spec_of(), table), read)
            with pytest.raises(DataError, match=r"values of 'x'\."):
                check_same_posterior(make(spec_of(), moved("x")(table)), read)


def test_nearly_collinear_slopes_are_no_difference(table):
    """Their least-squares coefficients are huge, and residuals in batches a difference of their like."""
    near = table.assign(z=table.x + 1e-6 * table.z)
    spec = ModelSpec.from_formula("y ~ x + z + (x + z || g) + (1 || g:h)")
    whole, streamed = Problem(spec, near), in_batches(spec, near)
    check_same_posterior(streamed, tree_of(whole))
    check_same_posterior(whole, tree_of(streamed))
    with pytest.raises(DataError, match="values of 'y'"):
        check_same_posterior(Problem(spec, moved("y", 1e-3)(near)), tree_of(streamed))


def other_form(tree, **arrays):
    """The same draws with some of what they were given in a form of someone else's."""
    found = tree.copy()
    constant = tree["constant_data"].to_dataset()
    found["constant_data"] = xr.DataTree(constant.assign(arrays))
    return found


@pytest.mark.parametrize(
    "arrays",
    [
        {"leaf": ("row", np.linspace(0, 1, 60))},
        {"leaf": ("row", ["a/x"] * 60)},
        {"leaf": ("row", np.full(60, -1))},
        {"X": (("one", "row"), np.ones((1, 60)))},
        {"weights": ((), 1.0)},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", MAKERS)
def test_data_in_a_form_made_elsewhere_are_compared_as_far_as_they_go(table, name, arrays):
    tree = other_form(tree_of(Problem(spec_of(), table), attrs=False), **arrays)
    check_same_posterior(MAKERS[name](spec_of(), table), tree)
    with pytest.raises(DataError, match="values of 'y'"):
        check_same_posterior(Problem(spec_of(), moved("y")(table)), tree)
    tree["leaf_statistics"] = xr.DataTree(xr.Dataset({"mean": ("leaf", np.ones(6))}))
    check_same_posterior(MAKERS[name](spec_of(), table), tree)
