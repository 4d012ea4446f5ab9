"""The log-likelihood row by row: the reference's numbers, labels, chunks, and what ArviZ makes of it."""

import warnings

import arviz_stats
import numpy as np
import pytest
import xarray as xr

import nestor
from nestor import ModelSpec, Problem
from nestor.agreement.density import density_points
from nestor.backend import Draws, Timings
from nestor.errors import DataError, SpecError
from nestor.posterior import log_likelihood as module
from nestor.posterior.log_likelihood import total_log_likelihood
from nestor.runner.datatree import posterior_of, to_datatree
from nestor_reference import ReferenceModel

CHAINS, DRAWS = 2, 15


def drawn_near(problem, spread=0.1, seed=5):
    """Draws about one point near the posterior, as a fit has them."""
    point = density_points(problem, 3, seed=seed)[1]
    rng = np.random.default_rng(seed)
    lead = (CHAINS, DRAWS)
    values = {}
    for name, variable in problem.variables.items():
        noise = spread * rng.normal(size=(*lead, *variable.shape))
        positive = variable.role in ("scale", "family")
        values[name] = point[name] * np.exp(noise) if positive else point[name] + noise
    return Draws(problem.with_inherited(values), {"lp": np.zeros(lead)}, Timings(), {})


def fitted(problem, **options):
    return to_datatree(problem, drawn_near(problem, **options), {})


def table_of(small_table):
    rng = np.random.default_rng(3)
    return small_table.assign(
        w=np.exp(rng.normal(size=60)), o=rng.normal(size=60), u=rng.normal(size=60)
    )


@pytest.fixture(params=["gaussian", "student_t"])
def problem(request, small_table):
    spec = ModelSpec.from_formula(
        "y ~ x + u + (x || g/h)", family=request.param, weights="w", offset="o"
    )
    return Problem(spec, table_of(small_table))


def whole(problem, fit, **options):
    return xr.concat(nestor.log_likelihood(problem, fit, **options), dim="row")


@pytest.mark.parametrize("chunk", [None, 1, 7, 60, 1000])
def test_every_row_is_the_references(problem, chunk):
    fit = fitted(problem)
    found = whole(problem, fit, chunk=chunk)
    assert found.dims == ("chain", "draw", "row")
    model = ReferenceModel(problem)
    for at in [(0, 0), (1, 4), (1, 14)]:
        point = {n: draws[at] for n, draws in posterior_of(problem, fit).items()}
        wanted = model.log_likelihood(problem.with_inherited(point))
        np.testing.assert_allclose(found.values[at], wanted, rtol=1e-11)


def test_rows_add_up_to_the_log_likelihood(problem):
    draws = drawn_near(problem)
    found = whole(problem, to_datatree(problem, draws, {}), chunk=11)
    np.testing.assert_allclose(
        found.sum("row").values, total_log_likelihood(problem, draws.values), rtol=1e-11
    )


def test_rows_carry_their_positions_in_the_table_and_their_leaves(problem):
    fit = fitted(problem)
    found = whole(problem, fit, chunk=13)
    observed = fit["observed_data"]["y"]
    xr.testing.assert_equal(found["row"], observed["row"])
    assert list(found["h_of_row"].values) == list(observed["h_of_row"].values)
    assert not np.array_equal(found["row"].values, np.arange(60))


def test_a_known_sigma_takes_part(small_table):
    spec = ModelSpec.from_formula("y ~ x + (x || g/h)", priors={"sigma": "0.7"})
    problem = Problem(spec, small_table)
    draws = drawn_near(problem)
    found = whole(problem, to_datatree(problem, draws, {})).sum("row")
    np.testing.assert_allclose(found, total_log_likelihood(problem, draws.values), rtol=1e-12)


def test_chunks_fit_in_64_megabytes(small_problem, monkeypatch):
    fit = fitted(small_problem)
    assert module._Rows(small_problem, fit).chunk * CHAINS * DRAWS * 8 * 4 <= 64 * 2**20
    monkeypatch.setattr(module, "_NUMBERS", 10 * CHAINS * DRAWS)
    assert [p.sizes["row"] for p in nestor.log_likelihood(small_problem, fit)] == [10] * 6


