import json
import math
from dataclasses import replace

import numpy as np
import pytest
from pairs import at_least, at_most, draws, many_pairs

from nestor.agreement import beyond_margin_test, equivalence_test, ess_for_equivalence
from nestor.agreement.tost import tost_statistics
from nestor.errors import DataError
from nestor.stats.diagnostics import summaries

LABELS = [f"s{i}" for i in range(10)]
N = 1000


def _at_the_edges(seed: int) -> tuple:
    """Means exactly 0.2 sd apart in the first half, sds exactly 20% in the second."""
    a, b = draws(seed, 200, 2 * N), draws(seed + 1, 200, 2 * N)
    a[:, :, :N] += 0.2
    a[:, :, N : N + N // 2] *= 1.2
    b[:, :, N + N // 2 :] *= 1.2
    return summaries(a), summaries(b)


def test_size_of_both_tests_at_the_margin():
    placed = tost_statistics(*_at_the_edges(1), 0.2, 0.2)
    for row, half in ((0, slice(0, N)), (1, slice(N, 2 * N))):
        shown = np.count_nonzero(placed.inside[row, half] >= 1.6449)
        assert at_least(N, 0.05) <= shown <= at_most(N, 0.05)
        outside = np.count_nonzero(placed.p_outside()[row, half] <= 0.01)
        assert at_least(N, 0.01) <= outside <= at_most(N, 0.01)


def test_beyond_becomes_the_two_sided_test_without_a_margin():
    a, b = summaries(draws(3, 250, N)), summaries(draws(4, 250, N))
    p_values = tost_statistics(a, b, 1e-9, 1e-9).p_outside()
    for row in (0, 1):
        assert at_least(N, 0.05) <= np.count_nonzero(p_values[row] <= 0.05) <= at_most(N, 0.05)


def test_infinite_variance_does_not_fake_a_difference_of_sds():
    rng = np.random.default_rng(5)
    a, b = (summaries(rng.standard_cauchy((4, 250, N))) for _ in range(2))
    # a normal approximation of the log ratio rejects some 20% here
    assert np.mean(tost_statistics(a, b, 0.2, 0.2).p_outside() <= 1e-3) < 0.01
    assert not equivalence_test(a, b, [str(i) for i in range(N)]).shown[1].any()


def test_power_is_as_promised():
    n_draw, n_pair = math.ceil(ess_for_equivalence(10) / 4), 150
    pairs = many_pairs(draws(6, n_draw, 10 * n_pair), draws(7, n_draw, 10 * n_pair), 10)
    shown = sum(equivalence_test(a, b, LABELS).shown[0].all() for a, b in pairs)
    assert at_least(n_pair, 0.9) <= shown <= at_most(n_pair, 0.9)


def test_needed_ess_is_the_designs():
    assert ess_for_equivalence(20) == pytest.approx(1000, rel=0.02)
    assert ess_for_equivalence(3500) == pytest.approx(1700, rel=0.01)


def test_equal_runs_are_equivalent():
    result = equivalence_test(summaries(draws(8, 600, 10)), summaries(draws(9, 600, 10)), LABELS)
    assert result.equivalent
    assert result.not_equivalent == ()
    assert result.draw_factor == 1.0
    assert 0.0 < result.smallest_margin < 0.2
    json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.parametrize("worst_is", ["mean", "sd"])
def test_smallest_margin_is_the_smallest(worst_is):
    b = draws(11, 400, 10, 0.5)
    if worst_is == "mean":
        b[:, :, 2] += 0.3
    else:
        b[:, :, 2] *= 1.5
    a, b = summaries(draws(10, 400, 10, 0.5)), summaries(b)
    first = equivalence_test(a, b, LABELS)
    assert (first.worst.label, first.worst.quantity) == ("s2", worst_is)
    smallest = first.smallest_margin
    assert equivalence_test(a, b, LABELS, smallest * 1.0001, smallest * 1.0001).equivalent
    assert not equivalence_test(a, b, LABELS, smallest * 0.9999, smallest * 0.9999).equivalent


def test_factor_of_missing_draws():
    a, b = summaries(draws(12, 100, 10)), summaries(draws(13, 100, 10))
    result = equivalence_test(a, b, LABELS)
    assert not result.equivalent
    # errors shrink with the root of the factor: shrunk by it, the same differences are shown
    shrunk = [_with_errors(one, result.draw_factor * 1.0001) for one in (a, b)]
    assert equivalence_test(*shrunk, LABELS).equivalent
    short = [_with_errors(one, result.draw_factor * 0.9999) for one in (a, b)]
    assert not equivalence_test(*short, LABELS).equivalent


def _with_errors(summary, factor):
    return replace(summary, mcse=summary.mcse / np.sqrt(factor))


def test_shift_beyond_the_margin():
    a = draws(14, 500, 10)
    a[:, :, 6] -= 0.4
    a[:, :, 7] *= 1.5
    a, b = summaries(a), summaries(draws(15, 500, 10))
    beyond = beyond_margin_test(a, b, LABELS)
    assert {(one.label, one.quantity) for one in beyond.beyond} == {("s6", "mean"), ("s7", "sd")}
    sizes = {one.label: one.size for one in beyond.beyond}
    assert sizes["s6"] == pytest.approx(-0.4, abs=0.1)
    assert sizes["s7"] == pytest.approx(0.5, abs=0.15)
    assert beyond.n_tests == 20
    equivalence = equivalence_test(a, b, LABELS)
    assert equivalence.draw_factor is None
    # a shift of 0.1 is inside a margin of 0.2 however sure it is
    wide = beyond_margin_test(a, b, LABELS, margin=0.6, sd_margin=0.8)
    assert wide.beyond == ()


def test_constant_and_undefined_scalars_are_never_equivalent():
    a = draws(16, 600, 10)
    a[:, :, 0] = 1.0
    b = draws(17, 600, 10)
    b[0, 0, 1] = np.nan
    result = equivalence_test(summaries(a), summaries(b), LABELS)
    assert not result.equivalent
    assert {one.label for one in result.not_equivalent} == {"s0", "s1"}
    assert result.smallest_margin is None
    assert result.draw_factor is None
    assert "cannot be compared" in str(result.worst)
    assert beyond_margin_test(summaries(a), summaries(b), LABELS).n_tests == 16
    json.dumps(result.to_dict(), allow_nan=False)


def test_margins_must_be_positive():
    a = summaries(draws(18, 100, 10))
    with pytest.raises(DataError, match="positive"):
        equivalence_test(a, a, LABELS, margin=0.0)
