"""``nestor compare --in-batches``: verdicts on a Parquet file whose rows are never in memory."""

import json

import numpy as np
import pytest
import xarray as xr

import nestor
from nestor import ModelSpec, Problem

FORMULA = "y ~ x + (1 || g/h)"
ENGINES = ("numba@marginalized", "reference:exact")


@pytest.fixture
def file(tmp_path, monkeypatch, small_table):
    monkeypatch.chdir(tmp_path)
    small_table.to_parquet("data.parquet")
    return "data.parquet"


def named(engines):
    return [word for engine in engines for word in ("--engine", engine)]


def test_two_engines_agree_by_draws_that_come_again(file, call):
    how = ("--draws", 2000, "--seed", 1, "--out", "out", "--json")
    code, out, err = call("compare", file, FORMULA, *named(ENGINES), "--in-batches", *how)
    assert code == 0, err
    found = json.loads(out)
    assert found["verdict"] == "AGREE"
    assert found["problem"]["rows"] == 60
    assert [check["same"] for check in found["density"]["checks"]] == [True, True]
    for engine in found["engines"]:
        assert engine["sampled_density"]["same"]
        assert engine["recovery"]["exact"]
    problem = Problem.from_parquet(ModelSpec.from_formula(FORMULA), file)
    for name in ("numba:nutpie@marginalized", "reference:exact@marginalized"):
        stored = xr.open_datatree(f"out/{name.replace(':', '-')}.nc")
        again = nestor.fit(problem, name, draws=2000, seed=1, progress=False)
        for variable in problem.variables:
            assert np.array_equal(again["posterior"][variable], stored["posterior"][variable])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            named(["numba", "numpyro@centered"]),
            "'numpyro:nuts@centered' sums its likelihood over rows, and the rows of this problem were",
        ),
        (
            named(["numba", "numpyro@rows"]),
            "(numpyro:nuts@marginalized or numpyro:nuts@noncentered,stat",
        ),
        ([*named(["numba", "pymc"]), "--family", "student_t"], "gaussian outcomes"),
        (named(["numba"]), "at least two engines"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(
    file, tmp_path, call, arguments, message
):
    code, out, err = call("compare", file, FORMULA, "--in-batches", *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert [path.name for path in tmp_path.iterdir()] == [file]
    assert "Traceback" not in err


def test_a_misspelt_engine_is_told_before_the_data_are_read(tmp_path, call):
    """Reading would fail here, so that what is said shows what came first."""
    engines = named(["numba", "numpiro"])
    code, out, err = call("compare", "missing.parquet", FORMULA, "--in-batches", *engines)
    assert (code, out) == (2, "")
    assert "numpiro" in err
    assert "missing.parquet" not in err


def test_rows_left_out_one_at_a_time_need_rows(small_table):
    spec = ModelSpec.from_formula(FORMULA)
    problem = Problem.from_batches(spec, [small_table])
    fit = nestor.fit(problem, "reference:exact", chains=2, warmup=50, draws=50, progress=False)
    for refused in (nestor.loo, nestor.leave_one_row_out):
        with pytest.raises(nestor.DataError, match=r"not in memory.*Problem\(spec, read_table"):
            refused(problem, fit)
