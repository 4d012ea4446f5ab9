"""Summaries of groups, and times relative to a baseline's."""

import numpy as np
import pandas as pd
import pytest
from of_table import aggregate, relative

from nestor.bench.groups import METRICS
from nestor.bench.table import CENSORED_STATUSES, SKIPPED
from nestor.errors import DataError

NUTPIE, PYMC, NUMPYRO = "pymc:nutpie@noncentered", "pymc:pymc@noncentered", "numpyro:nuts@centered"


def _only(table):
    (summary,) = aggregate(table)
    return summary


def test_medians_are_those_of_the_columns(bench_table):
    table = bench_table()
    summary = _only(table)
    for metric in METRICS:
        if metric != "device_peak_bytes":
            assert summary.estimates[metric].value == pytest.approx(np.median(table[metric])), (
                metric
            )
    assert summary.estimates["device_peak_bytes"].n == 0
    assert (summary.n, summary.n_ok, summary.statuses) == (5, 5, {"ok": 5})
    assert summary.target_ess == 400


def test_what_was_written_to_parquet_and_read_again_is_the_same(bench_table, tmp_path):
    table = bench_table([NUTPIE, NUMPYRO], sweep="rows", sizes=(1e3, 1e4))
    table.to_parquet(tmp_path / "results.parquet")
    assert aggregate(pd.read_parquet(tmp_path / "results.parquet")) == aggregate(table)


def test_groups_are_sorted_by_size_then_as_they_first_occur(bench_table):
    table = bench_table(
        [PYMC, NUTPIE], sweep="rows", sizes=(1e4, 1e3), tracks=("matched", "defaults")
    )
    keys = [summary.key for summary in aggregate(table)]
    assert [key.contender for key in keys] == [PYMC, NUTPIE] * 4
    assert [key.sweep_value for key in keys] == [1e3, 1e3, 1e4, 1e4] * 2
    assert [key.track for key in keys] == ["matched"] * 4 + ["defaults"] * 4
    assert keys[0].label == f"chem, matched, rows 1,000, {PYMC}, chains 4, cores 2"


@pytest.mark.parametrize("status", CENSORED_STATUSES)
def test_runs_that_failed_are_censored_and_have_no_rate(bench_table, end_run, status):
    def fail(row):
        return end_run(row, status, "why", 60.0) if row["seed"] > 2 else row

    summary = _only(bench_table(change=fail))
    time = summary.estimates["time_to_ess_s"]
    assert (time.value, time.at_least, time.n, time.n_censored) == (None, 60, 5, 3)
    assert summary.estimates["ess_per_s"].n == 2
    assert summary.statuses == {"ok": 2, status: 3}
    assert [(n.status, n.message, n.seeds) for n in summary.notes] == [(status, "why", (3, 4, 5))]
    # A run whose chains had not converged still cost what it cost; one that was stopped did not end.
    assert summary.estimates["compile_s"].n == (5 if status == "gates_failed" else 2)


def test_rates_of_a_run_that_did_not_pass_the_gates_do_not_count(bench_table):
    table = bench_table(change=lambda row: {**row, "status": "gates_failed", "censored": True})
    assert table["ess_per_s"].notna().all()
    assert _only(table).estimates["ess_per_s"].n == 0


def test_with_warm_caches_a_censored_run_is_bounded_by_less(bench_table, end_run):
    # 60 s without the target, 10 of them compiling; with warm caches that is 1.
    summary = _only(bench_table(noise=0, change=lambda row: end_run(row, "timeout", "", 60.0)))
    assert summary.estimates["time_to_ess_warm_s"].at_least == pytest.approx(60 - 10 + 1)
    unknown = {"compile_s": None}
    table = bench_table(change=lambda row: end_run(row, "timeout", "", 60.0) | unknown)
    assert _only(table).estimates["time_to_ess_warm_s"].at_least is None


def test_skipped_cells_are_a_group_without_runs(bench_table, end_run):
    table = bench_table(change=lambda row: end_run(row, SKIPPED, "no GPU here"))
    summary = _only(table)
    assert (summary.n_ok, summary.statuses, summary.skipped) == (0, {"skipped": 5}, True)
    assert summary.notes[0].message == "no GPU here"
    assert {one.n for one in summary.estimates.values()} == {0}
    assert (summary.verdict, summary.worst_quantity) == ("", "")


