"""Tests of ECDFs: exact against enumeration and whole numbers, and what they find."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy.stats import binom, hypergeom

from nestor.errors import DataError
from nestor.stats.ecdf import (
    ecdf_difference,
    two_sample_band,
    two_sample_test,
    uniform_band,
    uniform_test,
)

CHANCE = 1e-5  # probability with which a correct procedure may miss a bound in these tests
ALMOST = 1 + 1e-9  # pointwise p-values this close are equal, computed in two ways


def two_sided(law, count):
    return min(1.0, 2 * min(law.cdf(count), law.sf(count - 1)))


# --- two samples, against all labelings


def labelings(n):
    """Every way to choose which of 2n ordered values are a's, shape (C(2n, n), 2n)."""
    chosen = np.array(list(itertools.combinations(range(2 * n), n)))
    is_a = np.zeros((len(chosen), 2 * n), bool)
    np.put_along_axis(is_a, chosen, values=True, axis=1)
    return is_a


def samples(is_a, values=None):
    values = np.arange(is_a.shape[1], dtype=float) if values is None else values
    return (
        np.array([values[row] for row in is_a]).T,
        np.array([values[~row] for row in is_a]).T,
    )


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6])
def test_two_sample_p_values_are_those_of_all_labelings(n):
    is_a = labelings(n)
    laws = [hypergeom(2 * n, n, m) for m in range(1, 2 * n + 1)]
    table = np.array([[two_sided(law, k) for k in range(n + 1)] for law in laws])
    statistic = table[np.arange(2 * n), np.cumsum(is_a, axis=1)].min(axis=1)
    expected = np.array([np.mean(statistic <= t * ALMOST) for t in statistic])
    result = two_sample_test(*samples(is_a))
    np.testing.assert_allclose(result.statistic, statistic, rtol=1e-10)
    np.testing.assert_allclose(result.p_values, expected, rtol=1e-8)


def paths_leaving(n, cutoff):
    """Share of the lattice paths on which some pointwise p-value is at most the cutoff, exactly."""
    inside = {0: 1}
    for m in range(1, 2 * n + 1):
        total = comb(2 * n, m)
        ways = [Fraction(comb(n, k) * comb(n, m - k), total) for k in range(min(n, m) + 1)]
        below = list(itertools.accumulate(ways))
        step: dict[int, int] = {}
        for k, count in inside.items():
            for after in (k, k + 1):
                if after <= n and m - after <= n:
                    step[after] = step.get(after, 0) + count
        inside = {
            k: count
            for k, count in step.items()
            if float(min(1, 2 * min(below[k], 1 - below[k] + ways[k]))) > cutoff * ALMOST
        }
    return float(1 - Fraction(inside.get(n, 0), comb(2 * n, n)))


def test_two_sample_p_values_of_larger_samples_are_never_too_small_and_hardly_too_large():
    n = 45
    rng = np.random.default_rng(0)
    shift = np.linspace(0, 2.5, 12)
    result = two_sample_test(rng.normal(size=(n, 12)) + shift, rng.normal(size=(n, 12)))
    exact = np.array([paths_leaving(n, t) for t in result.statistic])
    assert exact.min() < 1e-9  # some far out
    assert np.all(result.p_values >= exact * (1 - 1e-9))
    # 40 values per decade raise the statistic by 10^(1/40) = 1.06, 16 per decade by 1.15
    bound = np.where(result.statistic > 1e-4, 1.06, 1.16)
    tabulated = result.statistic > 1e-14
    assert np.all((result.p_values <= exact * bound)[tabulated])
    assert np.all(result.p_values < 1e-12, where=~tabulated)


@pytest.mark.parametrize("level", [0.3, 0.05, 0.01, 1e-6])
def test_two_sample_band_is_left_exactly_where_the_test_rejects(level):
    n = 6
    is_a = labelings(n)
    band = two_sample_band(n, level)
    m = np.arange(2 * n + 1)
    counts = np.concatenate([np.zeros((len(is_a), 1)), np.cumsum(is_a, axis=1)], axis=1)
    apart = (2 * counts - m) / n
    left = ((apart < band.lower - 1e-12) | (apart > band.upper + 1e-12)).any(axis=1)
    np.testing.assert_array_equal(left, two_sample_test(*samples(is_a)).p_values <= level)
    assert left.mean() == pytest.approx(band.attained, abs=1e-12)
    assert band.attained <= level
    np.testing.assert_allclose(band.lower, -band.upper, atol=1e-12)


