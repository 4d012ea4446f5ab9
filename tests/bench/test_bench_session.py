"""The harness with engines that work, fail, hang, lie and die; resuming; verdicts; damaged records."""

import json
from io import StringIO
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
from of_table import aggregate
from rich.console import Console

from nestor.bench.plan import plan
from nestor.bench.record import json_schema
from nestor.bench.run import _check_problems, run_bench
from nestor.bench.scenario import read_scenario
from nestor.bench.store import Results
from nestor.bench.table import COLUMNS, read_tables
from nestor.errors import DataError
from nestor.views.terminal.bench_progress import GridProgress

ENGINES = Path(__file__).parent / "engines"
TINY = """
name = "tiny"
seeds = [1]
warm_compile = false
[data]
simulate = { branching = [3, 2], rows_per_leaf = 5 }
[tracks]
matched = { chains = 2, warmup = 10, draws = 1000 }
[[grid]]
engines = ["ENGINES"]
[limits]
timeout_s = 60
"""


@pytest.fixture
def engines(add_engines, fake_engines, tmp_path, monkeypatch):
    """All fake engines are known; returns the file in which calls of `counted` are noted."""
    add_engines(ENGINES)
    calls = tmp_path / "calls"
    monkeypatch.setenv("NESTOR_FAKE_CALLS", str(calls))
    return calls


@pytest.fixture
def bench(engines, tmp_path):
    """Run the tiny scenario with other engines or lines in its place."""

    def bench(*names, changes=(), folder="out", rerun=False, quick=False, **options):
        text = TINY.replace('"ENGINES"', ", ".join(f'"{name}"' for name in names))
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        scenario, out = read_scenario(text, "tiny"), tmp_path / folder
        planned = plan(scenario, quick=quick, folder=out, rerun=rerun)
        return run_bench(planned, text, out, **options).table

    return bench


def by_engine(table):
    return {row.engine.partition(":")[0]: row for row in table.itertuples()}


def test_two_engines_that_agree(bench, tmp_path):
    events = []
    table = bench("exact", "exact2", listener=events.append)
    assert list(table.columns) == list(COLUMNS)
    assert list(table["status"]) == ["ok", "ok"]
    assert list(table["verdict"]) == ["AGREE", "AGREE"]
    assert list(table["against"]) == list(table["contender"])[::-1]
    # 3 steps for each of 2000 draws, and as much warmup as sampling: what the fake engine says.
    assert list(table["gradients"]) == [6_000, 6_000]
    seconds = table["sampling_s"]
    assert list(table["gradients_per_s"] * seconds) == pytest.approx([6_000.0, 6_000.0])
    assert list(table["ess_per_s_sampling"] * seconds) == pytest.approx(list(table["ess_min"]))
    expected = table["compile_s"] + seconds + seconds * 400 / table["ess_min"]
    assert list(table["time_to_ess_s"]) == pytest.approx(list(expected))
    assert [e.kind for e in events if e.kind != "doing"] == [
        "checking", "planned", "begin", "end", "begin", "end", "judging",
    ]  # fmt: skip
    stored = pd.read_parquet(tmp_path / "out" / "results.parquet")
    pd.testing.assert_frame_equal(stored, table, check_dtype=False)


def test_a_run_is_judged_by_one_of_an_older_version_that_lacks_the_log_likelihood(bench, tmp_path):
    bench("exact")
    results = Results(tmp_path / "out")
    (record,) = results.records().values()
    found, labels = results.summary(record.cell.id)
    assert labels[-1] == "log_likelihood"
    assert found.n_scalar == len(labels)
    n = len(labels) - 1
    results.add(record, found.first(n), labels[:n])
    table = bench("exact", "exact2")
    assert list(table["verdict"]) == ["AGREE", "AGREE"]
    assert len(results.summary(record.cell.id)[1]) == n


def test_a_record_says_what_auto_chose_and_why(bench, tmp_path):
    events = []
    auto = [("[limits]", 'formulations = ["auto", "noncentered"]\n[limits]')]
    table = bench("exact", changes=auto, listener=events.append).set_index("contender")
    assert set(table.index) == {"exact:iid@auto", "exact:iid@noncentered"}
    assert list(table["status"]) == ["ok", "ok"]
    (settled,) = [event.cell for event in events if event.kind == "settled"]
    chosen = str(settled.contender.formulation)
    assert table.loc["exact:iid@auto", "formulation"] == chosen
    cells = {r.cell.contender: r.cell for r in Results(tmp_path / "out").records().values()}
    assert cells["exact:iid@auto"].formulation_reason == settled.contender.reason
    assert settled.contender.reason.startswith("the engine cannot marginalize; ")
    assert cells["exact:iid@noncentered"].formulation_reason == ""


