"""Compile caches: an empty folder is a cold compile, the same folder a warm one."""

import os
import shlex

import pytest

from nestor import SamplerConfig, registry
from nestor.backend import Cached
from nestor.contender import Contender
from nestor.runner.engine import prepare, sample
from nestor.runner.limits import Limits

CONFIG = SamplerConfig(chains=2, warmup=20, draws=20)


def _files(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "engine",
    [
        "numpyro@marginalized",
        # The rows' graph compiles in half the time: one of PyMC's samplers is enough for the other.
        pytest.param("pymc:nutpie@marginalized", marks=pytest.mark.slow),
        pytest.param("pymc:pymc@noncentered", marks=pytest.mark.slow),
    ],
)
def test_a_second_process_compiles_nothing_that_the_first_one_did(small_problem, tmp_path, engine):
    """Nor does sampling compile anything that preparing had not."""
    contender = Contender.parse(engine, small_problem.spec.level_names)
    found = registry.get(contender.backend)
    for library in found.backend.requires:
        pytest.importorskip(library)
    folder = tmp_path / "with a space, and a comma"
    limits = Limits(found.backend.cache_environment(folder))
    log, kept = tmp_path / "log", []
    for _ in range(2):
        outcome = prepare(small_problem, contender, CONFIG, log, limits=limits)
        assert outcome.status == "ok", outcome.message
        kept.append(_files(folder))
    assert kept[0], "compiled code was kept"
    assert kept[1] == kept[0], "the second process found all of it"
    outcome, _ = sample(small_problem, contender, CONFIG, log, limits=limits)
    assert outcome.status == "ok", outcome.message
    assert _files(folder) == kept[0], "sampling needs no more"


@pytest.mark.parametrize("name", ["numpyro", "pymc"])
def test_every_path_is_in_the_folder(name, tmp_path):
    pytest.importorskip(name)
    backend = registry.get(name).backend
    assert isinstance(backend, Cached)
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
