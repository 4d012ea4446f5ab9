"""Two tables compared: what is worse, what is no more ok, and how rarely that is a false alarm."""

import json
import math

import pandas as pd
import pytest

from nestor.bench.bootstrap import Runs, ratio
from nestor.bench.groups import RATES
from nestor.bench.regression import RegressionVerdict, compare_tables
from nestor.errors import DataError, SpecError

NUTPIE, PYMC = "pymc:nutpie@noncentered", "pymc:pymc@noncentered"


def _scaled(**factors):
    def change(row):
        return row | {name: type(row[name])(row[name] * by) for name, by in factors.items()}

    return change


def _words(found):
    return {change.metric: change.word for change in found.changes}


def test_a_table_compared_with_itself_has_no_regression(bench_table):
    found = compare_tables(bench_table(), bench_table())
    assert not found.any
    assert {change.ratio.value for change in found.changes} == {1}
    assert (found.endings, found.only_old, found.only_new, found.warnings) == ((), (), (), ())


def test_what_is_worse_and_what_is_better(bench_table):
    new = bench_table(change=_scaled(compile_s=2, peak_bytes=0.5), stream=1)
    found = compare_tables(bench_table(), new)
    assert found.any
    assert _words(found) == {
        "time_to_ess_s": "",
        "time_to_ess_warm_s": "",
        "ess_per_s_sampling": "",
        "compile_s": "worse",
        "peak_bytes": "better",
    }
    (change,) = found.worse
    assert change.ratio.low < 2 < change.ratio.high
    assert change.has_interval


def test_a_rate_is_worse_if_it_falls(bench_table):
    half = bench_table(change=_scaled(ess_per_s_sampling=0.5))
    (change,) = compare_tables(bench_table(), half).worse
    assert (change.metric, change.ratio.value) == ("ess_per_s_sampling", pytest.approx(2))
    assert not compare_tables(half, bench_table()).any


def test_false_alarms_are_rare_and_a_real_slowdown_is_found(bench_table):
    # By simulation (docstring of nestor.bench.regression) none of 6,000 comparisons at 5% noise is a
    # false alarm, and 96% of slowdowns by 1.3 are found; the standard error of 100 is 2%.
    names = [f"a:b@{i}" for i in range(100)]
    old, same = bench_table(names), bench_table(names, stream=1)
    found = compare_tables(old, same)
    assert len(found.changes) == 500
    assert not found.any
    slow = bench_table(names, stream=1, change=_scaled(compile_s=1.3))
    found = compare_tables(old, slow, metrics=["compile_s"])
    assert 88 <= len(found.worse) <= 100


def test_without_an_interval_nothing_is_judged(bench_table):
    # One run against one: P(z > log 1.1 / (0.05 sqrt 2)) = 8.9% of ratios are beyond 1.1 by chance.
    names = [f"a:b@{i}" for i in range(100)]
    old, same = bench_table(names, seeds=(1,)), bench_table(names, seeds=(1,), stream=1)
    found = compare_tables(old, same)
    assert 5 <= sum(change.ratio.value > 1.1 for change in found.changes) <= 100
    assert len(found.unjudged) == 500
    assert (found.outcome, found.exit_code) == (RegressionVerdict.INCONCLUSIVE, 3)
    assert found.missing == (2, 2)


@pytest.mark.parametrize("metric", ["compile_s", "peak_bytes", "ess_per_s_sampling"])
def test_two_runs_are_too_few_and_three_are_not(bench_table, metric):
    def compare(old, new):
        slow = _scaled(**{metric: 0.5 if metric in RATES else 2})
        tables = bench_table(seeds=old), bench_table(seeds=new, change=slow)
        return compare_tables(*tables, metrics=[metric])

    few = compare((1, 2), (1, 2, 3))
    (change,) = few.unjudged
    assert (change.word, change.has_interval, change.ratio.low) == ("", False, None)
    assert (few.outcome, few.missing) == (RegressionVerdict.INCONCLUSIVE, (1, 0))
    document = few.to_dict()
    assert (document["verdict"], document["any"]) == ("INCONCLUSIVE", False)
    assert (document["runs_needed"], document["runs_missing"]) == (3, {"old": 1, "new": 0})
    enough = compare((1, 2, 3), (1, 2, 3))
    assert (enough.outcome, enough.exit_code, enough.missing) == (
        RegressionVerdict.REGRESSION,
        1,
        (0, 0),
    )


