import json

import numpy as np
import pytest
from pairs import at_least, at_most, columns, draws, many_pairs

from nestor.agreement import detectable_shift, difference_test
from nestor.errors import DataError
from nestor.stats.diagnostics import QUANTITIES, summaries

LABELS = [f"s{i}" for i in range(10)]


@pytest.mark.parametrize(("phi", "n_draw"), [(0.0, 150), (0.5, 300)])
def test_false_alarms_keep_the_level(phi, n_draw):
    pairs = many_pairs(draws(1, n_draw, 2000, phi), draws(2, n_draw, 2000, phi), 10)
    p_min = np.array([difference_test(a, b, LABELS).p_min for a, b in pairs])
    assert p_min.size == 200
    for level in (0.01, 0.05, 0.2):
        assert np.count_nonzero(p_min <= level) <= at_most(200, level), level
    # the five quantities of a scalar are correlated, so that Holm gives some level away
    assert np.count_nonzero(p_min <= 0.2) >= at_least(200, 0.08)


def test_power_is_as_promised():
    n_draw, n_pair = 150, 150
    shift = float(detectable_shift(4 * n_draw, 4 * n_draw, 5 * 10, level=0.01, power=0.9))
    a = draws(3, n_draw, 10 * n_pair)
    a[:, :, ::10] += shift
    found = 0
    for one, other in many_pairs(a, draws(4, n_draw, 10 * n_pair), 10):
        rejected = difference_test(one, other, LABELS).rejected
        found += ("s0", "mean") in {(item.label, item.quantity) for item in rejected}
    assert at_least(n_pair, 0.9) <= found <= at_most(n_pair, 0.9)


def test_detectable_shift_is_the_designs():
    # (z[1 - 0.01/200] + z[0.9]) sqrt(2/ess) = (3.8906 + 1.2816) sqrt(2/ess)
    assert float(detectable_shift(400, 400, 100)) == pytest.approx(0.3657, abs=1e-4)
    assert float(detectable_shift(4000, 4000, 100)) == pytest.approx(0.1157, abs=1e-4)


def test_sd_off_by_thirty_percent_is_found():
    b = draws(6, 250, 10)
    b[:, :, 4] *= 1.3
    result = difference_test(summaries(draws(5, 250, 10)), summaries(b), LABELS)
    assert {item.label for item in result.rejected} == {"s4"}
    assert result.rejected[0].quantity == "sd"
    assert result.rejected[0].z < 0
    assert result.n_tests == 50
    assert result.p_min == result.rejected[0].p_adjusted


def test_z_and_detectable_shift_of_a_result():
    a, b = summaries(draws(7, 200, 10, 0.5)), summaries(draws(8, 300, 10, 0.5))
    result = difference_test(a, b, LABELS)
    for row, name in enumerate(QUANTITIES[:2]):
        expected = (getattr(a, name) - getattr(b, name)) / np.sqrt(
            a.mcse[row] ** 2 + b.mcse[row] ** 2
        )
        np.testing.assert_allclose(result.z[row], expected)
    shifts = detectable_shift(a.ess[0], b.ess[0], 50)
    assert result.detectable_shift == pytest.approx(shifts.max())
    assert result.detectable_shift_median == pytest.approx(np.median(shifts))


def test_what_cannot_be_tested_is_named():
    a = draws(9, 100, 10)
    a[:, :, 3] = 1.0
    b = a.copy()
    b[:, :, [0, 1, 2, 4, 5, 6, 7, 8, 9]] = draws(10, 100, 9)
    result = difference_test(summaries(a), summaries(b), LABELS)
    assert result.untested == tuple(f"{quantity} of s3" for quantity in QUANTITIES)
    assert result.n_tests == 45
    json.dumps(result.to_dict(), allow_nan=False)


def test_nothing_to_test():
    spoiled = summaries(np.full((4, 100, 2), np.nan))
    result = difference_test(spoiled, spoiled, ["x", "y"])
    assert result.p_min is None
    assert result.detectable_shift is None
    assert result.to_dict()["rejected"] == []
    with pytest.raises(DataError, match="1 scalars against 2"):
        difference_test(columns(spoiled, slice(0, 1)), spoiled, ["x"])
