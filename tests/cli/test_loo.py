"""``nestor loo``: from a table and a file of draws to predictive densities."""

import numpy as np
import pytest
import xarray as xr

import nestor
from nestor import LeaveOneOut, ModelSpec, Problem

FORMULA = "y ~ x + (x || g/h)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_table):
    """The data, with a column for options, and draws of them."""
    found = tmp_path_factory.mktemp("loo")
    small_table = small_table.assign(w=np.linspace(1, 2, 60))
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
        (("--draws", "draws.nc", "--family", "student_t"), "family was gaussian, not student_t"),
        (("--draws", "draws.nc", "--family", "student_t", "--leaves"), "student_t"),
        (("--draws", "draws.nc", "--scale", "parent"), "one per level, not one per parent"),
        (("--draws", "draws.nc", "--weights", "w", "--leaves"), "weights: none, here: 'w'"),
        (("--draws", "draws.nc", "--offset", "w"), "offset: none, here: 'w'"),
        (("--draws", "draws.nc", "--prior", "sigma=0.5"), "prior of sigma was"),
    ],
)
def test_bad_input_is_named(here, call, arguments, message):
    code, out, err = call("loo", "data.csv", FORMULA, *arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize("options", [(), ("--leaves",), ("--leaves", "--in-batches")], ids=str)
def test_other_data_are_refused(here, call, small_table, tmp_path, options):
    small_table.assign(x=small_table.x + 1e-3).to_parquet(tmp_path / "other.parquet")
    arguments = (tmp_path / "other.parquet", FORMULA, "--draws", "draws.nc", *options)
    code, out, err = call("loo", *arguments)
    assert (code, out) == (2, "")
    assert "they were given other values of 'x'" in err


def test_rows_left_out_exactly(here, call, small_table):
    code, out, err = call("loo", "data.csv", FORMULA, "--draws", "draws.nc", "--exact")
    assert code == 0, err
    problem = Problem(ModelSpec.from_formula(FORMULA), small_table)
    wanted = nestor.leave_one_row_out(problem, xr.open_datatree("draws.nc"))
    assert float(out.splitlines()[2].split()[2]) == pytest.approx(wanted.elpd, abs=0.05)


def test_what_pareto_k_forbids_names_the_exact_way(here, call, monkeypatch):
    # Every row's weights as bad ones: what these draws allow is below zero.
    monkeypatch.setattr(LeaveOneOut, "good_k", property(lambda _: -10.0))
    arguments = ("loo", "data.csv", FORMULA, "--draws", "draws.nc")
    _, out, _ = call(*arguments)
    assert "--exact leaves them out exactly (in Python leave_one_row_out)" in " ".join(out.split())
    _, out, _ = call(*arguments, "--exact")
    assert "Fit again without them to know." in " ".join(out.split())
    code, _, err = call(*arguments, "--exact", "--leaves")
    assert code == 2
    assert "give either --exact or --leaves" in err
