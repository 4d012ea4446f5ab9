"""``nestor fit``: what is checked first, what is said on the way, and how it ends when it is ended."""

import os
import signal
import subprocess
import sys
import time

import pytest

FORMULA = "y ~ x + (x || g/h)"
START = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from nestor.__main__ import main; main()"
)
pytestmark = pytest.mark.usefixtures("fake_engines")


@pytest.fixture
def here(tmp_path, monkeypatch, small_table):
    """An empty directory with one table, and a directory for temporary files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    small_table.to_csv("data.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_says_so_and_leaves_nothing(here, number):
    command = [sys.executable, "-c", START, "fit", "data.csv", FORMULA, "--engine", "hang"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "NESTOR_FAKE_PIDS": str(here)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not (here / "pids").exists() and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert list((here / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engine", "no-such"), "no-such"),
        (("--engine", "dense"), "densities only"),
        (("--engine", "exact@nonsense"), "nonsense"),
        (("--engine", "exact", "--out", "draws.csv"), "must end in .nc"),
        (("--engine", "exact", "--timeout", "0"), "timeout"),
    ],
)
def test_what_is_wrong_without_the_data_is_told_before_they_are_read(
    here, call, monkeypatch, options, message
):
    def read(path):
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("nestor.tables.read_table", read)
    code, out, err = call("fit", "data.csv", FORMULA, *options)
    assert (code, out) == (2, "")
    assert message in err


def test_phases_are_lines_with_none_empty(here, call):
    code, _, err = call("fit", "data.csv", FORMULA, "--engine", "exact", "--draws", "500")
    assert code == 0, err
    lines = err.splitlines()
    assert "" not in lines
    assert lines[-2:] == ["exact:iid@noncentered: sampling", "exact:iid@noncentered: summarizing"]
    assert list((here / "tmp").iterdir()) == []


def test_bad_rows_read_in_batches_are_one_line(here, call, small_table):
    small_table.drop(columns="x").to_parquet("data.parquet")
    code, out, err = call("fit", "data.parquet", FORMULA, "--engine", "numba", "--in-batches")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("engine", ["crash", "killed"])
def test_the_log_of_a_failed_engine_is_named_once(here, call, engine):
    code, _, err = call("fit", "data.csv", FORMULA, "--engine", engine)
    assert code == 4
    assert err.count("Its log: ") == 1
