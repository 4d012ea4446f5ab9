import json
import warnings
from dataclasses import fields

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy.signal import lfilter
from scipy.stats import rankdata

from nestor.errors import DataError
from nestor.stats import diagnostics as dg
from nestor.stats.diagnostics.chain_checks import chance_repeats, repeated_draws
from nestor.stats.diagnostics.estimators import tied_ranks
from nestor.stats.diagnostics.gates import _identical_chains


def _draws(kind: str, n_chain: int, n_draw: int, n_scalar: int = 3) -> np.ndarray:
    rng = np.random.default_rng(abs(hash_of(kind)) + 100 * n_chain + n_draw)
    noise = rng.normal(size=(n_chain, n_draw, n_scalar))
    match kind:
        case "iid":
            return noise
        case "autocorrelated":
            return lfilter([1.0], [1.0, -0.9], noise, axis=1)
        case "antithetic":
            return lfilter([1.0], [1.0, 0.6], noise, axis=1)
        case "heavy":
            return rng.standard_cauchy(noise.shape)
        case "tied":
            return rng.integers(0, 4, noise.shape).astype(float)
        case "binary":
            return rng.integers(0, 2, noise.shape).astype(float)
        case "apart":
            return noise + 2.0 * np.arange(n_chain)[:, None, None]
        case "repeated":
            return np.repeat(noise, 3, axis=1)[:, :n_draw]
        case "offset":
            return 1e6 + 1e-2 * noise
    raise AssertionError(kind)


KINDS = (
    "iid",
    "autocorrelated",
    "antithetic",
    "heavy",
    "tied",
    "binary",
    "apart",
    "repeated",
    "offset",
)


def hash_of(kind: str) -> int:
    return KINDS.index(kind) * 10_000  # str hashes change from run to run


