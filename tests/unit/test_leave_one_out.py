"""Leave-one-out of rows and of leaves: ArviZ's numbers, exact ones, labels and refusals."""

import warnings

import arviz_stats
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.special import logsumexp

import nestor
from nestor import LeaveOneOut, ModelSpec, Problem
from nestor.backend import Draws, Timings
from nestor.errors import DataError, SpecError, Unsupported
from nestor.posterior import leave_one_out
from nestor.posterior.leave_one_out import psis_loo
from nestor.runner.datatree import to_datatree
from nestor_reference import conditional_draws, log_marginal


def fitted(problem, scales, seed=1):
    """Draws with given scales, (chain, draw, *shape), and coefficients drawn given these."""
    values = scales | conditional_draws(problem, scales, np.random.default_rng(seed))
    lead = next(iter(scales.values())).shape[:2]
    return to_datatree(problem, Draws(values, {"lp": np.zeros(lead)}, Timings(), {}), {})


@pytest.fixture(scope="module")
def fit(small_problem):
    rng = np.random.default_rng(2)
    shapes = {v.name: v.shape for v in small_problem.variables.values() if v.role == "scale"}
    scales = {n: np.exp(0.3 * rng.normal(size=(2, 200, *s))) for n, s in shapes.items()}
    return fitted(small_problem, scales | {"sigma": np.exp(0.1 * rng.normal(size=(2, 200)))})