def test_two_sample_level_of_moderate_samples():
    rng = np.random.default_rng(1)
    n_pair = 6000
    p_values = two_sample_test(*rng.standard_t(2, size=(2, 150, n_pair))).p_values
    for level in (0.001, 0.01, 0.05, 0.2, 0.5):
        # exactly uniform but for the table's rounding, a factor 1.06
        assert np.sum(p_values <= level) <= binom.ppf(1 - CHANCE, n_pair, level)
        assert np.sum(p_values <= level) >= binom.ppf(CHANCE, n_pair, level / 1.06)


def test_ties_raise_no_false_alarm():
    rng = np.random.default_rng(2)
    n_pair = 4000
    p_values = two_sample_test(*rng.poisson(1.0, size=(2, 100, n_pair))).p_values
    for level in (0.01, 0.1, 0.3):
        assert np.sum(p_values <= level) <= binom.ppf(1 - CHANCE, n_pair, level)
    constant = two_sample_test(np.ones((50, 1)), np.ones((50, 1)))
    assert constant.p_values[0] == pytest.approx(1.0)
    assert constant.difference[0] == 0.0
    # every labeling of 2 + 3 + 1 + 2 equal values
    values = np.repeat([1.0, 2.0, 3.0, 4.0], [2, 3, 1, 2])
    p_tied = two_sample_test(*samples(labelings(4), values)).p_values
    for level in np.unique(p_tied):
        assert np.mean(p_tied <= level) <= level * ALMOST


def test_the_order_inside_a_block_of_equal_values_means_nothing():
    a = np.array([[1.0], [1.0], [1.0], [2.0], [2.0]])
    b = np.array([[1.0], [2.0], [2.0], [2.0], [3.0]])
    result = two_sample_test(a, b)
    # after the ones 3 of 4 are a's, after the twos 5 of 9
    found = [two_sided(hypergeom(10, 5, 4), 3), two_sided(hypergeom(10, 5, 9), 5)]
    assert result.statistic[0] == pytest.approx(min(found))
    assert result.difference[0] == pytest.approx(3 / 5 - 1 / 5)
    assert result.at[0] == pytest.approx(0.4)
    points, difference = ecdf_difference(a, b)
    np.testing.assert_allclose(points, [0, 0.4, 0.9, 1])
    np.testing.assert_allclose(difference, [0, 0.4, 0.2, 0], atol=1e-15)


def skewed(rng, size):
    """Mean 0, variance 1 and a long tail to the right."""
    return rng.exponential(size=size) - 1


@pytest.mark.parametrize(
    ("one", "other", "least"),
    [
        (lambda r, s: r.normal(size=s) + 0.4, lambda r, s: r.normal(size=s), 0.95),
        (lambda r, s: 1.5 * r.normal(size=s), lambda r, s: r.normal(size=s), 0.9),
        (skewed, lambda r, s: -skewed(r, s), 0.99),  # the same mean and sd
    ],
    ids=["shift", "scale", "swapped tails"],
)
def test_two_sample_power(one, other, least):
    rng = np.random.default_rng(3)
    size = (400, 300)
    assert np.mean(two_sample_test(one(rng, size), other(rng, size)).p_values <= 0.01) >= least


def test_two_sample_refuses_what_it_cannot_compare():
    good = np.zeros((5, 2))
    with pytest.raises(DataError, match=r"shapes \(5, 2\) and \(4, 2\)"):
        two_sample_test(good, good[:4])
    with pytest.raises(DataError, match="no draws"):
        two_sample_test(good[:0], good[:0])
    with pytest.raises(DataError, match="not finite"):
        two_sample_test(good, np.full((5, 2), np.nan))
    with pytest.raises(DataError, match="level"):
        two_sample_band(10, 1.0)
    with pytest.raises(DataError, match="no draws"):
        two_sample_band(0, 0.1)


# --- one sample, against all outcomes


@pytest.mark.parametrize(("n_simulations", "n_ranks"), [(1, 2), (2, 6), (4, 5), (6, 3), (9, 2)])
def test_uniform_p_values_are_those_of_all_outcomes(n_simulations, n_ranks):
    ranks = np.array(list(itertools.product(range(n_ranks), repeat=n_simulations))).T
    laws = [binom(n_simulations, i / n_ranks) for i in range(1, n_ranks)]
    table = np.array([[two_sided(law, k) for k in range(n_simulations + 1)] for law in laws])
    counts = np.stack([(ranks < i).sum(axis=0) for i in range(1, n_ranks)], axis=1)
    statistic = table[np.arange(n_ranks - 1), counts].min(axis=1)
    expected = {t: np.mean(statistic <= t * ALMOST) for t in np.unique(statistic)}
    result = uniform_test(ranks, n_ranks)
    np.testing.assert_allclose(result.statistic, statistic, rtol=1e-10)
    np.testing.assert_allclose(result.p_values, [expected[t] for t in statistic], rtol=1e-8)
    for level in (0.3, 0.05, 0.01):
        band = uniform_band(n_simulations, n_ranks, level)
        ecdf = counts / n_simulations
        left = ((ecdf < band.lower - 1e-12) | (ecdf > band.upper + 1e-12)).any(axis=1)
        np.testing.assert_array_equal(left, result.p_values <= level)
        assert left.mean() == pytest.approx(band.attained, abs=1e-10)