PROBS = (0.05, 0.3, 0.5, 0.95)
PAIRS = {
    "rhat_rank": (dg.rhat_rank, array_stats.rhat),
    "ess_bulk": (dg.ess_bulk, lambda x: array_stats.ess(x, method="bulk")),
    "ess_tail": (dg.ess_tail, lambda x: array_stats.ess(x, method="tail", prob=(0.05, 0.95))),
    "ess_mean": (dg.ess_mean, lambda x: array_stats.ess(x, method="mean")),
    "ess_sd": (dg.ess_sd, lambda x: array_stats.ess(x, method="sd")),
    "mcse_mean": (dg.mcse_mean, lambda x: array_stats.mcse(x, method="mean")),
    "mcse_sd": (dg.mcse_sd, lambda x: array_stats.mcse(x, method="sd")),
    **{
        f"ess_quantile_{p}": (
            lambda x, p=p: dg.ess_quantile(x, p),
            lambda x, p=p: array_stats.ess(x, method="quantile", prob=p),
        )
        for p in PROBS
    },
    **{
        f"mcse_quantile_{p}": (
            lambda x, p=p: dg.mcse_quantile(x, p),
            lambda x, p=p: array_stats.mcse(x, method="quantile", prob=p),
        )
        for p in PROBS
    },
}
ESTIMATES = {name: ours for name, (ours, _) in PAIRS.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PAIRS)
def test_equals_arviz(name, kind):
    ours, theirs = PAIRS[name]
    for n_chain, n_draw in ((1, 101), (2, 6), (3, 9), (4, 5), (4, 250), (5, 77)):
        draws = _draws(kind, n_chain, n_draw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ArviZ divides by zero where we say nan
            expected = theirs(np.moveaxis(draws, -1, 0))
        np.testing.assert_allclose(
            ours(draws), expected, rtol=1e-10, atol=0, err_msg=f"{n_chain} x {n_draw}"
        )


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("n_draw", [1, 3])
def test_too_few_draws_are_nan(name, n_draw):
    ours, theirs = PAIRS[name]
    draws = _draws("iid", 4, n_draw)
    assert np.isnan(ours(draws)).all()
    assert np.isnan(theirs(np.moveaxis(draws, -1, 0))).all()


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_draws_that_are_not_finite_spoil_only_their_scalar(name, bad):
    draws = _draws("iid", 4, 50)
    clean = ESTIMATES[name](draws)
    draws[1, 7, 1] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ESTIMATES[name](draws)
    assert np.isnan(found[1])
    np.testing.assert_array_equal(found[[0, 2]], clean[[0, 2]])


def test_constant_draws():
    draws = np.full((4, 100, 1), 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {name: float(estimate(draws)[0]) for name, estimate in ESTIMATES.items()}
    assert np.isnan(found["rhat_rank"])
    assert np.isnan(found["mcse_sd"])
    for name in ("ess_bulk", "ess_tail", "ess_mean", "ess_sd", "ess_quantile_0.5"):
        assert found[name] == 400, name  # ArviZ: the number of draws
    assert found["mcse_mean"] == found["mcse_quantile_0.5"] == 0.0


def test_chains_stuck_at_different_values_have_a_huge_rhat():
    draws = np.broadcast_to(np.arange(4.0)[:, None, None], (4, 100, 1))
    assert dg.rhat_rank(draws)[0] > 1e6
    assert dg.ess_mean(draws)[0] < 20


def test_one_chain_has_no_rhat():
    assert np.isnan(dg.rhat_rank(_draws("iid", 1, 100))).all()


def test_no_scalars_and_wrong_axes():
    assert dg.rhat_rank(np.zeros((4, 100, 0))).shape == (0,)
    with pytest.raises(DataError, match="three axes"):
        dg.ess_bulk(np.zeros((4, 100)))
    with pytest.raises(DataError, match="two axes"):
        dg.bfmi(np.zeros(4))
    with pytest.raises(DataError, match="probability"):
        dg.ess_quantile(np.zeros((4, 100, 1)), 1.5)


def test_blocks_do_not_change_the_numbers(monkeypatch):
    draws = _draws("autocorrelated", 4, 60, n_scalar=11)
    whole = dg.summaries(draws)
    monkeypatch.setattr("nestor.stats.diagnostics.estimators._BLOCK_BYTES", 4 * 60 * 8 * 2)
    parts = dg.summaries(draws)
    for field in fields(whole):
        np.testing.assert_allclose(
            getattr(parts, field.name), getattr(whole, field.name), rtol=1e-13
        )


def test_float32_and_strided_draws():
    draws = _draws("iid", 4, 100, n_scalar=4)
    np.testing.assert_array_equal(dg.ess_bulk(draws[:, :, ::2]), dg.ess_bulk(draws)[::2])
    narrow = draws.astype(np.float32)
    np.testing.assert_array_equal(dg.mcse_sd(narrow), dg.mcse_sd(narrow.astype(np.float64)))


@pytest.mark.parametrize("high", [1, 2, 5, 40, 10_000])
def test_average_ranks_of_ties_equal_scipy(high):
    values = np.sort(np.random.default_rng(0).integers(0, high, (6, 13)).astype(float), axis=1)
    ranks = np.tile(np.arange(2, 28, 2), 6)
    positions, tied = tied_ranks(values)
    ranks[positions] = tied
    np.testing.assert_array_equal(ranks.reshape(6, 13), 2 * rankdata(values, axis=1))
    row, column = np.divmod(positions, 13)
    assert all((values[i] == values[i, j]).sum() > 1 for i, j in zip(row, column, strict=True))


def test_sums_that_end_early_and_late_equal_those_of_every_lag(monkeypatch):
    noise = np.random.default_rng(3).standard_normal((4, 301, 7))
    for i, keep in enumerate([-0.9, -0.3, 0.0, 0.4, 0.8, 0.95, 0.99]):
        noise[..., i] = lfilter([1.0], [1.0, -keep], noise[..., i], axis=1)
    staged = dg.ess_mean(noise)
    monkeypatch.setattr("nestor.stats.diagnostics.ess._FIRST_LAGS", ())
    np.testing.assert_allclose(staged, dg.ess_mean(noise), rtol=1e-12)


def test_bfmi_equals_arviz():
    energy = lfilter([1.0], [1.0, -0.5], np.random.default_rng(1).normal(size=(4, 80)), axis=1)
    np.testing.assert_allclose(dg.bfmi(energy), array_stats.bfmi(energy), rtol=1e-12)
    energy[1], energy[2, 3] = 1.0, np.nan
    assert np.isnan(dg.bfmi(energy)).tolist() == [False, True, True, False]
    assert np.isnan(dg.bfmi(energy[:, :1])).all()


def test_summaries_hold_the_single_estimates():
    draws = _draws("heavy", 3, 51)
    found = dg.summaries(draws)
    flat = draws.reshape(-1, 3)
    np.testing.assert_allclose(found.mean, flat.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.sd, flat.std(axis=0, ddof=1), rtol=1e-12)
    for prob, values in ((0.05, found.q05), (0.5, found.q50), (0.95, found.q95)):
        np.testing.assert_array_equal(values, np.quantile(flat, prob, axis=0))
    mcse = [dg.mcse_mean(draws), dg.mcse_sd(draws)]
    mcse += [dg.mcse_quantile(draws, prob) for prob in (0.05, 0.5, 0.95)]
    np.testing.assert_array_equal(found.mcse, mcse)
    ess = [dg.ess_mean(draws), dg.ess_sd(draws)]
    ess += [dg.ess_quantile(draws, prob) for prob in (0.05, 0.5, 0.95)]
    np.testing.assert_array_equal(found.ess, ess)
    np.testing.assert_array_equal(found.rhat, dg.rhat_rank(draws))
    assert (found.n_chain, found.n_draw, found.n_scalar) == (3, 51, 3)


LABELS = ("beta[x]", "tau_state[x]", "beta_state[CA, x]", "beta_state[NY, x]")
IS_NODE = (False, False, True, True)


def _good_run() -> dict:
    rng = np.random.default_rng(5)
    draws, lp = rng.normal(size=(4, 500, 4)), rng.normal(size=(4, 500))
    return {
        "draws": draws,
        "labels": LABELS,
        "is_node": IS_NODE,
        "energy": energies(lp, rng),
        "lp": lp,
        "step_size": np.repeat([[0.31], [0.28], [0.35], [0.3]], 500, axis=1),
        "diverging": np.zeros((4, 500), dtype=bool),
        "saturated": np.zeros((4, 500), dtype=bool),
    }


def energies(lp, rng):
    """Of exact trajectories: minus the log density where each began, and the energy of a fresh momentum."""
    began = np.concatenate([rng.normal(size=(len(lp), 1)), lp[:, :-1]], axis=1)
    return rng.chisquare(4, lp.shape) / 2 - began


def test_good_run_passes():
    result = dg.gates(**_good_run())
    assert result.passed
    assert result.failures == ()
    assert result.notes == ()
    assert (result.n_divergent, result.n_saturated) == (0, 0)
    assert json.loads(json.dumps(result.to_dict()))["passed"] is True


def test_rhat_failure_names_the_scalar():
    run = _good_run()
    run["draws"][0, :, 1] += 0.5
    failure = dg.gates(**run).failures[0]
    assert failure.startswith("R-hat 1.0")
    assert failure.endswith("of tau_state[x] is not below 1.01")


def test_node_rhat_has_bounds_of_its_own():
    rng = np.random.default_rng(6)
    draws = rng.normal(size=(4, 500, 200))
    draws[0, :, 7] += 0.35  # R-hat about 1.02: too much for tau, not for 1 node in 200
    labels = [f"s{i}" for i in range(200)]
    assert dg.gates(draws, labels, np.ones(200, dtype=bool)).passed
    assert "s7" in dg.gates(draws, labels, np.zeros(200, dtype=bool)).failures[0]
    draws[0, :, :5] += 0.35
    assert "99th percentile" in dg.gates(draws, labels, np.ones(200, dtype=bool)).failures[0]
    draws[0, :, 7] += 0.5
    failures = dg.gates(draws, labels, np.ones(200, dtype=bool)).failures
    assert any("s7 is not below 1.05" in failure for failure in failures)


def test_low_ess_fails():
    run = _good_run()
    run["draws"][:, :, 3] = lfilter([1.0], [1.0, -0.95], run["draws"][:, :, 3], axis=1)
    failures = dg.gates(**run).failures
    assert any(text.startswith("bulk ESS") and "beta_state[NY, x]" in text for text in failures)


def test_low_ebfmi_fails_and_missing_energy_is_noted():
    run = _good_run()
    run["energy"][2] = np.cumsum(run["energy"][2])
    (failure,) = dg.gates(**run).failures
    assert "E-BFMI" in failure
    assert "chain 2" in failure
    run["energy"] = None
    result = dg.gates(**run)
    assert result.passed
    assert result.ebfmi_min is None
    assert any("E-BFMI: not available" in note for note in result.notes)


def test_undefined_energy_fails():
    run = _good_run()
    run["energy"][1] = 3.0
    result = dg.gates(**run)
    assert "chain 1 is undefined" in result.failures[0]
    assert result.to_dict()["ebfmi_min"] is None


def test_divergences_and_depth_are_reported():
    run = _good_run()
    run["diverging"][0, :3] = True
    run["saturated"] = None
    result = dg.gates(**run)
    assert result.passed
    assert result.n_divergent == 3
    assert "divergences: 3 of 2000 draws" in result.notes
    assert result.n_saturated is None
    assert any("tree depth" in note and "not available" in note for note in result.notes)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda x: x.__setitem__((0, 0, 2), np.nan), "not finite"),
        (lambda x: x.__setitem__((slice(None), slice(None), 2), 1.5), "one and the same value"),
        (lambda x: x.__setitem__(1, x[0]), "chains 0 and 1 are identical"),
    ],
)
def test_unusable_draws_fail(spoil, said):
    run = _good_run()
    spoil(run["draws"])
    result = dg.gates(**run)
    assert not result.passed
    assert any(said in failure for failure in result.failures)