def test_every_record_is_of_the_schema(bench, tmp_path):
    methods = ("[[grid]]", "[[grid]]\nchain_methods = ['parallel', 'vectorized']")
    bench("exact", "crash", changes=[methods])
    validator = jsonschema.Draft202012Validator(json_schema())
    records = [json.loads(p.read_text()) for p in (tmp_path / "out" / "cells").glob("*.json")]
    assert {r["status"] for r in records} == {"ok", "failed", "skipped"}
    for record in records:
        validator.validate(record)


def test_the_environment_says_where_and_nothing_that_identifies_the_machine(bench, tmp_path):
    import platform

    bench("exact")
    (path,) = (tmp_path / "out" / "cells").glob("*.json")
    record = json.loads(path.read_text())
    there = record["environment"]
    assert there["cpu"]
    assert there["machine_bytes"] > 0
    assert there["libraries"]["nestor"]
    assert record["threads"]["OMP_NUM_THREADS"] == str(record["cell"]["cores"])
    assert platform.node() not in path.read_text().replace(there["system"], "")


def test_engines_that_fail_are_one_censored_row_each(bench, tmp_path):
    table = bench("exact", "crash", "broken", "killed", "misshapen", "rubbish", "noisy", "stuck")
    rows = by_engine(table)
    assert {name: row.status for name, row in rows.items()} == {
        "exact": "ok",
        "crash": "failed",
        "broken": "failed",
        "killed": "failed",
        "misshapen": "failed",
        "rubbish": "gates_failed",
        "noisy": "ok",
        "stuck": "gates_failed",
    }
    assert "the sampler divided by zero" in rows["crash"].message
    broken = f"RuntimeError: this compiler is broken. Its log: logs/{rows['broken'].id}.log"
    assert rows["broken"].message == f"log density: {broken}"
    assert "killed by signal 9" in rows["killed"].message
    log = rows["killed"].message.rpartition("Its log: ")[2]
    assert log == f"logs/{rows['killed'].id}.log"
    assert (tmp_path / "out" / log).exists()
    assert "not finite" in rows["rubbish"].message
    assert "R-hat" in rows["stuck"].message
    for name, row in rows.items():
        good = name in ("exact", "noisy")
        assert row.censored is not good
        assert pd.isna(row.time_to_ess_s) is not good
        assert good or row.censored_at_s > 0


def test_a_wrong_density_is_not_sampled_and_disagrees(bench, tmp_path):
    row = by_engine(bench("exact", "variance"))["variance"]
    assert (row.status, row.verdict, row.against) == ("density_failed", "DISAGREE", "reference")
    assert row.censored


def test_wrong_draws_disagree_and_have_no_speed(bench):
    """With a third engine that tells which of two is wrong, the right ones agree."""
    rows = by_engine(
        bench("exact", "shifted", "exact2", changes=[("draws = 1000", "draws = 1500")])
    )
    assert (rows["shifted"].status, rows["shifted"].verdict) == ("ok", "DISAGREE")
    assert "beta" in rows["shifted"].reason
    assert pd.isna(rows["shifted"].time_to_ess_s)
    assert pd.isna(rows["shifted"].ess_per_s)
    for name in ("exact", "exact2"):
        assert rows[name].verdict == "AGREE"
        assert rows[name].reason.endswith("but it and shifted:iid@noncentered disagree")


def test_of_two_that_disagree_nobody_can_say_which_is_wrong(bench):
    rows = by_engine(bench("exact", "shifted", changes=[("draws = 1000", "draws = 1500")]))
    assert {row.verdict for row in rows.values()} == {"DISAGREE"}


