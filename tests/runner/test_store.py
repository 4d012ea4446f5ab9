"""The run directory: ownership, atomic writes, and what may be used again."""

import errno
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from nestor import ModelSpec, Problem
from nestor.backend import SamplerConfig
from nestor.engines.contender import Contender
from nestor.errors import DataError
from nestor.runner import store


def test_a_directory_belongs_to_one_problem(tmp_path, small_problem, small_table):
    folder = tmp_path / "a" / "b"
    store.claim(folder, small_problem)
    store.claim(folder, small_problem)
    other = Problem(ModelSpec.from_formula("y ~ x + (1 || g/h)"), small_table)
    with pytest.raises(DataError, match="belongs to another problem"):
        store.claim(folder, other)


def test_a_directory_with_other_files_is_left_alone(tmp_path, small_problem):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(DataError, match="not empty and was not made by nestor"):
        store.claim(tmp_path, small_problem)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_not_a_directory(tmp_path, small_problem):
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match="is a file"):
        store.claim(tmp_path / "out", small_problem)


def test_an_unreadable_owner_is_not_overwritten(tmp_path, small_problem):
    (tmp_path / "problem.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        store.claim(tmp_path, small_problem)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "comparison.json"
    store.write_json(path, {"a": 1})

    def fail(temporary):
        temporary.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.write_atomically(path, fail)
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_the_key_changes_with_everything_that_decides_the_draws(small_problem, small_table):
    levels = small_problem.spec.level_names
    base = (small_problem, Contender.parse("reference", levels), SamplerConfig(), {"a": "1"})
    other_problem = Problem(
        ModelSpec.from_formula("y ~ x + (x || g/h)", priors={"sigma": "HalfNormal(1)"}), small_table
    )
    variants = [
        (other_problem, *base[1:]),
        (base[0], Contender.parse("reference@centered", levels), *base[2:]),
        (*base[:2], SamplerConfig(draws=999), base[3]),
        (*base[:3], {"a": "2"}),
    ]
    keys = {store.key(*arguments) for arguments in [base, *variants]}
    assert len(keys) == 5
    assert store.key(*base) == store.key(*base)


_FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np, xarray as xr
from nestor.errors import DataError
from nestor.runner import store

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"beta": ("draw", np.ones(50_000))})})
try:
    store.save_tree(tree, Path(sys.argv[1]), "")
except DataError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size")
@pytest.mark.parametrize("limit", [3_000, 100_000])
def test_a_file_that_cannot_grow_is_an_error_and_no_crash(tmp_path, limit):
    path = tmp_path / "x.nc"
    command = [sys.executable, "-c", _FULL, str(path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"cannot write {path}: {os.strerror(errno.EFBIG)}.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_told_before_writing(tmp_path, monkeypatch):
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"beta": ("draw", np.ones(50_000))})})
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=300_000))
    room = r"x\.nc: No space left on device \(0\.4 MB are needed, 0\.3 MB are free\)\.$"
    with pytest.raises(DataError, match=room):
        store.save_tree(tree, tmp_path / "x.nc", "")
    assert list(tmp_path.iterdir()) == []