def test_arviz_takes_the_group(problem):
    fit = fitted(problem)
    tree = nestor.with_log_likelihood(problem, fit)
    assert "log_likelihood" not in fit.children
    xr.testing.assert_allclose(tree["log_likelihood"]["y"], whole(problem, fit))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few draws have large Pareto k
        found = arviz_stats.loo(tree, pointwise=True)
    assert found.n_data_points == 60
    assert found.elpd_i.dims == ("row",)


def test_progress_goes_to_standard_error(small_problem, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    nestor.with_log_likelihood(small_problem, fitted(small_problem), progress=True)
    printed = capsys.readouterr()
    assert "log-likelihood of rows" in printed.err
    assert not printed.out


def test_new_rows_of_the_same_nodes_may_be_asked_about(small_problem):
    fit = fitted(small_problem)
    moved = small_problem.with_outcome(small_problem.y + 3.0)
    assert (whole(moved, fit) < whole(small_problem, fit)).mean() > 0.8


def test_says_what_is_missing_or_foreign(small_problem, small_table):
    fit = fitted(small_problem)
    less = fit.copy()
    less["posterior"] = xr.DataTree(fit["posterior"].dataset.drop_vars("sigma"))
    with pytest.raises(DataError, match="the draws lack sigma"):
        nestor.log_likelihood(small_problem, less)
    renamed = Problem(small_problem.spec, small_table.assign(g=small_table.g + "!"))
    with pytest.raises(DataError, match=r"labels of 'h' lack 'a!/x'"):
        nestor.log_likelihood(renamed, fit)
    other = Problem(ModelSpec.from_formula("y ~ x + (x || g/h)", scale="parent"), small_table)
    with pytest.raises(DataError, match="tau_h has the dimensions chain, draw, effect"):
        nestor.leave_one_leaf_out(other, fit)
    with pytest.raises(DataError, match="group posterior"):
        nestor.log_likelihood(small_problem, {"posterior": 1})
    for chunk in (0, -3, 2.5, True):
        with pytest.raises(SpecError, match="chunk"):
            nestor.log_likelihood(small_problem, fit, chunk=chunk)


def test_needs_rows(small_table):
    spec = ModelSpec.from_formula("y ~ x + (x || g/h)")
    streamed = Problem.from_batches(spec, [small_table])
    fit = fitted(Problem(spec, small_table))
    with pytest.raises(DataError, match="not in memory"):
        nestor.log_likelihood(streamed, fit)


@pytest.mark.parametrize("call", [nestor.with_log_likelihood, nestor.loo])
def test_draws_of_other_data_become_no_group(small_problem, small_table, call):
    """Draws of other rows would stand beside data that they were not given."""
    fewer = Problem(small_problem.spec, small_table.drop(index=small_table.index[0]))
    other = Problem(small_problem.spec, small_table.assign(y=small_table["y"] + 1.0))
    fit = fitted(small_problem)
    with pytest.raises(DataError, match="were given 60 rows, not 59"):
        call(fewer, fit)
    with pytest.raises(DataError, match="were given other values of 'y'"):
        call(other, fit)
    # New data are welcome where no group is made.
    assert list(nestor.log_likelihood(other, fit))
    with pytest.raises(DataError, match=r"for new data take nestor\.log_likelihood"):
        nestor.with_log_likelihood(other, fit)


@pytest.mark.parametrize(
    "call",
    [
        nestor.with_log_likelihood,
        nestor.log_likelihood,
        nestor.loo,
        nestor.leave_one_leaf_out,
        nestor.leave_one_row_out,
    ],
)
def test_what_is_no_problem_is_refused(small_problem, call):
    with pytest.raises(SpecError, match=r"a nestor\.Problem is wanted, not int"):
        call(5, fitted(small_problem))
