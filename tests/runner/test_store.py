"""The run directory: ownership, atomic writes, and what may be used again."""

import json

import pytest

from nestor import ModelSpec, Problem
from nestor.backend import SamplerConfig
from nestor.contender import Contender
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