@pytest.mark.parametrize(
    ("verdicts", "statuses", "word"),
    [
        (["AGREE"] * 3, ["ok"] * 3, "AGREE"),
        (["AGREE", "AGREE", "DISAGREE"], ["ok"] * 3, "DISAGREE"),
        (["AGREE", "INCONCLUSIVE", "AGREE"], ["ok"] * 3, "INCONCLUSIVE"),
        (["AGREE", "INCONCLUSIVE", ""], ["ok", "gates_failed", "timeout"], "AGREE"),
        (["INCONCLUSIVE", "", ""], ["gates_failed", "timeout", "timeout"], "INCONCLUSIVE"),
        (["AGREE", "DISAGREE", "AGREE"], ["ok", "gates_failed", "ok"], "DISAGREE"),
        (["", "", ""], ["ok"] * 3, ""),
    ],
)
def test_the_word_for_all_runs(bench_table, verdicts, statuses, word):
    def change(row):
        i = row["seed"] - 1
        said = {"verdict": verdicts[i], "status": statuses[i], "reason": f"{verdicts[i]} {i}"}
        return row | said

    summary = _only(bench_table(seeds=(1, 2, 3), change=change))
    assert summary.verdict == word
    assert sum(summary.verdicts.values()) == sum(bool(v) for v in verdicts)
    if word:
        assert all(reason.startswith(word) for reason in summary.reasons)


def test_the_worst_quantity_is_the_one_that_is_it_most_often(bench_table):
    kinds = {1: ("sigma", "tail"), 2: ("beta", "tail"), 3: ("beta", "bulk"), 4: ("beta", "tail")}

    def change(row):
        name, kind = kinds[row["seed"]]
        return row | {"ess_quantity": name, "ess_kind": kind}

    summary = _only(bench_table(seeds=(1, 2, 3, 4), change=change))
    assert (summary.worst_quantity, summary.worst_kind) == ("beta", "tail")


def test_times_are_relative_to_the_quickest_of_the_size_that_is_not_wrong(bench_table):
    def change(row):
        factor = {NUTPIE: 1, PYMC: 3, NUMPYRO: 0.5}[row["contender"]]
        wrong = {"verdict": "DISAGREE"} if row["contender"] == NUMPYRO else {}
        return row | {"time_to_ess_s": factor * row["time_to_ess_s"]} | wrong

    table = bench_table(
        [NUTPIE, PYMC, NUMPYRO], sweep="rows", sizes=(1e3, 1e4), noise=0, change=change
    )
    found = relative(table)
    assert {one.baseline.contender for one in found} == {NUTPIE}
    assert all(one.baseline.sweep_value == one.key.sweep_value for one in found)
    assert [one.ratio.value for one in found] == pytest.approx([1, 3, 0.5] * 2)
    assert all(one.ratio.paired for one in found)
    named = relative(table, PYMC)
    assert [one.ratio.value for one in named] == pytest.approx([1 / 3, 1, 1 / 6] * 2)


def test_without_a_time_at_a_size_there_is_no_baseline(bench_table, end_run):
    (found,) = relative(bench_table(change=lambda row: end_run(row, "failed")))
    assert (found.baseline, found.ratio) == (None, None)


def test_a_baseline_that_nobody_is_named_is_refused(bench_table):
    with pytest.raises(DataError, match=f"'stan'; there are {NUTPIE}"):
        relative(bench_table(), "stan")


def test_tables_that_cannot_be_summarized_are_refused(bench_table):
    table = bench_table()
    with pytest.raises(DataError, match="it lacks peak_bytes"):
        aggregate(table.drop(columns="peak_bytes"))
    with pytest.raises(DataError, match="seed 1 occurs 2 times"):
        aggregate(pd.concat([table, table[:1]]))
    with pytest.raises(DataError, match="quick form and of its full one"):
        aggregate(pd.concat([table, bench_table([PYMC]).assign(quick=True)]))


def test_a_table_without_rows_has_no_groups(bench_table):
    assert aggregate(bench_table(seeds=())) == []


def test_missing_and_infinite_numbers_do_not_count(bench_table):
    table = bench_table()
    table.loc[0, "compile_s"] = np.inf
    table.loc[1, "compile_s"] = pd.NA
    assert _only(table).estimates["compile_s"].n == 3
