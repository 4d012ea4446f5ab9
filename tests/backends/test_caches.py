"""Compile caches: an empty folder is a cold compile, the same folder a warm one."""

import os
import shlex

import pytest
import xarray as xr

from nestor import SamplerConfig
from nestor.backend import ProcessEnvironment
from nestor.engines import registry
from nestor.engines.contender import Contender
from nestor.runner.engine import prepare, sample
from nestor.runner.limits import Limits

CONFIG = SamplerConfig(chains=2, warmup=20, draws=20)


def _files(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "engine",
    [
        "numba@noncentered",
        "numpyro@marginalized",
        # The marginalized graph takes many times as long to compile.
        pytest.param("pymc:nutpie@noncentered", marks=pytest.mark.slow),
        pytest.param("pymc:pymc@noncentered", marks=pytest.mark.slow),
    ],
)
def test_cold_and_warm_code(small_problem, tmp_path, engine):
    """A second process compiles nothing that the first one did, nor does sampling that preparing had not;
    and code that was compiled just now draws what code from the cache draws, to the last bit."""
    contender = Contender.parse(engine, small_problem.spec.level_names)
    found = registry.get(contender.backend)
    for library in found.backend.requires:
        pytest.importorskip(library)
    folder, other = tmp_path / "with a space, and a comma", tmp_path / "another"
    log = tmp_path / "log"

    def limits(caches):
        return Limits(found.backend.cache_environment(caches))

    def draws(caches):
        outcome, tree = sample(small_problem, contender, CONFIG, log, limits=limits(caches))
        assert outcome.status == "ok", outcome.message
        return tree["posterior"].dataset

    outcome = prepare(small_problem, contender, CONFIG, log, limits=limits(folder))
    assert outcome.status == "ok", outcome.message
    kept = _files(folder)
    assert kept, "compiled code was kept"
    warm = draws(folder)
    assert _files(folder) == kept, "the second process found all of it, and sampling needs no more"
    assert not other.exists()
    xr.testing.assert_identical(draws(other), warm)


@pytest.mark.parametrize("name", ["numpyro", "pymc"])
def test_every_path_is_in_the_folder(name, tmp_path):
    pytest.importorskip(name)
    backend = registry.get(name).backend
    assert isinstance(backend, ProcessEnvironment)
    elsewhere = [
        value
        for value in backend.cache_environment(tmp_path).values()
        if os.sep in value and str(tmp_path) not in value
    ]
    assert elsewhere == []


def test_the_users_flags_of_pytensor_stay(tmp_path, monkeypatch):
    pytest.importorskip("pymc")
    monkeypatch.setenv("PYTENSOR_FLAGS", "optimizer_verbose=True,base_compiledir=/mine")
    flags = registry.get("pymc").backend.cache_environment(tmp_path / "a, b")["PYTENSOR_FLAGS"]
    # As PyTensor takes them apart (pytensor.configparser.parse_config_string): the last one counts.
    splitter = shlex.shlex(flags, posix=True)
    splitter.whitespace, splitter.whitespace_split = ",", True
    found = dict(flag.split("=", 1) for flag in splitter)
    assert found["optimizer_verbose"] == "True"
    assert found["base_compiledir"] == str(tmp_path / "a, b" / "pytensor")
    assert found["numba__cache"] == "True"