def test_the_yardstick_judges_every_run_and_has_no_row(bench, tmp_path):
    """Two engines that draw the same wrong numbers agree with each other, and not with the posterior."""
    yardstick = [("seeds = [1]", 'seeds = [1]\nyardstick = "reference:exact"')]
    table = bench("exact", "exact2", changes=yardstick)
    assert list(table["verdict"]) == ["DISAGREE", "DISAGREE"]
    assert set(table["against"]) == {"reference:exact@noncentered"}
    assert set(table["track"]) == {"matched"}
    records = Results(tmp_path / "out").records().values()
    assert [r.status for r in records if r.cell.track == "yardstick"] == ["ok"]


def test_an_engine_that_hangs_or_takes_too_much_memory_is_ended(bench):
    limits = ("timeout_s = 60", "timeout_s = 8\nmemory_gb = 0.2")
    rows = by_engine(bench("hang", "hungry", "refused", "exact", changes=[limits]))
    assert rows["hang"].status == "timeout"
    assert rows["hang"].censored_at_s >= 8
    assert rows["hungry"].status == "out_of_memory"
    assert rows["refused"].status == "out_of_memory"
    assert rows["exact"].status == "ok"


def test_where_warmup_is_not_told_apart_time_is_a_bound(bench):
    row = bench("unsplit").iloc[0]
    assert row["status"] == "ok"
    assert row["time_is_bound"]
    assert row["time_to_ess_s"] == pytest.approx(row["total_s"] - row["import_s"])
    assert pd.isna(row["ess_per_s_sampling"])


def test_caches_are_empty_first_and_warm_in_the_second_process(bench, tmp_path):
    row = bench("caching", changes=[("warm_compile = false", "warm_compile = true")]).iloc[0]
    (record,) = Results(tmp_path / "out").records().values()
    assert record.caches.model_dump() == {"files_cold": 1, "files_warm": 1, "hit": True}
    # The fake compiler sleeps for 0.3 s where it finds no file; both do all else.
    assert row["compile_s"] - row["warm_compile_s"] > 0.2
    assert row["time_to_ess_s"] - row["time_to_ess_warm_s"] == pytest.approx(
        row["compile_s"] - row["warm_compile_s"]
    )


def test_finished_cells_are_not_run_again(bench, engines):
    bench("counted", changes=[("seeds = [1]", "seeds = [1, 2]")])
    first = engines.read_text().splitlines()
    assert len(set(first)) == 2
    bench("counted", changes=[("seeds = [1]", "seeds = [1, 2, 3]")])
    second = engines.read_text().splitlines()
    assert second[:2] == first
    assert len(second) == 3
    bench("counted", changes=[("seeds = [1]", "seeds = [1, 2]")], rerun=True)
    assert len(engines.read_text().splitlines()) == 5


def test_a_record_that_was_cut_short_is_found_and_done_again(bench, tmp_path, engines):
    before = bench("counted")
    (path,) = (tmp_path / "out" / "cells").glob("*.json")
    path.write_bytes(path.read_bytes()[:100])
    events = []
    after = bench("counted", listener=events.append)
    assert f"{path.name} cannot be read as a record" in events[1].notes[0]
    assert len(engines.read_text().splitlines()) == 2
    assert list(after["id"]) == list(before["id"])
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be read as a record\. Run the benchmark again"):
        read_tables([tmp_path / "out"])


def test_a_timeout_is_tried_again_under_a_longer_limit_only(bench, tmp_path):
    def left(seconds):
        text = TINY.replace('"ENGINES"', '"hang"').replace(
            "timeout_s = 60", f"timeout_s = {seconds}"
        )
        return len(plan(read_scenario(text, "tiny"), folder=tmp_path / "out").left)

    bench("hang", changes=[("timeout_s = 60", "timeout_s = 4")])
    assert (left(4), left(3), left(5)) == (0, 0, 1)


def test_a_verdict_goes_with_the_record_that_was_judged(bench, engines, monkeypatch):
    rows = by_engine(bench("exact", "counted"))
    assert rows["counted"].verdict == "AGREE"
    monkeypatch.delenv("NESTOR_FAKE_CALLS")  # the engine crashes without it
    rows = by_engine(bench("exact", "counted", rerun=True))
    assert (rows["counted"].status, rows["counted"].verdict) == ("failed", "")


def test_an_interrupted_run_has_a_table_with_verdicts(bench, tmp_path):
    def interrupt(event):
        if event.kind == "begin" and event.cell.contender.backend == "broken":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench("exact", "exact2", "broken", listener=interrupt)
    table = pd.read_parquet(tmp_path / "out" / "results.parquet")
    assert list(table["verdict"]) == ["AGREE", "AGREE"]


