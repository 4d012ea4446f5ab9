"""The verdict: its false alarms, what it says, and the power that it states."""

import inspect

import numpy as np
import pytest
from scipy import stats

import nestor
from nestor.calibration.judge import (
    Calibrated,
    describe_ranks,
    detectable,
    foregone,
    judge,
    probability_inside,
    rank_probabilities,
    simulations_needed,
)
from nestor.calibration.ranking import rank, thin
from nestor.calibration.tasks import Record
from nestor.stats.ecdf import uniform_band, uniform_test

L = 31


def _judge(ranks, failures=0):
    q = ranks.shape[1]
    lost = [Record(i, "timeout", "stopped after 1 s") for i in range(failures)]
    return judge(ranks, lost, L, [f"q{i}" for i in range(q)], ["population"] * q)


def _ranks(rng, n, q, shift=0.0, factor=1.0):
    """Ranks of normal truths among L draws of a normal distribution that is off."""
    below = stats.norm.cdf((rng.standard_normal((n, q)) - shift) / factor)
    return rng.binomial(L, below)


def test_false_alarms_keep_their_level():
    """Of 400 right studies of 20 quantities at 0.01 more than 14 are wrong with probability below 1e-4."""
    rng = np.random.default_rng(8)
    rejected = 0
    for _ in range(400):
        rejected += _judge(rng.integers(0, L + 1, (60, 20))).verdict is Calibrated.NOT_CALIBRATED
    assert stats.binom.sf(14, 400, 0.01) < 1e-4
    assert rejected <= 14


def test_stated_power_is_the_power():
    """A fault of the size stated is found in 90% of 400 studies; 4 standard errors are 6%."""
    n, q = 100, 10
    found = detectable(n, L, q, 0.01)
    band = uniform_band(n, L + 1, 0.01 / q)
    rng = np.random.default_rng(2)
    for shift, factor in ((found.shift, 1.0), (0.0, found.narrow), (0.0, found.wide)):
        p_values = uniform_test(_ranks(rng, n, 400, shift, factor), L + 1).p_values
        assert abs((p_values <= band.attained).mean() - 0.9) < 0.06


def test_more_simulations_find_less():
    few, many = (detectable(n, 63, 20, 0.01) for n in (50, 500))
    assert 0 < many.shift < few.shift
    assert few.narrow < many.narrow < 1 < many.wide < (few.wide or np.inf)
    assert detectable(20, 9, 100_000, 0.01).wide is None


@pytest.mark.parametrize(("ranked", "quantities"), [(L, 7), (63, 22), (9, 500)])
def test_the_floor_is_what_is_detectable(ranked, quantities):
    """Enough simulations find half a posterior sd and a factor of two; one fewer does not."""
    needed = simulations_needed(ranked, quantities, 0.01)

    def coarsest(n):
        found = detectable(n, ranked, quantities, 0.01)
        return max(found.shift / 0.5, np.log2(1 / found.narrow), np.log2(found.wide))

    # `detectable` ends its bisection 8 / 2^16 above the shift with the power wanted.
    assert coarsest(needed) < 1 + 1e-3
    assert coarsest(needed - 1) > 1


def test_the_default_number_of_simulations_is_enough():
    """Of a million quantities too, with the fewest ranked draws there may be, and a fifth lost."""
    default = inspect.signature(nestor.calibrate).parameters
    simulations, ranked_draws = default["simulations"].default, default["ranked_draws"].default
    assert simulations_needed(9, 1_000_000, 0.01) < 0.8 * simulations
    assert not foregone(simulations, ranked_draws, 1_000_000)


def test_uniform_ranks_of_few_simulations_are_inconclusive():
    ranks = _ranks(np.random.default_rng(4), 150, 7)
    needed = simulations_needed(L, 7, 0.01)
    judged = _judge(ranks[: needed - 1])
    assert judged.verdict is Calibrated.INCONCLUSIVE
    assert (judged.needed, judged.missing) == (needed, 1)
    assert "off by 0.5 posterior sd" in judged.reasons[0]
    assert judged.reasons[0].endswith("1 more is needed")
    judged = _judge(ranks[:40], 1)
    assert judged.reasons[0].endswith(f"{needed - 40} more are needed")
    assert "1 timed out" in judged.reasons[1]
    judged = _judge(ranks[:needed])
    assert (judged.verdict, judged.missing) == (Calibrated.CALIBRATED, 0)


