"""A study in worker processes: what crashes, what is repeated, what is refused."""

import json
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nestor import calibrate
from nestor.calibration import Calibrated
from nestor.calibration.run import study_key
from nestor.calibration.tasks import FIT_BLOCK
from nestor.errors import DataError, EngineFailed, SpecError, Unsupported
from nestor.runner import store

pytestmark = pytest.mark.usefixtures("conjugate_engines")
QUICK = {"draws": 100, "warmup": 1, "ranked_draws": 31, "progress": False, "jobs": 1}


@pytest.fixture
def run(groups_problem):
    def run(engine="conjugate", simulations=20, **more):
        return calibrate(groups_problem, engine, simulations, **{**QUICK, **more})

    return run


def _lines(folder):
    (path,) = folder.rglob("records-*.jsonl")
    return path.read_text().splitlines()


def test_ranks_do_not_depend_on_the_processes(run, make_job, rank_all):
    found = run(simulations=21, jobs=2)
    assert found.judgement.reasons[0].endswith("95 more are needed")  # 116 of 7 quantities
    document = found.to_dict()
    assert (document["simulations_needed"], document["simulations_missing"]) == (116, 95)
    assert "95 more are needed" in found._repr_html_()
    alone = rank_all(make_job("conjugate"), 21)
    assert [record.number for record in found.records] == list(range(21))
    assert [record.ranks for record in found.records] == [record.ranks for record in alone]
    assert found.reuses is True
    assert found.folder is None


def test_a_crash_or_a_hang_costs_its_simulation_only_and_is_reported(run, tmp_path):
    found = run("sometimes", 30, jobs=2, timeout=3.0, out=tmp_path / "o", seed=6)
    words = {record.message.partition(":")[0].split(".")[0] for record in found.failures}
    # By the seed, all four kinds happen; each has its own message.
    assert words == {
        "ZeroDivisionError",
        "its process was killed by signal 9",
        "stopped after 3 s",
        "the backend returned draws that are not finite",
    }
    assert len(found.records) == 30
    assert len(found.ranks) == 30 - len(found.failures)
    assert found.verdict is Calibrated.INCONCLUSIVE
    assert (found.engine_failed, found.exit_code) == (True, 4)
    (log,) = (tmp_path / "o").rglob("engine.log")
    assert "noise on standard output" in log.read_text()
    document = json.loads(found.to_json())
    assert len(document["failures"]) == len(found.failures)


def test_failed_simulations_are_tried_again_and_finished_ones_are_not(run, tmp_path):
    first = run("sometimes", 4, out=tmp_path / "o", seed=5)
    lines = _lines(tmp_path)
    lost = [record.number for record in first.failures]
    assert lost
    second = run("sometimes", 4, out=tmp_path / "o", seed=5)
    again = [json.loads(line)["number"] for line in _lines(tmp_path)[len(lines) :]]
    assert sorted(again) == lost
    assert [r.ranks for r in second.records] == [r.ranks for r in first.records]


def test_more_simulations_go_on_from_what_is_there(run, tmp_path):
    run(simulations=3, out=tmp_path / "o")
    before = _lines(tmp_path)
    found = run(simulations=5, out=tmp_path / "o")
    after = _lines(tmp_path)
    assert after[:3] == before
    assert len(after) == 5
    fewer = run(simulations=3, out=tmp_path / "o")
    assert _lines(tmp_path) == after
    assert fewer.records == found.records[:3]
    assert fewer.reuses is None  # nothing was run
    run(simulations=1, out=tmp_path / "o", seed=2)
    assert len(list(tmp_path.rglob("records-*.jsonl"))) == 2


def test_every_setting_that_decides_ranks_is_in_the_key(make_job):
    jobs = [
        make_job("conjugate"),
        make_job("conjugate", seed=2),
        make_job("conjugate", draws=99),
        make_job("conjugate", ranked_draws=30),
        make_job("conjugate", around="posterior"),
        make_job("compiling"),
    ]
    keys = {study_key(job, {"conjugate": "1"}) for job in jobs}
    assert len(keys | {study_key(jobs[0], {"conjugate": "2"})}) == len(jobs) + 1


