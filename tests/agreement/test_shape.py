import numpy as np
import pytest
from pairs import at_least, at_most, draws

from nestor.agreement.difference import difference_test
from nestor.agreement.shape import (
    MAX_COUNT,
    MIN_COUNT,
    RESIDUAL,
    common_counts,
    near_independent,
    shape_test,
    thin,
)
from nestor.errors import DataError
from nestor.stats.diagnostics import summaries

LABELS = [f"s{i}" for i in range(10)]


def compare(a, b, labels=LABELS, **options):
    return shape_test(a, b, summaries(a), summaries(b), labels, **options)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_false_alarms_of_autocorrelated_chains_keep_the_level(phi):
    n = 1200
    a, b = draws(1, 1000, n, phi), draws(2, 1000, n, phi)
    result = compare(a, b, [f"s{i}" for i in range(n)])
    assert result.n_tests == n
    for level in (0.01, 0.05, 0.2):
        found = int(np.count_nonzero(result.p_values <= level))
        assert at_least(n, level / 1.1) <= found <= at_most(n, level), level
    assert result.rejected == ()


def test_families_keep_the_level():
    # 150 families of 8; Holm over independent tests gives hardly any level away
    a, b = draws(3, 300, 1200, 0.5), draws(4, 300, 1200, 0.5)
    one, other = summaries(a), summaries(b)
    p_values = shape_test(a, b, one, other, [str(i) for i in range(1200)]).p_values
    p_min = np.minimum(8 * p_values.reshape(150, 8).min(axis=1), 1.0)
    for level in (0.05, 0.2):
        assert np.count_nonzero(p_min <= level) <= at_most(150, level)
    assert np.count_nonzero(p_min <= 0.2) >= at_least(150, 0.15)


def test_a_difference_of_shape_alone_is_found_where_means_and_sds_agree():
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 4, 1000, 10))
    # Half of a's draws from each side: mean 0 and variance 1, but two modes.
    a[..., 7] = 0.9 * rng.choice([-1, 1], size=(4, 1000)) + np.sqrt(1 - 0.81) * a[..., 7]
    result = compare(a, b)
    assert [one.label for one in result.rejected] == ["s7"]
    found = result.rejected[0]
    # ECDFs are about 0.09 apart near the 15 and 85% points
    assert 0.05 < abs(found.difference) < 0.15
    assert min(abs(found.quantile - 0.25), abs(found.quantile - 0.75)) < 0.2
    assert found.p_adjusted == result.p_min == result.p_adjusted[7] <= 0.01
    assert "the distributions of s7 differ" in str(found)
    rejected = difference_test(summaries(a), summaries(b), LABELS).rejected
    assert not {one.quantity for one in rejected} & {"mean", "sd"}


def test_runs_of_different_size_and_efficiency_are_compared():
    a, b = draws(6, 1000, 10, 0.5), draws(7, 400, 10)[:3]
    result = compare(a, b)
    assert result.rejected == ()
    assert result.n_tests == 10
    b[..., 2] += 1.0
    shifted = compare(a, b)
    assert [one.label for one in shifted.rejected] == ["s2"]
    assert shifted.rejected[0].difference > 0  # a lies below b: its ECDF is above


def test_scalars_without_enough_draws_are_named_with_the_reason():
    a, b = draws(8, 200, 10), draws(9, 200, 10)
    a[..., 0] = draws(10, 200, 1, 0.995)[..., 0]
    a[..., 3] = 2.0
    b[0, 4, 5] = np.nan
    b[..., 8] = 2.0
    result = compare(a, b)
    reasons = dict(text.split(": ") for text in result.untested)
    assert list(reasons) == ["s0", "s3", "s5", "s8"]
    assert "near-independent draws, fewer than 20" in reasons["s0"]
    assert reasons["s3"] == reasons["s8"] == "its draws are all the same"
    assert reasons["s5"] == "its draws are not finite"
    assert result.n_tests == 6
    assert np.isnan(result.p_adjusted[[0, 3, 5, 8]]).all()
    assert result.n[[0, 3, 5, 8]].sum() == 0
    assert result.n_smallest >= MIN_COUNT


def test_without_any_test_there_is_no_p_value():
    a = np.ones((4, 100, 10))
    result = compare(a, a)
    assert result.n_tests == 0
    assert result.p_min is None
    assert result.n_smallest is None
    assert result.n_median is None
    assert len(result.untested) == 10


def test_result_as_plain_data():
    a, b = draws(11, 300, 10), draws(12, 300, 10)
    b[..., 1] *= 2.0
    plain = compare(a, b).to_dict()
    assert set(plain) == {
        "level",
        "n_tests",
        "rejected",
        "p_min",
        "untested",
        "n_smallest",
        "n_median",
    }
    assert plain["rejected"][0]["label"] == "s1"


def test_thinning_leaves_little_autocorrelation():
    chains = draws(13, 5000, 40, 0.9)
    summary = summaries(chains)
    kept = near_independent(summary)
    # log(0.02) / log(0.9) = 37.1 draws apart
    assert np.median(kept) == pytest.approx(20_000 / (np.log(RESIDUAL) / np.log(0.9)), rel=0.1)
    n = int(np.median(kept))
    thinned = thin(chains, n, np.arange(40))
    assert thinned.shape == (n, 40)
    lagged = np.mean([np.corrcoef(x[1:], x[:-1])[0, 1] for x in thinned.T])
    # the mean of 40 correlations of n draws
    assert abs(lagged - RESIDUAL) < 4.5 / np.sqrt(40 * n)


def test_thinned_draws_are_spread_over_all_chains():
    places = np.arange(3 * 50.0).reshape(3, 50, 1)
    np.testing.assert_array_equal(thin(places, 150, [0])[:, 0], np.arange(150))
    np.testing.assert_array_equal(thin(places, 6, [0])[:, 0], [12, 37, 62, 87, 112, 137])


def test_counts_are_few_and_never_more_than_there_are():
    a, b = draws(14, 1000, 200, 0.7), draws(15, 500, 200, 0.2)
    one, other = summaries(a), summaries(b)
    counts = common_counts(one, other)
    free = np.minimum(near_independent(one), near_independent(other))
    assert np.all(counts <= free)
    assert np.all(counts > free / 1.45)
    assert np.unique(counts).size <= 3
    independent = summaries(draws(16, 2000, 5))
    assert list(common_counts(independent, independent)) == [MAX_COUNT] * 5


def test_what_does_not_belong_together_is_refused():
    a = draws(17, 100, 10)
    summary = summaries(a)
    with pytest.raises(DataError, match=r"draws of shape \(4, 100, 9\)"):
        shape_test(a[..., :9], a, summary, summary, LABELS)
    with pytest.raises(DataError, match="9 labels"):
        shape_test(a, a, summary, summary, LABELS[:9])
