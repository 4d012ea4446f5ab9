"""A run that is killed at random moments loses nothing that was finished, and repeats none of it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from nestor.bench.table import COLUMNS

FOLDERS = [Path(__file__).parent / "engines", Path(__file__).parents[1] / "fixtures" / "engines"]
SCENARIO = """
name = "killed"
seeds = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
warm_compile = false
[data]
simulate = { branching = [3, 2], rows_per_leaf = 3 }
[tracks]
matched = { chains = 2, warmup = 1, draws = 300 }
[[grid]]
engines = ["counted"]
formulations = ["noncentered", "centered"]
"""
KILLS = 10
CELLS = 24


def start(folder, environment):
    command = [sys.executable, "-m", "nestor", "bench", "killed.toml", "--out", "out"]
    log = (folder / "log").open("ab")
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def finished(folder):
    """Records by name; each must be whole at every moment."""
    found = {}
    for path in (folder / "out" / "cells").glob("*.json"):
        content = path.read_bytes()
        assert json.loads(content)["cell"]["id"] == path.stem
        found[path.name] = content
    return found


@pytest.mark.slow
def test_a_run_killed_ten_times_at_random_moments(tmp_path):
    (tmp_path / "killed.toml").write_text(SCENARIO)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, FOLDERS)),
        "NESTOR_FAKE_CALLS": str(tmp_path / "calls"),
        "NESTOR_FAKE_SECONDS": "0.1",
    }
    moments = random.Random(20_261_126)
    kept = {}
    for _ in range(KILLS):
        process = start(tmp_path, environment)
        # Until the first record nothing can be lost; after it a kill falls anywhere in the next cells.
        time.sleep(moments.uniform(1.0, 3.5))
        assert process.poll() is None, "it ended by itself, before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = finished(tmp_path)
        assert kept.items() <= now.items()
        kept = now
    assert start(tmp_path, environment).wait(timeout=200) == 0, (tmp_path / "log").read_text()
    records = finished(tmp_path)
    assert kept.items() <= records.items()
    assert len(records) == CELLS
    # A cell may have been begun several times, but never after its record was there: the record that was
    # there at a kill is the same to the byte at the end, and a run that finds all cells finished runs none.
    calls = (tmp_path / "calls").read_text().splitlines()
    assert CELLS <= len(calls) <= CELLS + KILLS
    assert start(tmp_path, environment).wait(timeout=200) == 0
    assert (tmp_path / "calls").read_text().splitlines() == calls
    table = pd.read_parquet(tmp_path / "out" / "results.parquet")
    assert list(table.columns) == list(COLUMNS)
    assert sorted(table["id"]) == sorted(name.removesuffix(".json") for name in records)
    leftovers = [p for p in (tmp_path / "out").rglob(".*") if p.name != ".lock"]
    assert leftovers == []
