"""``nestor calibrate``: output, files, exit codes, and bad input."""

import io
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from nestor.calibration.run import StudyProgress
from nestor.views.terminal.calibration import StudyBar

ENGINES = Path(__file__).parents[1] / "calibration" / "engines"
MODEL = ["data.csv", "y ~ 1 + (1 || g)", "--prior", "beta=Normal(1, 2)"]
MODEL += ["--prior", "tau=HalfNormal(1.5)", "--prior", "sigma=0.8"]
QUICK = ["--draws", "100", "--warmup", "1", "--ranked-draws", "31", "--jobs", "1"]
GOOD = ["--engine", "conjugate", "--simulations", "25"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, add_engines):
    """An empty directory with one table in it, and engines that know the posterior."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"g": np.repeat(list("abcd"), [3, 5, 4, 2])})
    table.assign(y=rng.normal(1.0, 1.0, 14)).to_csv("data.csv", index=False)
    add_engines(ENGINES)
    return tmp_path


def test_a_calibrated_engine(call, here):
    code, out, err = call(
        "calibrate", *MODEL, *QUICK, "--engine", "conjugate", "--simulations", "120"
    )
    assert code == 0, err
    assert "CALIBRATED  conjugate:iid@noncentered,sequential, 120 simulations from the prior" in out
    assert "would have been found with 90% probability" in out
    assert "cannot end in CALIBRATED" not in err
    assert "Compiled once for each process" in out
    assert "120/120 simulations" in err
    assert "\x1b" not in out + err
    (folder,) = (here / "nestor-out").glob("*/calibration/*")
    assert {"calibration.json", "ranks.png", "ranks-nodes.png"} <= {
        p.name for p in folder.iterdir()
    }
    document = json.loads((folder / "calibration.json").read_text())
    assert [len(one["ranks"]) for one in document["quantities"]] == [120] * 7
    code, out, err = call(
        "calibrate", *MODEL, *QUICK, "--engine", "conjugate", "--simulations", "120", "--json"
    )
    assert "120/120 simulations, 120 of them before" in err
    again = json.loads(out)
    assert (code, again["verdict"]) == (0, "CALIBRATED")
    assert again["quantities"] == document["quantities"]
    assert again["settings"] == {**document["settings"], "compiled_once": None}


def test_an_engine_that_is_not(call, monkeypatch):
    monkeypatch.setenv("NESTOR_FAKE_WIDTH", "0.1")
    code, out, err = call("calibrate", *MODEL, *QUICK, "--engine", "narrow", "--simulations", "25")
    assert code == 1, err
    assert "NOT CALIBRATED" in out
    assert "posterior too narrow" in out
    assert "log_likelihood" in out


def test_too_few_simulations(call):
    code, out, _ = call("calibrate", *MODEL, *QUICK, "--engine", "conjugate", "--simulations", "2")
    assert code == 3
    assert "INCONCLUSIVE" in out
    assert "fewer than 20 can show nothing, and CALIBRATED takes 116: 114 more" in out


def test_uniform_ranks_of_too_few_simulations(call):
    code, out, err = call("calibrate", *MODEL, *QUICK, *GOOD)
    assert code == 3, err
    assert "INCONCLUSIVE" in out
    assert "91 more are needed" in " ".join(out.split())
    said = err.index("25 simulations cannot end in CALIBRATED")
    assert "at least 116" in err[said:]
    assert said < err.index("0/25 simulations")  # before anything runs


def test_an_engine_that_fails(call):
    code, _, err = call("calibrate", *MODEL, *QUICK, "--engine", "uncompiled")
    assert code == 4
    assert "this compiler is broken" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine", "conjugate", "--simulations", "0"], "simulations must be a whole number"),
        (["--engine", "conjugate", "--ranked-draws", "2"], "--ranked-draws must be a whole number"),
        (["--engine", "conjugate", "--jobs", "0"], "jobs must be a whole number"),
        (["--engine", "conjugate", "--timeout", "0"], "timeout must be"),
        (["--engine", "conjugat"], "Did you mean 'conjugate'?"),
        (["--engine", "conjugate:nuts"], "has no sampler 'nuts'"),
        (["--engine", "conjugate", "--prior", "tau_g=InverseGamma(0.001, 0.001)"], "Tighten tau_g"),
        (["--engine", "conjugate", "--out", "data.csv"], "is a file"),
        (["--engine", "conjugate", "--around", "data"], "--around"),
        ([], "--engine"),
    ],
)
def test_bad_input(call, here, arguments, message):
    code, out, err = call("calibrate", *MODEL, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in out + err


def test_an_interrupt_says_how_to_go_on(call, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("nestor.calibration.run.run_study", interrupted)
    code, _, err = call("calibrate", *MODEL, *QUICK, "--engine", "conjugate", "--out", "o")
    assert code == 130
    assert "kept in o: the same command goes on from there" in err


def test_in_a_terminal_there_is_a_bar():
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120)
    with StudyBar(console, "conjugate") as bar:
        bar(StudyProgress(0, 40, 0, 0, doing="fitting the data"))
        bar(StudyProgress(10, 40, 10, 0))
        bar(StudyProgress(20, 40, 10, 3))
        time.sleep(0.3)  # the bar is drawn ten times a second
    shown = stream.getvalue()
    assert "20/40 simulations" in shown
    assert "3 without ranks" in shown
