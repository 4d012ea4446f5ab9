import json

import numpy as np
import pytest
from pairs import at_most, draws, many_pairs

from nestor.agreement import PairSide, Verdict, judge
from nestor.agreement.shape import shape_test
from nestor.errors import DataError
from nestor.stats.diagnostics import Gates, gates, summaries

LABELS = tuple(f"s{i}" for i in range(5))
PASSED = Gates(True, (), (), 1.0, None, None, 4000.0, 4000.0, 1.0, 0, 0)
FAILED = Gates(False, ("R-hat 1.2 of s0 is not below 1.01",), (), *[None] * 8)


def _run(name, values, labels=LABELS, passed=PASSED, density_ok=True):
    return PairSide(name, labels, summaries(values), passed, density_ok, sampled_ok=True)


def _pair(change=lambda x: None, n_draw=500, **kwargs):
    b = draws(2, n_draw, 5)
    change(b)
    return _run("one", draws(1, n_draw, 5)), _run("two", b, **kwargs)


def _shift(size):
    def change(values):
        values[:, :, 3] += size

    return change


def _scale(factor):
    def change(values):
        values[:, :, 3] *= factor

    return change


def test_agree():
    result = judge(*_pair())
    assert result.verdict is Verdict.AGREE
    assert result.missing_draws == (0, 0)
    assert result.smallest_margin < 0.2
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["verdict"] == "AGREE"
    assert plain["equivalence"]["equivalent"] is True


@pytest.mark.parametrize("change", [_shift(0.5), _shift(-0.5), _scale(1.6), _scale(0.6)])
def test_disagree(change):
    result = judge(*_pair(change))
    assert result.verdict is Verdict.DISAGREE
    assert result.worst == "s3"
    assert all("s3" in reason for reason in result.reasons)
    assert result.missing_draws is None


def test_inconclusive_says_how_many_draws_are_missing():
    result = judge(*_pair(n_draw=100))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert min(result.missing_draws) > 0
    assert str(result.missing_draws[0]) in result.reasons[0]
    enough = 100 + int(1.3 * max(result.missing_draws))
    assert judge(*_pair(n_draw=enough)).verdict is Verdict.AGREE


def test_sd_thirty_percent_off_never_agrees():
    assert judge(*_pair(_scale(1.3), n_draw=2000)).verdict is Verdict.DISAGREE
    assert judge(*_pair(_scale(1.3), n_draw=150)).verdict is not Verdict.AGREE


def test_small_real_difference_is_negligible():
    result = judge(*_pair(_shift(0.12), n_draw=3000))
    assert result.verdict is Verdict.AGREE
    assert any(text.startswith("mean of s3 (-0.1") for text in result.negligible)


def test_rule_1_goes_before_everything():
    one, _ = _pair()
    wrong = PairSide("two", LABELS, None, None, density_ok=False, missing="not sampled")
    result = judge(one, wrong)
    assert result.verdict is Verdict.DISAGREE
    assert result.reasons == ("two: log densities differ from the reference",)
    _, failed = _pair(_shift(0.5), passed=FAILED, density_ok=False)
    assert judge(one, failed).verdict is Verdict.DISAGREE


def test_rule_2_goes_before_shown_differences_and_agreement():
    for change in (_shift(0.0), _shift(3.0)):
        result = judge(*_pair(change, passed=FAILED))
        assert result.verdict is Verdict.INCONCLUSIVE
        assert result.reasons == ("two: R-hat 1.2 of s0 is not below 1.01",)
    one, _ = _pair()
    missing = judge(one, PairSide("two", LABELS, None, None, missing="exit code 137"))
    assert missing.verdict is Verdict.INCONCLUSIVE
    assert missing.reasons == ("two: no draws (exit code 137)",)
    assert missing.to_dict()["difference"] is None
    unchecked = judge(*_pair(passed=None))
    assert unchecked.verdict is Verdict.INCONCLUSIVE


def test_rejections_elsewhere_prevent_agreement_only():
    one, two = draws(1, 2000, 5), draws(2, 2000, 5)
    two[:, :, 1] = np.where(two[:, :, 1] < 0, -1.0, 1.0) + 0.01 * two[:, :, 0]  # mean 0, sd 1
    runs = _run("one", one), _run("two", two)
    shape = shape_test(one, two, runs[0].summaries, runs[1].summaries, LABELS)
    result = judge(*runs, shape=shape, margin=0.5, sd_margin=0.5)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert any("rank ECDFs of s1" in reason for reason in result.reasons)
    shifted = judge(*_pair(_shift(0.5)), shape=shape)
    assert shifted.verdict is Verdict.DISAGREE