SCRIPT = """
import pickle, sys
from nestor import calibrate
problem = pickle.load(open("problem.pickle", "rb"))
calibrate(problem, "dawdling", 14, draws=100, warmup=1, ranked_draws=31, progress=False, jobs=2, out="o")
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_study_goes_on_and_loses_nothing(
    run, make_job, rank_all, tmp_path, monkeypatch, number
):
    (tmp_path / "problem.pickle").write_bytes(pickle.dumps(make_job("dawdling").problem))
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(lambda: list(tmp_path.rglob("records-*.jsonl")) and len(_lines(tmp_path)) >= 2)
        time.sleep(random.uniform(0, 0.5))
        process.send_signal(number)
        assert process.wait(60) != 0
    finally:
        process.kill()
    _wait_for(lambda: not _workers_of(tmp_path))
    kept = [line for line in _lines(tmp_path) if line.endswith("}")]
    assert 2 <= len(kept) < 14
    monkeypatch.setenv("NESTOR_FAKE_SECONDS", "0")
    found = run("dawdling", 14, out=tmp_path / "o")
    lines = _lines(tmp_path)
    assert lines[: len(kept)] == kept
    assert sorted(json.loads(line)["number"] for line in lines) == list(range(14))
    never_interrupted = rank_all(make_job("dawdling"), 14)
    assert [r.ranks for r in found.records] == [r.ranks for r in never_interrupted]


def _wait_for(condition):
    for _ in range(4000):  # minutes, for a machine that has more to do
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it took too long")


def _workers_of(folder):
    """Workers whose standard error, the log, lies in the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in str((process / "fd" / "2").readlink()):
                found.append(process.name)
        except OSError:
            continue
    return found


def test_around_the_posterior_a_fit_is_made_once(run, tmp_path):
    first = run(simulations=4, around="posterior", out=tmp_path / "o")
    (fit,) = tmp_path.rglob("0000.npz")
    stamp = fit.stat().st_mtime_ns
    second = run(simulations=6, around="posterior", out=tmp_path / "o")
    assert fit.stat().st_mtime_ns == stamp
    assert second.records[:4] == first.records
    assert FIT_BLOCK >= 6
    assert {record.status for record in second.records} == {"ok"}


def test_a_fit_that_does_not_mix_is_an_engine_s_failure(run):
    with pytest.raises(EngineFailed, match=r"could not fit the data.*250 near-independent draws"):
        run("sticky", around="posterior")


def test_chains_that_never_mix_are_inconclusive_and_no_failure_of_the_engine(run):
    found = run("sticky", 3)
    assert {record.status for record in found.records} == {"unconverged"}
    assert (found.verdict, found.exit_code) == (Calibrated.INCONCLUSIVE, 3)
    assert "3 did not converge" in found.judgement.reasons[1]
    json.loads(found.to_json())


def test_an_engine_that_never_works_is_given_up(run, tmp_path):
    with pytest.raises(EngineFailed, match=r"all of the first 10 simulations failed.*ZeroDivision"):
        run("always", 500, out=tmp_path / "o")
    assert len(_lines(tmp_path)) == 10


def test_an_engine_that_cannot_be_compiled_is_refused_at_once(run):
    with pytest.raises(EngineFailed, match="this compiler is broken") as caught:
        run("uncompiled")
    log = Path(str(caught.value).rpartition("Its log: ")[2])
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"simulations": 0}, "simulations must be a whole number of at least 1, not 0"),
        ({"simulations": 2.5}, "simulations must be"),
        ({"ranked_draws": 1}, "ranked_draws must be"),
        ({"jobs": 0}, "jobs must be"),
        ({"around": "data"}, "around must be prior or posterior"),
        ({"timeout": -1}, "timeout must be"),
        ({"engine": "nosuch"}, "unknown engine 'nosuch'"),
        ({"chains": 0}, "chains must be"),
    ],
)
def test_wrong_arguments(run, tmp_path, change, message):
    with pytest.raises(SpecError, match=message):
        run(out=tmp_path / "o", **change)
    assert not (tmp_path / "o").exists()


def test_an_engine_without_the_family_or_the_device_is_refused(run):
    with pytest.raises(Unsupported):
        run("conjugate@gpu")


def test_a_directory_of_another_problem_is_refused(run, tmp_path, small_problem):
    store.claim(tmp_path / "o", small_problem)
    with pytest.raises(DataError, match="belongs to another problem"):
        run(simulations=1, out=tmp_path / "o")


def test_what_is_no_problem_is_refused():
    with pytest.raises(SpecError, match=r"a nestor\.Problem is wanted"):
        calibrate("data.csv", "conjugate")


def test_rubbish_is_a_failed_simulation_whose_log_is_named(run, monkeypatch):
    monkeypatch.setenv("NESTOR_FAKE_RUBBISH", "scale")
    found = run("rubbish", 3)
    (message,) = {record.message for record in found.records}
    assert message.startswith("the backend returned tau_g[Intercept] = -0.5 at draw 0 of chain 0 (")
    assert message.endswith(": outside the support of its prior HalfNormal(1.5), 0 to inf.")
    assert (found.engine_failed, found.exit_code) == (True, 4)
    assert "EngineFailed" in found.log.read_text()
    assert json.loads(found.to_json())["log"] == str(found.log)
    monkeypatch.setenv("NESTOR_FAKE_RUBBISH", "stats")
    words = {record.message for record in run("rubbish", 3).records}
    assert words == {"the backend returned the statistic diverging as complex128."}


def test_versions_that_are_none_end_a_study(run, monkeypatch):
    monkeypatch.setenv("NESTOR_FAKE_RUBBISH", "versions")
    with pytest.raises(EngineFailed, match=r"versions\(\) of the backend rubbish failed"):
        run("rubbish", 3)
