"""The built artefacts, not the checkout: what is in them, and that it works when installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that was built from the sdist alone."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def packaged() -> set[str]:
    """Every module and marker that an installation must have, as a path in site-packages."""
    found = {
        path.relative_to(base).as_posix()
        for base in (ROOT / "src", ROOT / "backends")
        for pattern in ("*.py", "py.typed", "posteriors/*.json", "report/*.css", "report/*.js")
        for path in base.rglob(pattern)
    }
    found |= {f"nestor/bench/scenarios/{p.name}" for p in (ROOT / "benchmarks/scenarios").glob("*")}
    assert {"nestor/py.typed", "nestor/engines/registry.py", "nestor_pymc/__init__.py"} <= found
    return found


def test_the_wheel_has_every_module_and_nothing_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = {name.partition(".dist-info/")[2] for name in archive.namelist()}
    assert files == packaged()
    assert {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"} <= metadata


def test_the_sdist_has_what_is_needed_to_build_and_to_test(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    sources = {
        f"{'src' if m.startswith('nestor/') else 'backends'}/{m}"
        for m in packaged()
        if not m.startswith("nestor/bench/scenarios/")
    } | {f"benchmarks/scenarios/{p.name}" for p in (ROOT / "benchmarks/scenarios").glob("*")}
    project = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md"}
    tools = {"Makefile", "constraints.txt", ".ci/run", ".pre-commit-config.yaml"}
    assert (tests | sources | project | tools) - names == set()
    assert [n for n in names if n.startswith((".venv", ".git/")) or "__pycache__" in n] == []


@pytest.fixture(scope="module")
def interpreter(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the wheel installed, and this one's libraries behind it.

    A path file names the folder of the libraries, so that it comes after the wheel and its own path
    files, which hold an editable installation of this checkout, are not read.
    """
    folder = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    command += ["--disable-pip-version-check", "--no-deps", "--no-index", str(built[1])]
    subprocess.run(command, check=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "libraries.pth").write_text("\n".join(sorted(libraries)), encoding="utf-8")
    return python


def output(command: list[str], folder: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_entry_point_loads_from_the_installed_wheel(
    interpreter: Path, tmp_path: Path
) -> None:
    code = (
        "import json, sys\n"
        "from importlib.metadata import entry_points\n"
        "import nestor\n"
        "from nestor.engines import registry\n"
        "points = entry_points(group=registry.GROUP)\n"
        "classes = {p.name: p.load() for p in points}\n"
        "assert set(registry.backends()) == set(classes)\n"
        "files = {n: sys.modules[c.__module__].__file__ for n, c in classes.items()}\n"
        "print(json.dumps(files | {'nestor': nestor.__file__}))"
    )
    files = json.loads(output([str(interpreter), "-c", code], tmp_path))
    folders = {path.parent.name for path in (ROOT / "backends").glob("*/backend.py")}
    assert {f"nestor_{n}" for n in files if n != "nestor"} == folders
    environment = interpreter.parents[1]
    assert [file for file in files.values() if not Path(file).is_relative_to(environment)] == []


def test_the_scenarios_come_with_the_wheel(interpreter: Path, tmp_path: Path) -> None:
    listed = output([str(interpreter.with_name("nestor")), "bench", "list"], tmp_path)
    heading, rule, *rows = listed.splitlines()
    assert heading.split()[0] == "scenario"
    assert set(rule) == {"─"}
    names = {line.split()[0] for line in rows if line[:1].strip()}
    assert names == {path.stem for path in (ROOT / "benchmarks/scenarios").glob("*.toml")}


def test_the_command_is_installed_and_knows_its_version(
    interpreter: Path, built: tuple[Path, Path], tmp_path: Path
) -> None:
    command = interpreter.with_name("nestor")
    assert "compare" in output([str(command), "--help"], tmp_path)
    version = output([str(interpreter), "-c", "import nestor; print(nestor.__version__)"], tmp_path)
    assert version.strip() == built[1].name.split("-")[1]
