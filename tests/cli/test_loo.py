"""``nestor loo``: from a table and a file of draws to predictive densities."""

import pytest

import nestor
from nestor import ModelSpec, Problem

FORMULA = "y ~ x + (x || g/h)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_table):
    """The data, and draws of them."""
    found = tmp_path_factory.mktemp("loo")
    small_table.to_csv(found / "data.csv", index=False)
    small_table.to_parquet(found / "data.parquet")
    problem = Problem(ModelSpec.from_formula(FORMULA), small_table)
    how = {"chains": 2, "warmup": 100, "draws": 200, "progress": False}
    nestor.fit(problem, "reference:exact", **how).to_netcdf(found / "draws.nc", engine="h5netcdf")
    return found


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.mark.parametrize(
    ("arguments", "unit", "units"),
    [
        (("data.csv",), "row", "60"),
        (("data.csv", "--leaves"), "h", "6"),
        (("data.parquet", "--leaves", "--in-batches"), "h", "6"),
    ],
)
def test_prints_densities(here, call, arguments, unit, units):
    data, *options = arguments
    code, out, err = call("loo", data, FORMULA, "--draws", "draws.nc", *options)
    assert code == 0, err
    heading, _, values = out.splitlines()[:3]
    assert f"left out: {unit} " in heading
    assert values.split()[:2] == [units, "400"]
    assert float(values.split()[2]) < 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--draws", "data.csv"), "no netCDF file"),
        (("--draws", "nowhere.nc"), "no netCDF file"),
        (("--draws", "draws.nc", "--family", "student_t"), "lack nu"),
        (("--draws", "draws.nc", "--family", "student_t", "--leaves"), "student_t"),
        (("--draws", "draws.nc", "--scale", "parent"), "tau_h has the dimensions"),
    ],
)
def test_bad_input_is_named(here, call, arguments, message):
    code, out, err = call("loo", "data.csv", FORMULA, *arguments)
    assert (code, out) == (2, "")
    assert message in err
