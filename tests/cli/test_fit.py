"""``nestor fit``: what is checked first, what is said on the way, and how it ends when it is ended."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FORMULA = "y ~ x + (x || g/h)"
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
    command = [sys.executable, "-m", "nestor", "fit", "data.csv", FORMULA, "--engine", "hang"]
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

    monkeypatch.setattr("nestor.data.tables.read_table", read)
    code, out, err = call("fit", "data.csv", FORMULA, *options)
    assert (code, out) == (2, "")
    assert message in err


def test_phases_are_lines_with_none_empty(here, call):
    code, _, err = call("fit", "data.csv", FORMULA, "--engine", "exact", "--draws", "500")
    assert code == 0, err
    lines = err.splitlines()
    assert "" not in lines
    assert lines[-3:-1] == [
        f"exact:iid@noncentered: {what}" for what in ("sampling", "summarizing")
    ]
    assert re.fullmatch(r"exact:iid@noncentered: done in \d+\.\d s", lines[-1])
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
    log = err.strip().rpartition("Its log: ")[2]
    assert Path(log).exists()


def test_rubbish_ends_with_its_message(here, call, monkeypatch):
    monkeypatch.setenv("NESTOR_FAKE_RUBBISH", "values: complex")
    code, _, err = call("fit", "data.csv", FORMULA, "--engine", "garbage", "--draws", "50")
    assert code == 4
    assert "error: garbage:iid@" in err
    assert "the backend returned beta as complex128, not as float64. Its log: " in err


def test_backends_names_the_one_whose_versions_raise(call, monkeypatch):
    monkeypatch.setenv("NESTOR_FAKE_RUBBISH", "versions: raise")
    code, out, _ = call("backends")
    assert code == 0
    words = " ".join(out.split())
    assert "broken: versions() of the backend garbage failed with ZeroDivisionError" in words
    assert "installed (fake 1)" in words


def test_draws_that_have_not_converged_are_said_and_kept_with_exit_code_3(here, call):
    code, out, err = call("fit", "data.csv", FORMULA, "--engine", "stuck", "--out", "fit.nc")
    assert code == 3, err
    said = " ".join(out.split())
    assert "gates failed: R-hat" in said
    assert "Do not rely on these draws. Try more warmup and draws than 1,000 + 1,000" in said
    assert "stuck:iid@noncentered: gates failed" in err
    assert (here / "fit.nc").exists()


def test_the_exit_code_of_fit_is_in_the_help(call):
    code, out, _ = call("fit", "--help")
    assert code == 0
    assert "Exit code 3" in " ".join(out.split())
    code, out, _ = call("--help")
    assert "draws of fit that have not converged" in " ".join(out.split())


@pytest.mark.parametrize("command", ["fit", "compare"])
def test_seconds_that_are_known_together_are_shown(here, call, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "240")  # each heading on one line
    engines = (
        ("--engine", "together")
        if command == "fit"
        else ("--engine", "together", "--engine", "exact")
    )
    code, out, err = call(command, "data.csv", FORMULA, *engines)
    assert code == 0, err
    lines = out.splitlines()
    heading = next(line for line in lines if "peak MB" in line)
    values = next(
        line
        for line in lines
        if line.startswith("together") and " MB" not in line and " s " in line
    )
    # Cells end where their headings do.
    cells = {
        m.group(): values[: m.end()].rpartition("   ")[2]
        for m in re.finditer(r"\S+( \S+)*", heading)
    }
    assert re.fullmatch(r"\d+\.\d+ s", cells["warmup+sampling"])
    assert ("sampling" in cells) is (command == "compare")
    assert cells.get("sampling", "-") == cells.get("ESS/s", "-") == "-"
    assert float(cells["ESS/s incl. warmup"].replace(",", "")) > 0
    assert "Warmup and sampling of together:iid@noncentered cannot be told apart" in out