def test_a_regression_is_one_beside_figures_that_are_not_judged(bench_table, end_run):
    def change(row):
        late = row["contender"] == PYMC and row["seed"] > 2
        return None if late else row | {"compile_s": 2 * row["compile_s"]}

    found = compare_tables(bench_table([NUTPIE, PYMC]), bench_table([NUTPIE, PYMC], change=change))
    assert [one.key.contender for one in found.worse] == [NUTPIE]
    assert {one.key.contender for one in found.unjudged} == {PYMC}
    assert (found.outcome, found.missing) == (RegressionVerdict.REGRESSION, (0, 3 - 2))


def test_runs_of_a_group_that_fails_as_before_are_not_asked_for(bench_table, end_run):
    def fails(row):
        return end_run(row, "gates_failed", "R-hat") if row["contender"] == PYMC else row

    table = bench_table([NUTPIE, PYMC], change=fails)
    found = compare_tables(table, table)
    assert (found.outcome, found.unjudged) == (RegressionVerdict.NO_REGRESSION, ())


@pytest.mark.parametrize(
    ("status", "runs", "now"),
    [("timeout", 5, "failing"), ("timeout", 3, "censored"), ("gates_failed", 5, "failing")],
)
def test_a_group_that_ends_well_no_more_is_a_regression(bench_table, end_run, status, runs, now):
    def change(row):
        return end_run(row, status, "why") if row["seed"] <= runs else row

    found = compare_tables(bench_table(), bench_table(change=change))
    (ending,) = found.endings
    assert (ending.was, ending.now, ending.reasons) == ("ok", now, ("why",))
    assert found.any
    back = compare_tables(bench_table(change=change), bench_table())
    assert (back.endings[0].was, back.endings[0].now, back.any) == (now, "ok", False)


def test_a_minority_of_failures_is_none(bench_table, end_run):
    new = bench_table(change=lambda row: end_run(row, "timeout") if row["seed"] == 1 else row)
    assert not compare_tables(bench_table(), new).any


def test_an_answer_that_has_become_wrong_is_a_regression_however_fast(bench_table):
    wrong = {"verdict": "DISAGREE", "reason": "sigma differs"}
    new = bench_table(change=lambda row: row | wrong | {"time_to_ess_s": 0.1})
    found = compare_tables(bench_table(), new)
    assert found.changes == ()
    (ending,) = found.broken
    assert (ending.now, ending.reasons) == ("DISAGREE", ("sigma differs",))


def test_what_was_measured_and_is_skipped_now_is_a_regression(bench_table, end_run):
    skipped = bench_table(change=lambda row: end_run(row, "skipped", "no GPU"))
    found = compare_tables(bench_table(), skipped)
    assert [(one.was, one.now, one.reasons) for one in found.broken] == [
        ("ok", "skipped", ("no GPU",))
    ]
    assert found.any
    late = bench_table(change=lambda row: end_run(row, "timeout"))
    for old, new in ((skipped, bench_table()), (late, skipped), (skipped, skipped)):
        assert not compare_tables(old, new).any


@pytest.mark.parametrize(
    ("metric", "old", "new", "word"),
    [
        # The floors are 0.05 s and 5 MB; every ratio here is beyond 1.1.
        ("compile_s", 0.02, 0.069, ""),
        ("compile_s", 0.02, 0.071, "worse"),
        ("compile_s", 0.069, 0.02, ""),
        ("compile_s", 0.071, 0.02, "better"),
        ("time_to_ess_s", 0.3, 0.34, ""),
        ("time_to_ess_s", 0.3, 0.36, "worse"),
        ("peak_bytes", 30_000_000, 34_900_000, ""),
        ("peak_bytes", 30_000_000, 35_100_000, "worse"),
        # A rate has none, although its name ends like that of seconds.
        ("ess_per_s", 0.04, 0.02, "worse"),
        ("ess_per_gradient", 0.04, 0.02, "worse"),
    ],
)
@pytest.mark.parametrize("seeds", [(1, 2, 3), (1, 2, 3, 4, 5)])
def test_differences_that_nobody_notices_are_none(bench_table, metric, old, new, word, seeds):
    before, after = (
        bench_table(seeds=seeds, change=lambda row, value=value: row | {metric: value})
        for value in (old, new)
    )
    assert _words(compare_tables(before, after, metrics=[metric])) == {metric: word}