def walks_leaving(n, n_ranks, cutoff):
    """Probability that some pointwise p-value is at most the cutoff, by binomial steps in Fractions."""
    inside = {0: Fraction(1)}
    for i in range(1, n_ranks):
        z, step = Fraction(i, n_ranks), Fraction(1, n_ranks - i + 1)
        law = [comb(n, k) * z**k * (1 - z) ** (n - k) for k in range(n + 1)]
        below = list(itertools.accumulate(law))
        after: dict[int, Fraction] = {}
        for k, mass in inside.items():
            for more in range(n - k + 1):
                chance = comb(n - k, more) * step**more * (1 - step) ** (n - k - more)
                after[k + more] = after.get(k + more, Fraction(0)) + mass * chance
        inside = {
            k: mass
            for k, mass in after.items()
            if float(min(1, 2 * min(below[k], 1 - below[k] + law[k]))) > cutoff * ALMOST
        }
    return float(1 - sum(inside.values()))


def test_uniform_p_values_of_larger_samples_are_never_too_small_and_hardly_too_large():
    rng = np.random.default_rng(4)
    n, n_ranks = 24, 48
    power = np.array([1.0, 1.0, 1.5, 2.0, 3.0, 6.0, 12.0])
    ranks = np.floor(n_ranks * rng.uniform(size=(n, power.size)) ** power).astype(int)
    result = uniform_test(ranks, n_ranks)
    exact = np.array([walks_leaving(n, n_ranks, t) for t in result.statistic])
    assert exact.min() < 1e-8
    assert np.all(result.p_values >= exact * (1 - 1e-8))
    bound = np.where(result.statistic > 1e-4, 1.06, 1.16)
    tabulated = result.statistic > 1e-14
    assert np.all((result.p_values <= exact * bound)[tabulated])
    assert np.all(result.p_values < 1e-12, where=~tabulated)


@pytest.mark.parametrize(("n_simulations", "n_ranks"), [(60, 20), (100, 300), (300, 64)])
def test_uniform_level_of_moderate_samples(n_simulations, n_ranks):
    rng = np.random.default_rng(5)
    n_quantity = 5000
    ranks = rng.integers(0, n_ranks, size=(n_simulations, n_quantity))
    p_values = uniform_test(ranks, n_ranks).p_values
    for level in (0.001, 0.01, 0.05, 0.2, 0.5):
        found = int(np.sum(p_values <= level))
        assert found <= binom.ppf(1 - CHANCE, n_quantity, level), level
        assert found >= binom.ppf(CHANCE, n_quantity, 0.9 * level), level


@pytest.mark.parametrize(
    "shape", [(1.3, 1.0), (1.5, 1.5), (0.7, 0.7)], ids=["shifted", "too wide", "too narrow"]
)
def test_uniform_finds_ranks_that_are_not(shape):
    ranks = np.floor(100 * np.random.default_rng(6).beta(*shape, size=(500, 200))).astype(int)
    result = uniform_test(ranks, 100)
    assert np.mean(result.p_values <= 0.01) >= 0.95
    worst = result.difference[np.abs(result.difference).argmax()]
    assert 0.05 < abs(worst) < 0.3


def test_uniform_says_where_the_difference_is_largest():
    ranks = np.repeat([0, 1, 2, 3], [5, 1, 1, 1])[:, None]
    result = uniform_test(ranks, 4)
    assert result.at[0] == 0.25
    assert result.difference[0] == pytest.approx(5 / 8 - 1 / 4)


def test_uniform_refuses_what_are_no_ranks():
    with pytest.raises(DataError, match="two axes"):
        uniform_test(np.zeros(3, int), 4)
    with pytest.raises(DataError, match="integers, found float64"):
        uniform_test(np.zeros((3, 1)), 4)
    with pytest.raises(DataError, match=r"0 \.\. 3, found 0 to 4"):
        uniform_test(np.array([[0], [4]]), 4)
    with pytest.raises(DataError, match="no simulations"):
        uniform_test(np.zeros((0, 1), int), 4)
    with pytest.raises(DataError, match="at least 2 values"):
        uniform_band(10, 1, 0.05)
    with pytest.raises(DataError, match="level"):
        uniform_band(10, 4, 0.0)