def test_chains_that_repeat_an_earlier_one_are_named_among_thousands():
    """Of 20,000 chains there are 200 million pairs: comparing each would take minutes."""
    draws = np.random.default_rng(2).normal(size=(20_000, 3, 2))
    draws[7, 1, 0] = 0.0
    draws[19_999] = draws[7]
    draws[19_999, 1, 0] = -0.0  # the same number in other bytes
    draws[12] = draws[11] = draws[10]
    draws[14] = draws[13]
    draws[13:15, 0, 0] = np.nan  # equal to nothing
    assert list(_identical_chains(draws)) == [
        f"chains {one} and {other} are identical: was the seed ignored?"
        for one, other in ((10, 11), (10, 12), (7, 19_999))
    ]


def failed(run, **changes):
    """The gates that a run with some changes fails."""
    return set(dg.gates(**(run | changes)).failed)


def test_a_chain_that_stays_where_it_is_repeats_nothing():
    run = _good_run()
    run["draws"][:, 1::2] = run["draws"][:, ::2]
    assert failed(run) == set()


@pytest.mark.parametrize(
    ("to", "of"),
    [
        ((0, slice(400, 500)), (0, slice(0, 100))),
        ((3, slice(0, 5)), (1, slice(200, 205))),
        ((2, 7), (2, 5)),
    ],
)
def test_one_draw_that_comes_again_is_a_failure(to, of):
    run = _good_run()
    run["draws"][to] = run["draws"][of]
    assert failed(run) == {"repeats"}


