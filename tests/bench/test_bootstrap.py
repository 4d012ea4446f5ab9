"""Medians with censored runs, and their bootstrap."""

import numpy as np
import pytest

from nestor.bench.bootstrap import Runs, estimate, ratio


def _runs(*values, seeds=None, censored=()):
    n = len(values)
    return Runs(
        tuple(seeds or range(n)),
        tuple(float(v) for v in values),
        tuple(i in censored for i in range(n)),
    )


def test_the_interval_of_five_runs_is_their_range():
    # P(at least 3 of 5 draws are the smallest run) = 5.8% > 2.5%.
    found = estimate(_runs(5, 1, 4, 2, 3), "x")
    assert (found.value, found.low, found.high) == (3, 1, 5)


def test_of_nine_runs_it_is_inside_their_range():
    # P(median of 9 draws of 9 <= the second smallest) = 3.0%, binomially; <= the smallest: 0.14%.
    # 4,000 resamples have a standard error of 0.27%, so either the second or the third is at 2.5%.
    found = estimate(_runs(*range(1, 10)), "x")
    assert found.low in (2, 3)
    assert found.high in (7, 8)


def test_how_often_the_interval_of_five_holds_the_median():
    # 1 - 2^(1 - 5) = 93.75% for every distribution; 600 trials have a standard error of 1%.
    rng = np.random.default_rng(3)
    trials = [estimate(_runs(*rng.exponential(size=5)), "x") for _ in range(600)]
    held = np.mean([one.low <= np.log(2) <= one.high for one in trials])
    assert held == pytest.approx(0.9375, abs=0.03)


def test_a_figure_is_the_same_whenever_it_is_computed_and_another_label_resamples_anew():
    values = _runs(*np.random.default_rng(1).normal(10, 1, 40))
    assert estimate(values, "x") == estimate(values, "x")
    assert estimate(values, "x") != estimate(values, "y")


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_runs_have_no_interval(n):
    found = estimate(_runs(*range(1, n + 1)), "x")
    assert found.value == np.median(range(1, n + 1))
    assert (found.low, found.high, found.n) == (None, None, n)


def test_no_runs_have_no_figure():
    found = estimate(_runs(), "x")
    assert (found.value, found.n, found.at_least) == (None, 0, None)


def test_a_censored_run_counts_as_slower_than_all_others():
    # It stopped after 3 s, but is no quicker than the run that took 20.
    found = estimate(_runs(10, 20, 3, censored={2}), "x")
    assert (found.value, found.n_censored) == (20, 1)
    assert (found.low, found.high) == (10, None)


def test_a_median_that_falls_on_a_censored_run_is_larger_than_its_largest_known_bound():
    # Order: 10, 20, >20 (stopped at 3), >60, >60: the third is known to be beyond 20 only.
    found = estimate(_runs(10, 20, 3, 60, 60, censored={2, 3, 4}), "x")
    assert (found.value, found.at_least) == (None, 20)
    assert found.low == 10
    beyond = estimate(_runs(10, 60, 60, censored={1, 2}), "x")
    assert (beyond.value, beyond.at_least) == (None, 60)


def test_nothing_is_known_where_all_failed_at_once():
    found = estimate(_runs(0, 0, 0, censored={0, 1, 2}), "x")
    assert (found.value, found.at_least, found.low, found.high) == (None, None, None, None)


def test_pairs_of_one_seed_are_resampled_together():
    # Each run takes twice as long as its partner, so every resample has the ratio 2.
    slow, quick = _runs(2, 20, 200, 40, 80), _runs(1, 10, 100, 20, 40)
    found = ratio(slow, quick, "x")
    assert found.paired
    assert (found.value, found.low, found.high) == (2, 2, 2)
    apart = ratio(slow, _runs(1, 10, 100, 20, 40, seeds=[11, 12, 13, 14, 15]), "x")
    assert not apart.paired
    assert apart.value == 2
    assert apart.low < 0.5
    assert apart.high > 8


def test_a_ratio_of_few_runs_has_no_interval():
    found = ratio(_runs(2, 4), _runs(1, 2, 3), "x")
    assert (found.value, found.low, found.high, found.n) == (1.5, None, None, 2)


def test_a_censored_numerator_leaves_a_lower_bound_and_a_censored_denominator_an_upper_one():
    late, quick = _runs(60, 60, 60, censored={0, 1, 2}), _runs(10, 20, 30)
    above = ratio(late, quick, "x")
    assert (above.value, above.at_least, above.at_most) == (None, 3, None)
    assert above.high is None
    below = ratio(quick, late, "x")
    assert (below.value, below.at_least, below.at_most) == (None, None, pytest.approx(1 / 3))
    both = ratio(late, late, "x")
    assert (both.value, both.at_least, both.at_most, both.low, both.high) == (None,) * 5


def test_resamples_whose_medians_are_both_censored_widen_the_interval():
    # Paired: a resample with two of the third seed has both medians censored, and any ratio.
    a, b = _runs(20, 22, 60, censored={2}), _runs(10, 11, 60, censored={2})
    found = ratio(a, b, "x")
    assert (found.value, found.low, found.high) == (2, None, None)


def test_what_is_not_positive_has_no_ratio():
    assert ratio(_runs(1, 2, 3), _runs(0, 0, 0), "x").value is None
    assert ratio(_runs(), _runs(1), "x").value is None
