"""The runner with engines that work, fail, hang, lie and die."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from nestor.agreement.density import density_points
from nestor.backend import SamplerConfig
from nestor.engines.clock import PHASES
from nestor.engines.contender import Contender
from nestor.runner.engine import evaluate, sample
from nestor.runner.memory import tree_bytes

pytestmark = pytest.mark.usefixtures("fake_engines")

CONFIG = SamplerConfig(chains=2, warmup=10, draws=20)


@pytest.fixture
def run(small_problem, tmp_path):
    def run(engine, **options):
        contender = Contender.parse(engine, small_problem.spec.level_names)
        log = tmp_path / "engine.log"
        return (*sample(small_problem, contender, CONFIG, log, **options), log)

    return run


def _gone(pid):
    """Whether a process has ended; one that nobody has waited for yet has."""
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_draws_come_back_with_names_and_events_in_order(run, small_problem):
    events = []
    outcome, tree, _ = run("exact", listener=events.append)
    assert outcome.status == "ok"
    assert dict(tree["posterior"].sizes) == {"chain": 2, "draw": 20, "effect": 2, "g": 3, "h": 6}
    assert [e["phase"] for e in events if e["event"] == "phase"] == ["import", "compile"]
    done = [(e["chain"], e["done"], e["total"]) for e in events if e["event"] == "progress"]
    assert done == [(0, 10, 30), (0, 30, 30), (1, 10, 30), (1, 30, 30)]
    timings = json.loads(tree.attrs["timings"])
    assert 0 < timings["warmup_s"] == timings["sampling_s"]
    known = (*PHASES, "warmup_s", "sampling_s")
    assert timings["unaccounted_s"] == pytest.approx(
        timings["total_s"] - sum(timings[name] or 0.0 for name in known)
    )
    # An interpreter with NumPy in it takes more than 10 MB.
    assert outcome.peak_bytes > 1e7


def test_same_seed_same_draws(run):
    first, second = run("exact")[1], run("exact")[1]
    assert np.array_equal(first["posterior"]["beta"], second["posterior"]["beta"])


def test_densities(small_problem, tmp_path):
    contender = Contender.parse("reference", small_problem.spec.level_names)
    points = density_points(small_problem, 4)
    points[1]["sigma"] = np.array(-1.0)
    outcome, found = evaluate(small_problem, contender, points, tmp_path / "log")
    assert outcome.status == "ok"
    assert found[1] == -np.inf
    assert np.isfinite([found[0], found[2], found[3]]).all()


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("crash", "ZeroDivisionError: the sampler divided by zero"),
        ("broken", "RuntimeError: this compiler is broken"),
        ("misshapen", "the backend returned beta with shape (20, 2, 2), not (2, 20, 2)"),
    ],
)
def test_a_failing_engine_says_why(run, engine, message):
    outcome, tree, _ = run(engine)
    assert (outcome.status, tree) == ("failed", None)
    assert message in outcome.message


def test_a_crash_leaves_its_traceback_in_the_log_and_names_it(run):
    outcome, _, log = run("crash")
    assert "in sample" in log.read_text()
    assert outcome.message.endswith(f" Its log: {log}")


def test_a_killed_engine_is_named_with_its_signal_and_log(run):
    outcome, _, log = run("killed")
    assert outcome.status == "failed"
    assert outcome.message.startswith("killed by signal 9 after")
    assert str(log) in outcome.message


def test_what_an_engine_prints_goes_to_the_log_and_is_not_believed(run):
    outcome, tree, log = run("noisy")
    assert outcome.status == "ok"
    assert tree is not None
    assert "not json" in log.read_text()
    assert "a word for the log" in log.read_text()


def test_a_hanging_engine_is_ended_with_its_children(run, tmp_path, monkeypatch):
    monkeypatch.setenv("NESTOR_FAKE_PIDS", str(tmp_path))
    outcome, tree, log = run("hang", timeout=8.0)
    assert (outcome.status, tree) == ("timeout", None)
    assert outcome.message == f"stopped after 8 s. Its log: {log}"
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    assert all(_gone(pid) for pid in pids)


def test_a_worker_ends_when_its_parent_is_killed(tmp_path, small_table):
    """The parent gets no chance to clean up; the worker and its child end by themselves."""
    table = tmp_path / "table.csv"
    small_table.to_csv(table, index=False)
    command = ["compare", str(table), "y ~ x + (x || g/h)", "--engine", "hang", "--engine", "exact"]
    parent = subprocess.Popen(
        [sys.executable, "-m", "nestor", *command, "--out", str(tmp_path / "out")],
        env=os.environ | {"NESTOR_FAKE_PIDS": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    pids = _wait_for_pids(tmp_path / "pids")
    parent.kill()
    parent.wait()
    assert all(_gone(pid) for pid in pids)


def _wait_for_pids(path: Path):
    for _ in range(1200):
        if path.exists() and len(path.read_text().split()) == 2:
            return [int(word) for word in path.read_text().split()]
        time.sleep(0.05)
    raise AssertionError("the engine did not start")


def test_memory_of_a_tree_counts_children():
    """A child that holds 64 MB raises the figure of its parent by about that."""
    code = "data = b'x' * 64_000_000; input()"
    before = tree_bytes(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    try:
        for _ in range(200):
            grown = tree_bytes(os.getpid()) - before
            if grown > 60e6:
                break
            time.sleep(0.05)
        assert 60e6 < grown < 200e6
    finally:
        child.communicate(b"\n")
    assert tree_bytes(2**22 + 1) == 0  # no such process: above the largest id of Linux
