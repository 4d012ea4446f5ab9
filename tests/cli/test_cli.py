"""The command line, run as a user runs it: output, files, exit codes, and every kind of bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest

FORMULA = "y ~ x + (x || g/h)"
pytestmark = pytest.mark.usefixtures("fake_engines")


def nestor(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "nestor", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=120,
    )


@pytest.fixture
def here(tmp_path, monkeypatch, small_table):
    """An empty directory with one table in it."""
    monkeypatch.chdir(tmp_path)
    small_table.to_csv("data.csv", index=False)
    return tmp_path


def test_compare_agrees_prints_and_writes(here):
    run = nestor(
        "compare", "data.csv", FORMULA, "--engine", "exact", "--engine", "exact2", cwd=here
    )
    assert run.returncode == 0, run.stderr
    assert "g  3 nodes" in run.stdout
    assert "AGREE" in run.stdout
    assert "\x1b" not in run.stdout + run.stderr  # no control characters in a file
    assert "exact:iid@noncentered: sampling" in run.stderr
    assert (
        "exact2:iid@auto: noncentered (the engine cannot marginalize; centered where" in run.stdout
    )
    (folder,) = (here / "nestor-out").iterdir()
    names = {path.name for path in folder.iterdir()}
    assert {"comparison.json", "trace.png", "forest-g.png", "forest-h.png", "speed.png"} <= names


def test_json_goes_to_standard_output_alone_and_fits_the_schema(here, call):
    code, out, err = call(
        "compare", "data.csv", FORMULA, "--engine", "exact", "--engine", "exact2", "--json"
    )
    document = json.loads(out)
    assert (code, document["verdict"]) == (0, "AGREE"), err
    assert "AGREE" in err
    _, schema, _ = call("schema", "comparison")
    jsonschema.validate(document, json.loads(schema))
    (path,) = here.glob("nestor-out/*/comparison.json")
    assert json.loads(path.read_text()) == document


@pytest.mark.parametrize(
    ("engines", "code"),
    [
        (["exact", "shifted"], 1),
        (["exact", "variance"], 1),
        (["exact", "stuck"], 3),
        (["exact", "crash"], 4),
        (["crash", "variance"], 1),
    ],
)
def test_exit_codes(here, call, engines, code):
    options = [word for engine in engines for word in ("--engine", engine)]
    found, _, err = call("compare", "data.csv", FORMULA, *options, "--out", here / "out")
    assert found == code, err


def test_fit_writes_netcdf_that_arviz_reads(here, call):
    import arviz

    code, out, err = call(
        "fit", "data.csv", FORMULA, "--engine", "exact", "--draws", "500", "--out", "fit.nc"
    )
    assert code == 0, err
    assert "tau_h[x]" in out
    tree = arviz.from_netcdf("fit.nc")
    assert dict(tree["posterior"].sizes)["draw"] == 500


def test_fit_reports_a_crash_with_its_log(here, call):
    code, _, err = call("fit", "data.csv", FORMULA, "--engine", "crash")
    assert code == 4
    log = Path(err.strip().splitlines()[-1].rpartition("Its log: ")[2])
    assert "ZeroDivisionError" in log.read_text()


def test_index_shows_the_tree(here, call):
    code, out, _ = call("index", "data.csv", "g/h")
    assert code == 0
    assert "h  6 nodes   2.0 per g" in out
    assert "more than one g" in out


def test_backends_are_listed(call):
    code, out, _ = call("backends")
    assert code == 0
    assert "densities only" in out
    assert "exact" in out


def test_a_spec_file_and_priors(here, call):
    (here / "model.toml").write_text(f'formula = "{FORMULA}"\n[priors]\ntau = "HalfNormal(3)"\n')
    code, out, err = call(
        "fit", "data.csv", "--spec", "model.toml", "--engine", "exact", "--draws", "500",
        "--prior", "tau_h[x]=Exponential(2)",
    )  # fmt: skip
    assert code == 0, err
    assert "HalfNormal(3)" in out
    assert "Exponential(2)" in out


def _with(small_table, **columns):
    return small_table.assign(**columns)


BAD_TABLES = {
    "missing outcome": (lambda t: t.assign(y=t.y.where(t.index > 2)), FORMULA, "'y' has 3 missing"),
    "infinite predictor": (lambda t: t.assign(x=np.inf), FORMULA, "'x'"),
    "text predictor": (lambda t: t.assign(x="a"), FORMULA, "'x'"),
    "constant predictor": (lambda t: t.assign(x=2.0), FORMULA, "'x' is constant"),
    "missing key": (lambda t: t.assign(g=t.g.where(t.index > 0)), FORMULA, "'g'"),
    "no rows": (lambda t: t.iloc[:0], FORMULA, "rows"),
    "one node": (lambda t: t.assign(g="a"), FORMULA, "'g' has a single node"),
    "constant outcome": (lambda t: t.assign(y=1.0), FORMULA, "constant"),
    "unknown column": (lambda t: t, "y ~ xx + (1 || g/h)", "'xx'"),
    "crossed": (lambda t: t, "y ~ x + (1 || g) + (1 || h)", "crossed"),
    "code": (lambda t: t, "y ~ __import__('os').getcwd() + (1 || g)", "error:"),
    "no groups": (lambda t: t, "y ~ x", "group"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_data_is_one_clear_line(tmp_path, monkeypatch, call, small_table, case):
    spoil, formula, message = BAD_TABLES[case]
    monkeypatch.chdir(tmp_path)
    spoil(small_table).to_csv("bad.csv", index=False)
    code, out, err = call("compare", "bad.csv", formula, "--engine", "exact", "--engine", "exact2")
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


ENGINES = ("--engine", "exact", "--engine", "exact2")
BAD_OPTIONS = [
    (("compare", "none.csv", FORMULA, *ENGINES), "none.csv"),
    (("compare", "data.xyz", FORMULA, *ENGINES), "data.xyz"),
    (("compare", "data.csv", FORMULA, "--engine", "exact"), "at least two"),
    (("compare", "data.csv", FORMULA, "--engine", "exact", "--engine", "stan"), "unknown engine"),
    (("compare", "data.csv", *ENGINES), "say which model"),
    (("compare", "data.csv", FORMULA, *ENGINES, "--prior", "tau=HalfNormal(-1)"), "greater than 0"),
    (("compare", "data.csv", FORMULA, *ENGINES, "--prior", "tau=Weibull(1)"), "unknown prior"),
    (("compare", "data.csv", FORMULA, *ENGINES, "--prior", "tau"), "ADDRESS=PRIOR"),
    (("compare", "data.csv", FORMULA, *ENGINES, "--prior", "rho=HalfNormal(1)"), "'rho'"),
    (("compare", "data.csv", FORMULA, *ENGINES, "--prior", "tau=Normal(0,1)"), "positive"),
    (("compare", "data.csv", FORMULA, *ENGINES, "--family", "poisson"), "not supported yet"),
    (("compare", "data.csv", FORMULA, *ENGINES, "--weights", "x"), "weights"),
    (("compare", "data.csv", FORMULA, *ENGINES, "--chains", "0"), "chains"),
    (("compare", "data.csv", FORMULA, *ENGINES, "--draws", "-5"), "draws"),
    (
        ("compare", "data.csv", FORMULA, *ENGINES, "--draws", "1e3"),
        "'--draws': it must be a whole number, such as 1000, not '1e3'.",
    ),
    (
        ("compare", "data.csv", FORMULA, *ENGINES, "--cores", "many"),
        "'--cores': it must be a whole number, not 'many'.",
    ),
    (
        ("compare", "data.csv", FORMULA, *ENGINES, "--timeout", "10s"),
        "'--timeout': it must be a number, not '10s'.",
    ),
    (
        ("compare", "data.csv", FORMULA, *ENGINES, "--missing", "grup"),
        "'--missing': it must be error or group, not 'grup'. Did you mean 'group'?",
    ),
    (("compare", "data.csv", FORMULA, *ENGINES, "--target-accept", "1.5"), "--target-accept must"),
    (("compare", "data.csv", FORMULA, *ENGINES, "--margin", "0"), "margin"),
    (("compare", "data.csv", FORMULA, *ENGINES, "--timeout", "-1"), "timeout"),
    (("compare", "data.csv", FORMULA, *ENGINES, "--scale", "cousin"), "--scale"),
    (("compare", "data.csv", FORMULA, *ENGINES, "--spec", "m.toml"), "not both"),
    (("compare", "data.csv", *ENGINES, "--spec", "m.toml"), "m.toml"),
    (("compare", "data.csv", "y ~ x + (x | g/h)", *ENGINES), "not supported yet"),
    (("compare", "data.csv", FORMULA, *ENGINES, "--out", "data.csv"), "is a file"),
    (("fit", "data.csv", FORMULA, "--engine", "exact", "--out", "no/where.nc"), "does not exist"),
    (("fit", "data.csv", FORMULA, "--engine", "dense"), "densities only"),
    (("index", "data.csv", "g/q"), "'q'"),
    (("demo", "--data-seed", "-1"), "seed"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_OPTIONS)
def test_bad_options_are_one_clear_line(here, call, arguments, message):
    (here / "data.xyz").write_text("")
    code, out, err = call(*arguments)
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert sorted(path.name for path in here.iterdir()) == ["data.csv", "data.xyz"]


def test_an_unknown_option_is_bad_input(call):
    code, _, err = call("compare", "--no-such-option")
    assert code == 2
    assert "no-such-option" in err


def test_an_internal_error_has_its_own_code(call, monkeypatch):
    import nestor.cli.options

    monkeypatch.setattr(nestor.cli.options, "read_model", lambda *_: 1 / 0)
    code, _, err = call("compare", "data.csv", FORMULA)
    assert code == 70
    assert "internal error" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_is_finished_and_leaves_no_process(here, monkeypatch, number):
    monkeypatch.setenv("NESTOR_FAKE_PIDS", str(here))
    command = ["compare", "data.csv", FORMULA, "--engine", "exact", "--engine", "hang"]
    process = subprocess.Popen(
        [sys.executable, "-m", "nestor", *command, "--out", "out"],
        cwd=here,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = here / "pids"
    for _ in range(2400):
        if pids.exists() and len(pids.read_text().split()) == 2:
            break
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    document = json.loads((here / "out" / "comparison.json").read_text())
    assert [engine["status"] for engine in document["engines"]] == ["ok", "interrupted"]
    assert (here / "out" / "exact-iid@noncentered.nc").exists()
    assert all(_ends(int(pid)) for pid in pids.read_text().split())


def test_an_interrupt_while_pictures_are_drawn_says_what_is_kept(here, call, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    command = ["compare", "data.csv", FORMULA, "--engine", "exact", "--engine", "exact2"]
    command += ["--out", "kept", "--draws", "50"]
    monkeypatch.chdir(here)
    with monkeypatch.context() as broken:
        broken.setattr("nestor.agreement.comparison.Comparison.save_plots", interrupted)
        code, out, err = call(*command)
    assert code == 130
    assert "drawing pictures" in err.splitlines()
    assert "drawing pictures" not in out
    assert err.splitlines()[-1] == (
        "interrupted. The verdict and the draws are kept in kept (comparison.json and the files .nc); "
        "pictures are not all drawn: the same command draws them, and runs nothing again that is finished."
    )
    assert not list((here / "kept").glob("*.png"))
    monkeypatch.setattr(
        "nestor.agreement.comparison.Comparison.save_plots", lambda _: [here / "trace.png"]
    )
    before = {path: path.stat().st_mtime_ns for path in (here / "kept").glob("*.nc")}
    _, out, _ = call(*command)
    assert "trace.png" in out
    assert len(before) == 2
    assert before == {path: path.stat().st_mtime_ns for path in before}


def _ends(pid):
    """Whether a process ends within some seconds; on a busy machine a killed one takes a moment."""
    for _ in range(100):
        if not _alive(pid):
            return True
        time.sleep(0.1)
    return False


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_help_is_quick_because_it_imports_nothing_heavy():
    """What is imported is tested; how long it takes is benchmarked."""
    code = (
        "import sys, nestor.cli; "
        "print([m for m in ('pandas', 'scipy', 'xarray', 'numpy', 'jax', 'pymc') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_odd_labels_survive_the_whole_way(tmp_path, monkeypatch, call, small_table):
    monkeypatch.chdir(tmp_path)
    odd = {"a": "[bold]a/b[/bold]", "b": "$\\alpha$ ü", "c": ""}
    table = pd.DataFrame(small_table.assign(g=small_table.g.map(odd)))
    table.to_parquet("odd.parquet")
    code, out, err = call("compare", "odd.parquet", FORMULA, *ENGINES, "--out", "out")
    assert code == 0, err
    assert "h  6 nodes" in out


def test_fit_never_replaces_a_file_that_is_not_its_own(here, call):
    (here / "notes.nc").write_text("precious")
    before = (here / "data.csv").read_bytes()
    for target, message in (("data.csv", "must end in .nc"), ("notes.nc", "not written by nestor")):
        code, out, err = call("fit", "data.csv", FORMULA, "--engine", "exact", "--out", target)
        assert (code, out) == (2, "")
        assert message in err
    assert (here / "data.csv").read_bytes() == before
    assert (here / "notes.nc").read_text() == "precious"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--prior", "tau=HalfNormal(1)", "--prior", "tau=HalfNormal(2)"), "given twice"),
        (("--scale", "h=parent", "--scale", "h=level"), "given twice"),
        (("--prior", "tau=HalfNormal(sigma=1)"), "'sigma=1' is not a number"),
        (("--family", ""), "unknown family"),
    ],
)
def test_contradictions_are_refused(here, call, options, message):
    code, _, err = call("compare", "data.csv", FORMULA, *ENGINES, *options)
    assert code == 2
    assert message in err


def test_a_directory_in_use_is_refused(here, call):
    from nestor.runner import store

    assert call("compare", "data.csv", FORMULA, *ENGINES, "--out", "out")[0] == 0
    with store.locked(here / "out"):
        code, _, err = call("compare", "data.csv", FORMULA, *ENGINES, "--out", "out")
    assert code == 2
    assert "another run is using" in err


def test_a_full_disk_is_one_line(here):
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device, not a path of ours
        run = subprocess.run(
            [sys.executable, "-m", "nestor", "index", "data.csv", "g/h"],
            cwd=here,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert "No space left" in run.stderr
