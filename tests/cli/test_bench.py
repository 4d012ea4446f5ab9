"""``nestor bench`` and ``nestor report``, from the command line."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).parents[1] / "bench" / "engines"
SCENARIO = """
name = "tiny"
title = "A tiny scenario"
seeds = [1]
warm_compile = false
[data]
simulate = { branching = [3, 2], rows_per_leaf = 5 }
[tracks]
matched = { chains = 2, warmup = 10, draws = 500 }
[[grid]]
engines = ["exact", "exact2"]
[quick]
tracks = { matched = { chains = 2, warmup = 10, draws = 300 } }
"""


@pytest.fixture
def here(add_engines, fake_engines, tmp_path, monkeypatch):
    """A working directory with the scenario in it."""
    add_engines(FOLDER)
    monkeypatch.setenv("NESTOR_FAKE_CALLS", str(tmp_path / "calls"))
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(SCENARIO)
    return tmp_path


def scenario(name, *changes):
    text = SCENARIO
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    Path(name).write_text(text)


def test_a_run_ends_with_a_table_a_report_and_files(call, here):
    code, out, err = call("bench", "tiny.toml")
    assert code == 0
    assert "A tiny scenario" in out
    assert "AGREE" in out
    folder = here / "nestor-out" / "bench" / "tiny"
    for name in ("results.parquet", "report.html", "time-matched.png", "bench.json"):
        assert name == "bench.json" or name in out
        assert (folder / name).stat().st_size > 0
    assert "[2/2] " in err
    assert "\x1b" not in out + err
    # The same command finds all of it finished.
    code, out, _ = call("bench", "run", "tiny.toml")
    assert code == 0
    assert "2 cells, 0 to be run. Results: nestor-out/bench/tiny/" in out


def test_the_quick_form_has_a_directory_of_its_own(call, here):
    assert call("bench", "--quick", "tiny.toml")[0] == 0
    table = pd.read_parquet(here / "nestor-out" / "bench" / "tiny-quick" / "results.parquet")
    assert list(table["draws"]) == [300, 300]
    assert table["quick"].all()


def test_a_dry_run_prints_the_grid_and_writes_nothing(call, here):
    code, out, _ = call("bench", "tiny.toml", "--dry-run")
    assert code == 0
    assert "exact2:iid@noncentered" in out
    assert "2 cells, 2 to be run: about" in out
    assert not (here / "nestor-out").exists()


def test_figures_on_the_screen_follow_from_the_parquet_file(call, here):
    call("bench", "tiny.toml")
    table = pd.read_parquet("nestor-out/bench/tiny/results.parquet")
    _, out, _ = call("bench", "table", "nestor-out/bench/tiny", "--json")
    printed = pd.DataFrame(json.loads(out))
    assert list(printed["time_to_ess_s"]) == pytest.approx(list(table["time_to_ess_s"]))
    _, out, _ = call("bench", "table", "nestor-out/bench/tiny", "--csv")
    assert out.splitlines()[0] == ",".join(table.columns)
    _, out, _ = call("bench", "table", "nestor-out", "nestor-out/bench", "--parquet", "all.parquet")
    assert len(pd.read_parquet("all.parquet")) == 2


def test_a_disagreement_is_an_exit_code(call, here):
    scenario("wrong.toml", ('"exact2"', '"variance"'), ('"tiny"', '"wrong"'))
    code, out, _ = call("bench", "wrong.toml")
    assert code == 1
    assert "DISAGREE" in out


def test_comparing_with_itself_finds_no_regression_and_a_slower_one_does(call, here):
    scenario("three.toml", ("[1]", "[1, 2, 3]"), ('"exact", "exact2"', '"exact"'))
    call("bench", "three.toml", "--out", "old")
    assert call("bench", "compare", "old", "old")[0] == 0
    shutil.copytree("old", "new")
    for path in Path("new/cells").glob("*.json"):
        record = json.loads(path.read_text())
        record["seconds"]["sampling_s"] *= 100
        path.write_text(json.dumps(record))
    code, out, _ = call("bench", "compare", "old", "new")
    assert code == 1
    code, out, _ = call("bench", "compare", "old", "new", "--json")
    assert code == 1
    assert json.loads(out)["verdict"] == "REGRESSION"
    assert call("bench", "compare", "old", "new", "--threshold", "1000")[0] == 0
    for path in Path("new/cells").glob("*.json"):
        if json.loads(path.read_text())["cell"]["seed"] > 1:
            path.unlink()
    code, out, _ = call("bench", "compare", "old", "new")
    assert code == 3
    assert "needed are 2 more of the new ones" in " ".join(out.split())


def test_a_budget_stops_and_the_same_command_goes_on(call, here, monkeypatch):
    monkeypatch.setenv("NESTOR_FAKE_SECONDS", "30")
    scenario("slow.toml", ('"exact", "exact2"', '"exact", "counted"'), ('"tiny"', '"slow"'))
    code, out, _ = call("bench", "slow.toml", "--budget", "8")
    assert code == 0
    assert "1 cell is left: the same command goes on from there." in out
    monkeypatch.setenv("NESTOR_FAKE_SECONDS", "0")
    code, out, _ = call("bench", "slow.toml")
    assert "2 cells, 1 to be run" in out
    table = pd.read_parquet("nestor-out/bench/slow/results.parquet")
    assert list(table["status"]) == ["ok", "ok"]


def test_a_budget_for_no_cell_at_all_is_a_pause_too(call, here):
    code, out, _ = call("bench", "tiny.toml", "--budget", "0.001")
    assert code == 0
    assert "2 cells are left: the same command goes on from there." in out


def test_a_plan_can_be_read_by_programs(call, here):
    code, out, _ = call("bench", "tiny.toml", "--dry-run", "--json")
    assert code == 0
    assert [cell["contender"] for cell in json.loads(out)] == [
        "exact:iid@noncentered",
        "exact2:iid@noncentered",
    ]


def test_engines_that_all_fail_are_an_exit_code(call, here):
    scenario("bad.toml", ('"exact", "exact2"', '"crash", "broken"'), ('"tiny"', '"bad"'))
    assert call("bench", "bad.toml")[0] == 4


def test_on_another_device_everything_runs_there_or_is_skipped_with_a_reason(call, here):
    code, out, _ = call("bench", "tiny.toml", "--device", "gpu", "--out", "gpu")
    assert code == 0
    assert "cannot run gpu" in out
    table = pd.read_parquet("gpu/results.parquet")
    assert set(table["status"]) == {"skipped"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bench", "none.toml"], "there is no scenario file none.toml"),
        (["bench", "chem79"], "there is no scenario 'chem79'"),
        (["bench", "tiny.toml", "--budget", "0"], "budget must be a number of seconds"),
        (["bench", "tiny.toml", "--budget", "nan"], "budget must be a number of seconds"),
        (["bench", "table", "nowhere"], "there is no directory nowhere."),
        (["bench", "plot", "."], "there are no benchmark results in ."),
        (["bench", "compare", ".", "nowhere"], "there are no benchmark results in ."),
        (["report", "."], "there are no benchmark results in ."),
        (["bench", "table", ".", "--json", "--csv"], "either --json or --csv"),
    ],
)
def test_bad_input_is_one_message_and_code_2(call, here, arguments, words):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert "Traceback" not in err


def test_scenarios_are_listed(call):
    code, out, _ = call("bench", "list")
    assert code == 0
    assert any(line.startswith("chem97 ") for line in out.splitlines())


def test_pictures_and_the_report_can_be_made_anew(call, here):
    call("bench", "tiny.toml", "--out", "out")
    (here / "pictures").mkdir()
    code, out, _ = call("bench", "plot", "out", "--out", "pictures")
    assert code == 0
    assert Path("pictures/time-matched.png").exists()
    code, out, _ = call("report", "out", "--out", "page.html")
    assert (code, out.strip()) == (0, "page.html")
    assert "A tiny scenario" in Path("page.html").read_text()
    code, _, err = call("bench", "plot", "out", "--out", "no-such")
    assert (code, "does not exist" in err) == (2, True)


def test_an_interrupted_run_says_how_to_go_on(call, here, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("nestor.bench.run.run_bench", interrupted)
    code, _, err = call("bench", "run", "tiny.toml")
    assert code == 130
    kept = "What is finished is kept in nestor-out/bench/tiny: the same command goes on from there."
    assert err.splitlines()[-1] == f"interrupted. {kept}"
