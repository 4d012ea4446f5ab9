"""``nestor new-backend``: what it writes installs, and the kit says what is still to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nestor.engines.scaffold import write_package
from nestor.errors import SpecError

ROOT = Path(__file__).parents[2]
SHOW = (
    "from nestor.conformance import run_conformance\n"
    "report = run_conformance('fresh', tiers=('api', 'density'), quick=True)\n"
    "for r in report.results: print(r.outcome, r.id, '|', r.reason)"
)


def installed(folder: Path) -> dict[str, str]:
    """Install a package beside this environment; returns variables under which it is found."""
    target = folder.parent / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    subprocess.run([*command, str(folder)], check=True)
    return {**os.environ, "PYTHONPATH": str(target)}


def results(folder: Path) -> dict[str, tuple[str, str]]:
    """Outcome and reason of each check of the quick kit."""
    command = [sys.executable, "-c", SHOW]
    done = subprocess.run(
        command,
        env=installed(folder),
        cwd=folder.parent,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^([a-z ]+) (\S.*?) \| (.*)$", done.stdout, re.MULTILINE)
    return {check: (outcome, reason) for outcome, check, reason in found}


def test_it_installs_and_the_kit_says_what_is_to_do(tmp_path: Path) -> None:
    files = write_package("fresh", tmp_path / "nestor-fresh")
    names = {path.name for path in files}
    assert {"backend.py", "data.py", "model.py", "marginal.py", "recovery.py"} < names
    found = results(tmp_path / "nestor-fresh")
    assert found["api.name_is_the_entry_points"][0] == "passed"
    assert found["api.importing_it_loads_nothing_that_it_requires"][0] != "error"
    open_ones = {reason for outcome, reason in found.values() if outcome in ("failed", "error")}
    assert any("to do in model.py" in reason for reason in open_ones)
    assert any("to do in sampler_fresh.py" in reason for reason in open_ones)
    others = {r for r in open_ones if "to do in" not in r}
    assert others == set(), "all that is not to do is done"


def test_a_sampler_on_a_borrowed_model_has_one_thing_to_do(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    pytest.importorskip("nutpie")
    write_package("fresh", tmp_path / "nestor-fresh", model="numba")
    found = results(tmp_path / "nestor-fresh")
    density = [outcome for check, (outcome, _) in found.items() if check.startswith("density.")]
    assert set(density) <= {"passed", "skipped"}
    reasons = {reason for outcome, reason in found.values() if outcome in ("failed", "error")}
    assert reasons == {"NotImplementedError: to do in sampler_fresh.py: the chain"}


@pytest.mark.parametrize("name", ["Fresh", "a-b", "", "1st"])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match="lower-case letters"):
        write_package(name, tmp_path / "new")


def test_what_exists_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="exists"):
        write_package("fresh", tmp_path)


def test_a_backend_of_this_repository_is_a_folder_and_lines_of_pyproject(tmp_path: Path) -> None:
    """The lists that have to agree are all in pyproject.toml, and the folder has the usual files."""
    for part in ("backends", "tests/packaging/test_layout.py", "pyproject.toml", "constraints.txt"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / part, tmp_path / part)
    write_package("fresh", tmp_path / "made")
    shutil.move(tmp_path / "made/src/nestor_fresh", tmp_path / "backends/nestor_fresh")
    file = tmp_path / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    for old, new in (
        ('numba = "nestor_numba:NumbaBackend"', 'fresh = "nestor_fresh:FreshBackend"'),
        ('    "backends/nestor_numba",', '    "backends/nestor_fresh",'),
        ('numba = ["numba>=0.61", "nutpie>=0.16"]', "fresh = []"),
    ):
        assert old in text
        text = text.replace(old, f"{old}\n{new}")
    text = text.replace('"nestor_numba", ', '"nestor_numba", "nestor_fresh", ')
    text = re.sub(r'all = \["nestor\[(.*?)\]"\]', r'all = ["nestor[fresh,\1]"]', text)
    file.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/packaging"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