def test_records_of_an_earlier_form_of_the_scenario_are_put_aside_and_found_again(bench, tmp_path):
    longer = ("draws = 1000", "draws = 1100")
    bench("exact", changes=[("seeds = [1]", "seeds = [1, 2]")])
    events = []
    table = bench("exact", changes=[longer], listener=events.append)
    assert list(table["draws"]) == [1100]
    notes = next(e.notes for e in events if e.kind == "planned")
    assert notes[0].startswith("2 records are of an earlier form of this scenario")
    assert len(list((tmp_path / "out" / "superseded" / "cells").glob("*.json"))) == 2
    events = []
    assert list(bench("exact", listener=events.append)["draws"]) == [1000]
    assert [e.kind for e in events if e.kind == "begin"] == []


def test_measuring_anew_keeps_the_old_records_aside(bench, tmp_path):
    bench("exact")
    bench("exact", rerun=True)
    assert len(Results(tmp_path / "out").records()) == 1
    assert len(list((tmp_path / "out" / "superseded" / "cells").glob("*.json"))) == 1


def test_the_data_of_every_size_are_tried_before_anything_runs(bench, tmp_path):
    sweep = '[sweep]\nparameter = "rows_per_leaf"\nvalues = [5, 6.5]\n[tracks]'
    changes = [("[tracks]", sweep), (", rows_per_leaf = 5", "")]
    said = "data.simulate: rows_per_leaf must be a whole number of at least 1, not 6.5"
    with pytest.raises(DataError, match=said):
        bench("exact", changes=changes)
    assert not (tmp_path / "out").exists()


def test_records_of_another_schema_are_refused(bench, tmp_path):
    bench("exact")
    folder = tmp_path / "out"
    (path,) = (folder / "cells").glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    with pytest.raises(DataError, match="has schema 99; this nestor reads 1"):
        bench("exact")
    manifest = folder / "bench.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": 0}))
    with pytest.raises(DataError, match="have schema 0; this nestor reads and writes 1"):
        bench("exact")


def test_a_directory_of_others_is_refused(bench, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match="is not empty and holds no benchmark"):
        bench("exact", folder="mine")
    bench("exact")
    with pytest.raises(DataError, match="are those of tiny"):
        bench("exact", changes=[('name = "tiny"', 'name = "other"')])
    with pytest.raises(DataError, match="are those of tiny"):
        bench("exact", quick=True)


def test_a_full_disk_stops_the_run_and_is_no_fault_of_the_engine(bench, tmp_path, monkeypatch):
    import errno
    import os

    bench("exact")
    real = os.fsync

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        bench("exact", "exact2")
    with pytest.raises(DataError, match="No space left on device"):
        bench("crash", folder="other")  # what failed then is not held against the engine
    monkeypatch.setattr(os, "fsync", real)
    assert Results(tmp_path / "other").records() == {}
    assert [r.cell.engine for r in Results(tmp_path / "out").records().values()] == ["exact:iid"]
    assert list(bench("exact", "exact2")["status"]) == ["ok", "ok"]


def test_records_merge_into_one_table(bench, tmp_path):
    """Records of a machine with a GPU are copied beside those of the CPU, or read from two folders."""
    bench("exact", folder="one")
    bench("exact2", folder="two")
    with pytest.raises(DataError, match="there is no directory"):
        read_tables([tmp_path / "one", tmp_path / "three"])
    table = read_tables([tmp_path / "one", tmp_path / "two"])
    assert sorted(table["engine"]) == ["exact2:iid", "exact:iid"]
    assert len(read_tables([tmp_path])) == 2
    (record,) = (tmp_path / "two" / "cells").glob("*.json")
    (tmp_path / "one" / "cells" / record.name).write_bytes(record.read_bytes())
    assert len(read_tables([tmp_path / "one"])) == 2