def arviz_loo(tree, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return arviz_stats.loo(tree, pointwise=True, **options)


@pytest.mark.parametrize("chunk", [None, 7])
def test_loo_is_that_of_arviz(small_problem, fit, chunk):
    found = nestor.loo(small_problem, fit, chunk=chunk)
    wanted = arviz_loo(nestor.with_log_likelihood(small_problem, fit))
    for own, other in ((found.elpd, wanted.elpd), (found.se, wanted.se), (found.p, wanted.p)):
        assert own == pytest.approx(other, rel=1e-10)
    assert found.good_k == pytest.approx(wanted.good_k)
    np.testing.assert_allclose(found.elpd_i, wanted.elpd_i, rtol=1e-10)
    np.testing.assert_allclose(found.pareto_k, wanted.pareto_k, rtol=1e-10)
    assert list(found.pareto_k["row"].values) == list(fit["observed_data"]["row"].values)


def test_a_given_efficiency_is_used(small_problem, fit):
    found = nestor.loo(small_problem, fit, reff=0.25)
    wanted = arviz_loo(nestor.with_log_likelihood(small_problem, fit), reff=0.25)
    assert found.elpd == pytest.approx(wanted.elpd, rel=1e-10)
    assert found.elpd != nestor.loo(small_problem, fit).elpd


@pytest.mark.parametrize("reff", ["a", 0, -5, np.nan, np.inf, 10**400, True])
def test_an_efficiency_that_is_none_is_refused(small_problem, fit, reff):
    with pytest.raises(SpecError, match="reff must be a finite number greater than 0, not"):
        nestor.loo(small_problem, fit, reff=reff)


def test_results_compare_in_arviz(small_problem, fit):
    found = nestor.loo(small_problem, fit).to_arviz()
    assert found.elpd == pytest.approx(float(found.elpd_i.sum()))
    assert "elpd_loo" in str(found)
    table = arviz_stats.compare({"one": found, "same": found})
    assert list(table["elpd"]) == pytest.approx([found.elpd] * 2, abs=0.5)  # ArviZ rounds
    assert list(table["elpd_diff"]) == [0, 0]


def test_unreliable_units_are_named():
    rng = np.random.default_rng(6)
    values = rng.normal(scale=0.1, size=(2, 500, 3))
    values[:, :, 1] *= 60
    found = psis_loo(
        xr.DataArray(values, dims=("chain", "draw", "leaf"), coords={"leaf": list("abc")}), 1.0
    )
    assert list(found.unreliable["leaf"].values) == ["b"]
    assert "Pareto k above 0.67: 1" in repr(found)


def test_weights_without_variation_have_no_tail():
    values = np.broadcast_to([-1.0, -2.0], (2, 50, 2))
    found = psis_loo(xr.DataArray(values, dims=("chain", "draw", "leaf")), 1.0)
    assert list(found.elpd_i.values) == [-1.0, -2.0]
    assert list(found.p_i.values) == [0.0, 0.0]
    assert np.all(found.pareto_k.values == -np.inf)


def test_se_of_one_unit_is_zero():
    one = xr.DataArray([1.0], dims="row")
    assert LeaveOneOut(one, one, one, 100).se == 0.0


def test_refuses_few_draws_and_densities_that_are_no_numbers(small_problem, fit):
    few = fit.isel(draw=slice(0, 12))
    with pytest.raises(DataError, match="at least 25 draws; there are 24"):
        nestor.loo(small_problem, few)
    broken = fit.copy(deep=True)
    broken["posterior"]["beta_h"][0, 3, 1] = np.nan
    with pytest.raises(DataError, match="without a finite log density"):
        nestor.loo(small_problem, broken)


def test_refuses_draws_given_another_outcome(small_problem, fit):
    moved = small_problem.with_outcome(small_problem.y + 1.0)
    for what in (nestor.loo, nestor.leave_one_leaf_out, nestor.leave_one_row_out):
        with pytest.raises(DataError, match="other values of 'y'"):
            what(moved, fit)


@pytest.mark.parametrize(
    "draws",
    [None, "draws.nc", xr.Dataset(), xr.DataTree(), {"posterior": 1}],
    ids=lambda d: type(d).__name__,
)
def test_refuses_what_is_no_tree_of_draws(small_problem, draws):
    for what in (nestor.loo, nestor.leave_one_leaf_out, nestor.leave_one_row_out):
        with pytest.raises(DataError, match=r"DataTree that nestor\.fit returns"):
            what(small_problem, draws)


# --- leaves -----------------------------------------------------------------------------------


def one_tau(far):
    """Groups of which one lies off the others; tau alone is unknown."""
    rng = np.random.default_rng(9)
    group = np.repeat(np.arange(6), 4)
    centre = np.array([0.1, -0.6, 0.5, 0.2, -0.3, far])
    table = pd.DataFrame({"g": [f"g{v}" for v in group], "y": centre[group] + rng.normal(size=24)})
    priors = {"sigma": 1.0, "beta": "Normal(0, 2)", "tau": "HalfNormal(2)"}
    return Problem(ModelSpec.from_formula("y ~ 1 + (1 || g)", priors=priors), table)


def by_quadrature(problem, n_draws=8000):
    """Log p(y_v | y_-v) = log int p(y | tau) p(tau) - log int p(y_-v | tau) p(tau), and draws of tau.

    These are equally spaced quantiles, shuffled: without Monte Carlo error to speak of.
    """
    tau = np.linspace(5e-4, 12, 2000)
    prior = next(iter(problem.priors.tau["g"].values())).scipy().logpdf(tau)
    joint = log_marginal(problem, {"tau_g": tau[:, None]}) + prior
    rest = [log_marginal_without(problem, v, tau) + prior for v in range(6)]
    cumulated = np.exp(joint - logsumexp(joint)).cumsum()
    draws = np.interp((np.arange(n_draws) + 0.5) / n_draws, cumulated, tau)
    draws = np.random.default_rng(1).permutation(draws).reshape(4, -1, 1)
    return np.array([logsumexp(joint) - logsumexp(one) for one in rest]), draws


def test_the_scales_are_those_of_the_posterior_without_the_leaf():
    problem = one_tau(1.4)
    wanted, draws = by_quadrature(problem)
    found = nestor.leave_one_leaf_out(problem, fitted(problem, {"tau_g": draws}))
    assert list(found.elpd_i["g"].values) == [f"g{v}" for v in range(6)]
    np.testing.assert_allclose(found.elpd_i, wanted, atol=0.01)
    # The posterior of tau has seen the group that lies off: without weights it looks too likely.
    assert found.p_i.values[5] > 0.2
    assert not found.unreliable.size


def test_a_leaf_that_decides_about_the_scales_is_named():
    """Its density is wrong by 0.3 nats, as most draws of tau are impossible without it."""
    problem = one_tau(3.0)
    wanted, draws = by_quadrature(problem)
    found = nestor.leave_one_leaf_out(problem, fitted(problem, {"tau_g": draws}))
    np.testing.assert_allclose(found.elpd_i[:5], wanted[:5], atol=0.01)
    assert abs(found.elpd_i.values[5] - wanted[5]) > 0.2
    assert list(found.unreliable["g"].values) == ["g5"]


def log_marginal_without(problem, v, tau):
    """Marginal density of the rows of all groups but one, intercepts only, sigma 1: the plain formula."""
    kept = problem.leaf != v
    y, leaf = problem.y[kept], problem.leaf[kept]
    same = (leaf[:, None] == leaf[None]).astype(float)
    shared = np.eye(len(y)) + 4.0
    return np.array([stats.multivariate_normal.logpdf(y, cov=shared + t**2 * same) for t in tau])


def test_leaves_are_labelled_by_their_paths(small_problem, fit):
    found = nestor.leave_one_leaf_out(small_problem, fit)
    assert list(found.elpd_i["h"].values) == list(small_problem.index.levels[-1].paths)
    assert found.n_samples == 400


def test_rows_exactly_are_what_loo_estimates(small_problem, fit):
    """One number by two roads: weights of coefficients and scales, and of scales alone."""
    exact, sampled = nestor.leave_one_row_out(small_problem, fit), nestor.loo(small_problem, fit)
    assert list(exact.elpd_i["row"].values) == list(sampled.elpd_i["row"].values)
    assert list(exact.elpd_i["h_of_row"].values) == list(sampled.elpd_i["h_of_row"].values)
    good = sampled.pareto_k.values < 0.5
    assert good.sum() > 40
    # 400 draws: the standard error of a row is about 0.02 nats where weights vary by a third.
    np.testing.assert_allclose(exact.elpd_i[good], sampled.elpd_i[good], atol=0.12)
    assert exact.elpd_i.values[good].sum() == pytest.approx(
        sampled.elpd_i.values[good].sum(), abs=0.6
    )


def test_chunks_and_files_change_nothing(small_problem, fit, monkeypatch):
    wanted = nestor.leave_one_leaf_out(small_problem, fit)
    monkeypatch.setattr(leave_one_out, "_IN_MEMORY", 100)
    monkeypatch.setattr(leave_one_out, "_PSIS_CHUNK", 900)
    monkeypatch.setattr("nestor.posterior.message_passing.predictive._LARGEST_ARRAY", 1500)
    assert isinstance(leave_one_out._allocate(30, 6), np.memmap)
    found = nestor.leave_one_leaf_out(small_problem, fit)
    np.testing.assert_allclose(found.elpd_i, wanted.elpd_i, rtol=1e-12)
    np.testing.assert_allclose(found.pareto_k, wanted.pareto_k, rtol=1e-9)


def test_rows_need_not_be_in_memory(small_problem, small_table, fit):
    streamed = Problem.from_batches(small_problem.spec, [small_table])
    found = nestor.leave_one_leaf_out(streamed, fit)
    wanted = nestor.leave_one_leaf_out(small_problem, fit)
    np.testing.assert_allclose(found.elpd_i, wanted.elpd_i, rtol=1e-9)


def test_leaves_say_what_is_missing_or_impossible(small_problem, small_table, fit):
    less = fit.copy()
    less["posterior"] = xr.DataTree(fit["posterior"].dataset.drop_vars("tau_h"))
    with pytest.raises(DataError, match="the draws lack tau_h"):
        nestor.leave_one_leaf_out(small_problem, less)
    spec = ModelSpec.from_formula("y ~ x + (x || g/h)", family="student_t")
    with pytest.raises(Unsupported, match="student_t"):
        nestor.leave_one_leaf_out(Problem(spec, small_table), fit)


def test_progress_of_leaves(small_problem, fit, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    nestor.leave_one_leaf_out(small_problem, fit, progress=True)
    printed = capsys.readouterr()
    assert "densities of each h" in printed.err
    assert not printed.out