def test_copied_scales_are_found_beside_fresh_coefficients():
    run = _good_run()
    run["draws"][:, 250:, 1] = run["draws"][:, :250, 1]
    assert failed(run, is_scale=[False, True, False, False]) == {"repeats"}
    message = dg.gates(**run, is_scale=[False, True, False, False]).failures[0]
    assert message.startswith("1000 draws come again of the scales")
    assert "(draw 250 of chain 0 is draw 0 of chain 0)" in message


def test_equal_numbers_are_chance_where_single_precision_has_no_others():
    """40,000 draws of one scale with 2^-24 to 2^-23 between neighbouring numbers: hundreds are equal."""
    rng = np.random.default_rng(7)
    one = rng.normal(1.0, 0.1, size=(4, 10_000, 1)).astype(np.float32).astype(float)
    equal = one.size - len(np.unique(one))
    assert equal > 100
    assert list(repeated_draws(one, None, "float32")) == []
    # The same run in double precision would be no chance, and two scalars tell copies from chance again.
    assert len(list(repeated_draws(one, None, "float64"))) == 1
    two = np.concatenate([one, rng.normal(size=one.shape).astype(np.float32)], axis=2)
    assert list(repeated_draws(two, None, "float32")) == []
    two[1, :5000] = two[0, :5000]
    assert len(list(repeated_draws(two, None, "float32"))) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_chance_repeats_are_bounded(dtype):
    """Coarse numbers on purpose: a scalar of type float16 is seen to repeat less often than is allowed."""
    rng = np.random.default_rng(8)
    draws = rng.normal(1.0, 0.2, size=(20_000, 1)).astype(dtype).astype(float)
    pairs = sum(n * (n - 1) / 2 for n in np.unique(draws, return_counts=True)[1].tolist())
    assert pairs <= chance_repeats(draws, dtype)