def test_groups_sum_up_thousands_of_scalars():
    one, two = draws(1, 500, 5), draws(2, 500, 5)
    two[:, :, 3] += 1.0
    groups = ("population", "scales", "g", "g", "g")
    result = judge(_run("one", one), _run("two", two), groups=groups)
    by_name = {group.group: group for group in result.groups}
    assert [by_name[name].scalars for name in ("population", "scales", "g")] == [1, 1, 3]
    assert by_name["g"].worst == "mean of s3"
    assert (by_name["g"].outside, by_name["g"].different) == (1, 1)
    assert by_name["population"].outside == 0
    assert by_name["g"].margin_needed > 1.0
    assert json.loads(json.dumps(result.to_dict()))["groups"][2]["worst"] == "mean of s3"


def test_equal_means_and_sds_with_different_quantiles_do_not_agree():
    def skewed(values):  # mean 0, sd 1 like the others
        values[:, :, 2] = np.random.default_rng(4).exponential(size=values.shape[:2]) - 1.0

    result = judge(*_pair(skewed, n_draw=3000))
    assert result.equivalence.equivalent
    assert result.verdict is Verdict.INCONCLUSIVE
    assert any("q05 of s2" in reason for reason in result.reasons)


def test_unchecked_density_and_gate_notes_are_noted():
    values = draws(3, 500, 5)
    noted = gates(values, LABELS, [False] * 5)
    result = judge(_pair()[0], _run("two", values, passed=noted, density_ok=None))
    assert "two: log densities were not compared with the reference" in result.notes
    assert any("E-BFMI: not available" in note for note in result.notes)


def _nan(values):
    values[0, 0, 1] = np.nan


def _stuck(values):
    values[:, :, 1] = 0.25


@pytest.mark.parametrize(
    ("change", "said"), [(_nan, "s1 are not finite"), (_stuck, "s1 are all the same")]
)
@pytest.mark.parametrize("both", [False, True])
def test_unusable_draws_are_inconclusive(change, said, both):
    one, other = draws(1, 500, 5), draws(2, 500, 5)
    change(other)
    if both:
        change(one)
    result = judge(_run("one", one), _run("two", other))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert sum(said in reason for reason in result.reasons) == 1 + both
    json.dumps(result.to_dict(), allow_nan=False)


def test_samples_that_are_too_small_or_swapped_are_inconclusive():
    one = _run("one", draws(1, 2000, 5))
    single = judge(one, _run("two", draws(2, 8000, 5)[:1]))
    assert single.verdict is Verdict.INCONCLUSIVE
    assert "single chain" in single.reasons[0]
    swapped = judge(one, _run("two", draws(2, 2000, 5).swapaxes(0, 1)))
    assert swapped.verdict is Verdict.INCONCLUSIVE
    assert "4 draws per chain" in swapped.reasons[0]
    assert "swapped" in swapped.reasons[0]
    assert judge(one, _run("two", draws(2, 3, 5))).verdict is Verdict.INCONCLUSIVE
    empty = _run("one", np.zeros((4, 500, 0)), ()), _run("two", np.zeros((4, 500, 0)), ())
    assert judge(*empty).verdict is Verdict.INCONCLUSIVE


def test_a_run_does_not_agree_with_its_copy():
    one = _run("one", draws(1, 2000, 5))
    result = judge(one, _run("two", draws(1, 2000, 5)))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "copies of one run" in result.reasons[0]


def test_numbers_of_chains_and_draws_may_differ():
    result = judge(_run("one", draws(1, 1000, 5)[:3]), _run("two", draws(2, 700, 5, 0.2)))
    assert result.verdict is Verdict.AGREE


def test_different_scalars_are_refused():
    one, two = _pair()
    renamed = PairSide("two", ("s0", "s1", "s2", "s3", "tau"), two.summaries, PASSED, True)
    with pytest.raises(DataError, match=r"only one has s4; only two has tau"):
        judge(one, renamed)
    reordered = PairSide("two", ("s1", "s0", "s2", "s3", "s4"), two.summaries, PASSED, True)
    with pytest.raises(DataError, match="order"):
        judge(one, reordered)


def test_false_disagreements_keep_the_level():
    verdicts = []
    for a, b in many_pairs(draws(21, 150, 1000, 0.5), draws(22, 150, 1000, 0.5), 5):
        # a margin far below the Monte Carlo error: the hardest case for the level
        pair = PairSide("one", LABELS, a, PASSED, True), PairSide("two", LABELS, b, PASSED, True)
        verdicts.append(judge(*pair, margin=1e-6, sd_margin=1e-6, disagree_level=0.1).verdict)
    assert len(verdicts) == 200
    assert verdicts.count(Verdict.DISAGREE) <= at_most(200, 0.1)
    assert verdicts.count(Verdict.DISAGREE) > 0
    assert Verdict.AGREE not in verdicts