def test_what_was_measured_elsewhere_replaces_what_was_skipped_here(bench, tmp_path):
    bench("exact", folder="here")
    bench("exact", folder="there")
    with pytest.raises(DataError, match="measured in more than one of the directories"):
        read_tables([tmp_path / "here", tmp_path / "there"])
    (path,) = (tmp_path / "here" / "cells").glob("*.json")
    record = json.loads(path.read_text())
    missing = ("seconds", "caches", "diagnostics", "sampled_density")
    path.write_text(json.dumps(record | {"status": "skipped"} | dict.fromkeys(missing)))
    for order in (["here", "there"], ["there", "here"]):
        assert list(read_tables([tmp_path / name for name in order])["status"]) == ["ok"]


@pytest.mark.parametrize("content", ["3", '{"x": 5}', '{"x": {"margin_needed": "y"}}', "{"])
def test_damaged_verdicts_are_named(bench, tmp_path, content):
    bench("exact")
    (tmp_path / "out" / "verdicts.json").write_text(content)
    with pytest.raises(DataError, match=r"verdicts\.json cannot be read\. Remove it"):
        read_tables([tmp_path / "out"])


@pytest.mark.parametrize("key", ["scenario", "toml"])
def test_a_damaged_manifest_is_named(bench, tmp_path, key):
    bench("exact")
    path = tmp_path / "out" / "bench.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: 3}))
    with pytest.raises(DataError, match=r"bench\.json has been damaged"):
        read_tables([tmp_path / "out"])


def test_no_results_are_said_to_be_none(tmp_path):
    with pytest.raises(DataError, match="there are no benchmark results in"):
        read_tables([tmp_path])


def test_rubbish_and_seconds_that_do_not_add_up(bench, monkeypatch, tmp_path):
    monkeypatch.setenv("NESTOR_FAKE_RUBBISH", "device: huge")
    rows = by_engine(bench("garbage", "hasty"))
    assert rows["garbage"].status == "failed"
    assert "device_peak_bytes is 18446744073709551616" in rows["garbage"].message
    hasty = rows["hasty"]
    assert hasty.status == "ok"
    assert hasty.message.startswith("no ESS/s: it reports 0.0")
    assert hasty.unaccounted_s > 0.2
    assert pd.isna([hasty.ess_per_s_sampling, hasty.ess_per_s, hasty.gradients_per_s]).all()
    # What is left is the process's own clock: all but import counts.
    assert hasty.time_is_bound
    assert hasty.time_to_ess_s == pytest.approx(hasty.total_s - hasty.import_s)
    (note,) = (
        n
        for one in aggregate(read_tables([tmp_path / "out"]))
        for n in one.notes
        if n.status == "no_speed"
    )
    assert note.message == hasty.message


def test_versions_that_raise_are_a_failed_cell(bench, monkeypatch):
    monkeypatch.setenv("NESTOR_FAKE_RUBBISH", "versions: raise")
    row = by_engine(bench("garbage"))["garbage"]
    assert row.status == "failed"
    assert "versions() of the backend garbage failed" in row.message


@pytest.fixture
def of_lines(engines, tmp_path):
    """A scenario whose data are a line in 20 nodes of one row each, and noise."""

    def of_lines(noise):
        x = np.arange(20.0)
        y = x + noise * np.random.default_rng(3).normal(size=20)
        rows = pd.DataFrame({"g": np.arange(20), "x": x, "y": y})
        rows.to_csv(tmp_path / "rows.csv", index=False)
        simulated = "simulate = { branching = [3, 2], rows_per_leaf = 5 }"
        table = f"table = '{tmp_path / 'rows.csv'}'\n[model]\nformula = 'y ~ x + (1 | g)'"
        text = TINY.replace("ENGINES", "exact").replace(simulated, table)
        return read_scenario(text, "lines"), text

    return of_lines


def test_data_that_leave_nothing_for_sigma_are_refused_before_anything_runs(of_lines, tmp_path):
    scenario, text = of_lines(0.0)
    with pytest.raises(DataError, match="nothing is left for sigma"):
        run_bench(plan(scenario), text, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_notes_of_the_data_are_printed_once(of_lines):
    events = []
    _check_problems(plan(of_lines(1.0)[0]), events.append)
    (noted,) = [event for event in events if event.kind == "noted"]
    assert "tau_g[Intercept] and sigma cannot be told apart" in noted.notes[0]
    said = Console(file=StringIO(), width=300)
    progress = GridProgress(said, "lines", None)
    progress(noted)
    progress(noted)
    assert said.file.getvalue().count("note: every g has one row") == 1