def test_an_ess_at_the_cap_for_every_quantity_is_a_failure():
    run = _good_run()
    run["draws"][:, 1::2] = -run["draws"][:, ::2]
    assert failed(run) == {"ess cap"}
    # One honest quantity is enough: slopes and intercepts of a real run may be there by chance.
    run["draws"][:, :, 2] = np.random.default_rng(9).normal(size=(4, 500))
    assert failed(run) == set()


def test_draws_in_another_order_are_a_failure():
    run = _good_run()
    order = np.random.default_rng(10).permutation(2000)
    mixed = {
        name: run[name].reshape(2000, -1)[order].reshape(run[name].shape)
        for name in ("draws", "energy", "lp")
    }
    assert failed(run, **mixed) == {"order"}
    found = dg.gates(**run)
    assert found.energy_slope == pytest.approx(1.0, abs=0.15)  # 5 standard errors of sqrt(2 / 2000)
    assert dg.gates(**(run | mixed)).energy_slope == pytest.approx(0.0, abs=0.15)


def test_energies_that_say_nothing_are_no_failure():
    """A log density that hardly varies beside the kinetic energy leaves no power, and a few draws none."""
    run = _good_run()
    rng = np.random.default_rng(11)
    lp = rng.normal(size=(4, 500))
    assert (
        failed(run, lp=lp / 1e3, energy=energies(lp, rng) + 100 * rng.normal(size=(4, 500)))
        == set()
    )
    assert failed(run, lp=np.ones((4, 500))) == set()
    without = dg.gates(**(run | {"lp": None}))
    assert without.passed
    assert without.energy_slope is None
    assert any(note.startswith("order of the draws: not checked") for note in without.notes)


def test_divergent_trajectories_do_not_keep_their_energy_and_are_left_out():
    run = _good_run()
    run["diverging"][:, 5::10] = True
    run["energy"][run["diverging"]] += 30 * run["lp"][:, 4::10].ravel()
    assert "order" not in failed(run)
    assert "order" in failed(run, diverging=None)


def test_a_step_size_that_varies_is_a_failure_unless_it_is_declared():
    run = _good_run()
    rng = np.random.default_rng(12)
    jittered = run["step_size"] * rng.uniform(0.9, 1.1, size=(4, 500))
    assert failed(run, step_size=jittered) == {"step size"}
    assert failed(run, step_size=jittered, settings={"step_size_jitter": 0.1}) == set()
    adapting = run["step_size"] * (1 + 2 / np.arange(1, 501))
    assert failed(run, step_size=adapting, settings={"step_size_jitter": 0.1}) == {"step size"}
    for declared in (True, "0.1", None, -1):
        assert failed(run, step_size=jittered, settings={"step_size_jitter": declared}) == {
            "step size"
        }
    assert failed(run, step_size=np.zeros((4, 500))) == {"step size"}


def test_one_step_size_in_all_chains_is_a_failure_unless_they_share_their_adaptation():
    run = _good_run()
    same = np.full((4, 500), 0.3)
    assert failed(run, step_size=same) == {"step size"}
    assert failed(run, step_size=same, settings={"shared_adaptation": True}) == set()


@pytest.mark.parametrize("shape", [(1, 500, 4), (4, 3, 4), (4, 500, 0), (4, 0, 4), (0, 500, 4)])
def test_degenerate_shapes_fail(shape):
    n_scalar = shape[2]
    draws = np.random.default_rng(0).normal(size=shape)
    result = dg.gates(draws, LABELS[:n_scalar], IS_NODE[:n_scalar])
    assert not result.passed
    json.dumps(result.to_dict(), allow_nan=False)


def test_shapes_that_do_not_fit_are_refused():
    run = _good_run()
    with pytest.raises(DataError, match="3 labels"):
        dg.gates(**{**run, "labels": LABELS[:3]})
    with pytest.raises(DataError, match="energy has shape"):
        dg.gates(**{**run, "energy": run["energy"][:, 1:]})
    with pytest.raises(DataError, match="step_size has shape"):
        dg.gates(**{**run, "step_size": run["step_size"][0]})