def test_a_time_that_is_no_more_reached_is_not_below_the_floor(bench_table, end_run):
    # It takes at least twice as long, and nobody knows how much longer.
    old = bench_table(seeds=(1,), change=lambda row: row | {"time_to_ess_s": 0.01})
    new = bench_table(seeds=(1,), change=lambda row: end_run(row, "timeout", at=0.02))
    found = compare_tables(old, new, metrics=["time_to_ess_s"])
    assert [(end.was, end.now) for end in found.broken] == [("ok", "failing")]
    assert (found.outcome, found.unjudged) == (RegressionVerdict.REGRESSION, ())


def test_groups_on_one_side_only_are_listed(bench_table):
    found = compare_tables(
        bench_table([NUTPIE, PYMC]), bench_table([NUTPIE], tracks=("defaults", "matched"))
    )
    assert [key.contender for key in found.only_old] == [PYMC]
    assert [key.track for key in found.only_new] == ["matched"]
    assert {change.key.contender for change in found.changes} == {NUTPIE}


def test_tables_without_a_common_group_are_refused(bench_table):
    with pytest.raises(DataError, match="no group in common: none of chem"):
        compare_tables(bench_table([NUTPIE]), bench_table([PYMC]))


def test_one_seed_twice_says_what_to_do(bench_table):
    twice = pd.concat([bench_table(), bench_table(seeds=(2,))])
    with pytest.raises(
        DataError, match=r"seed 2 occurs 2 times.*two directories.*nestor bench compare"
    ):
        compare_tables(twice, bench_table())


def test_another_machine_is_warned_of(bench_table):
    new = bench_table().assign(cpu="Model B", machine_cores=8)
    warnings = compare_tables(bench_table(), new).warnings
    assert warnings == (
        "CPU: Model A before, Model B after.",
        "cores of the machine: 4 before, 8 after.",
    )


def test_the_quick_form_and_the_full_one_are_not_compared(bench_table):
    quick = bench_table().assign(quick=True)
    with pytest.raises(
        DataError, match="'chem': the old table has the full form, the new one the quick"
    ):
        compare_tables(bench_table(), quick)
    # Nor where their sizes differ, so that no group has its like.
    with pytest.raises(DataError, match="the old table has the quick form"):
        compare_tables(quick, bench_table(sweep="rows", sizes=(10.0,)))
    assert not compare_tables(quick, quick).any


def test_arguments_are_checked(bench_table):
    for threshold in (0.9, 1.0, math.inf, math.nan):
        with pytest.raises(SpecError, match="finite ratio greater than 1"):
            compare_tables(bench_table(), bench_table(), threshold=threshold)
    with pytest.raises(SpecError, match="unknown metric 'speed'"):
        compare_tables(bench_table(), bench_table(), metrics=["speed"])


def test_it_is_plain_json(bench_table, end_run):
    new = bench_table(change=lambda row: end_run(row, "timeout", at=None))
    document = json.loads(json.dumps(compare_tables(bench_table(), new).to_dict(), allow_nan=False))
    assert document["any"]
    assert document["endings"][0]["key"]["contender"] == NUTPIE
    assert document["changes"][0]["metric"] == "time_to_ess_s"


def test_power_does_not_come_from_pairing_alone():
    old, new = (1.0, 1.02, 0.97, 1.01, 0.99), (1.3, 1.33, 1.28, 1.31, 1.26)
    apart = ratio(
        Runs((6, 7, 8, 9, 10), new, (False,) * 5), Runs((1, 2, 3, 4, 5), old, (False,) * 5), "x"
    )
    assert not apart.paired
    assert apart.low > 1.1