def test_few_simulations_can_still_show_a_fault():
    judged = _judge(_ranks(np.random.default_rng(4), 40, 7, shift=2.0))
    assert judged.verdict is Calibrated.NOT_CALIBRATED
    assert judged.missing == simulations_needed(L, 7, 0.01) - 40


def test_rank_probabilities_and_the_band_are_exact_where_that_is_known():
    assert rank_probabilities(L, 0.0, 1.0) == pytest.approx(np.full(L + 1, 1 / (L + 1)), rel=1e-9)
    # Half the draws' distribution above the truth's whole range: all ranks are 0.
    assert rank_probabilities(L, 40.0, 1.0)[0] == pytest.approx(1.0)
    band = uniform_band(80, L + 1, 0.05)
    uniform = np.full(L + 1, 1 / (L + 1))
    assert 1 - probability_inside(band, uniform, 80) == pytest.approx(band.attained, rel=1e-6)


@pytest.mark.parametrize(
    ("shift", "factor", "how"),
    [
        (0.7, 1.0, "draws too high"),
        (-0.7, 1.0, "draws too low"),
        (30.0, 1.0, "draws too high"),
        (0.0, 0.6, "posterior too narrow"),
        (0.0, 1.8, "posterior too wide"),
        (0.0, 1.0, "ranks uneven"),
    ],
)
def test_words_say_how_ranks_are_wrong(shift, factor, how):
    ranks = _ranks(np.random.default_rng(1), 300, 1, shift, factor)[:, 0]
    assert describe_ranks(ranks, L) == how


def test_the_worst_quantity_comes_first_and_only_wrong_ones_are_named():
    rng = np.random.default_rng(3)
    ranks = np.hstack([_ranks(rng, 200, 5), _ranks(rng, 200, 1, 0.6), _ranks(rng, 200, 1, 2.0)])
    judged = _judge(ranks)
    assert judged.verdict is Calibrated.NOT_CALIBRATED
    assert [one.label for one in judged.rejected] == ["q6", "q5"]
    assert "2 of 7 quantities are not uniform" in judged.reasons[0]


def test_few_simulations_are_inconclusive_even_if_all_ranks_are_wrong():
    judged = _judge(np.zeros((19, 3), dtype=np.intp))
    assert judged.verdict is Calibrated.INCONCLUSIVE
    assert "19 simulations ended well" in judged.reasons[0]
    assert _judge(np.zeros((0, 3), dtype=np.intp), 5).verdict is Calibrated.INCONCLUSIVE


def test_many_failures_are_inconclusive_and_few_are_not():
    ranks = _ranks(np.random.default_rng(1), 120, 4)
    allowed = _judge(ranks).failures_allowed
    # The 99% band of 120 simulations is about 0.2 wide to each side: a quarter of it is 6 of 120.
    assert 2 <= allowed <= 8
    assert _judge(ranks, allowed).verdict is Calibrated.CALIBRATED
    judged = _judge(ranks, allowed + 1)
    assert judged.verdict is Calibrated.INCONCLUSIVE
    assert any("timed out, such as simulation 0: stopped after 1 s" in r for r in judged.reasons)


def test_ties_are_broken_at_random():
    """A constant engine has uniform ranks where it is right about the constant, and 0 or L elsewhere."""
    rng = np.random.default_rng(0)
    truth = np.array([0.0, -1.0, 1.0])
    found = np.array([rank(truth, np.zeros((L, 3)), rng) for _ in range(2000)])
    assert np.unique(found[:, 0]).size == L + 1
    assert abs(found[:, 0].mean() - L / 2) < 5 * np.sqrt((L + 1) ** 2 / 12 / 2000)
    assert set(found[:, 1]) == {0}
    assert set(found[:, 2]) == {L}


def test_kept_draws_are_spread_over_all_chains():
    draws = np.random.default_rng(0).normal(size=(4, 50, 2))
    marked = draws.copy()
    marked[..., 0] = np.arange(200).reshape(4, 50)
    found = thin({"a": marked}, draws, 0, 40)
    assert found.values["a"].shape == (40, 2)
    assert np.array_equal(found.values["a"][:, 0], np.arange(2, 200, 5))
    assert found.enough
    assert not thin({}, draws, 0, 150).enough
