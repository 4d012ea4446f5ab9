"""One list of backends, said four times: folders, the wheel's packages, entry points, extras."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: Needs nothing that the core does not need.
WITHOUT_EXTRA = {"reference"}
#: Packages beside the backends that several of them share: they have no entry point and no extra.
SHARED = {"nestor_exact", "nestor_nutpie"}
OTHER_EXTRAS = {"all", "data", "plots", "report"}


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folders() -> set[str]:
    """Names of the folders of backends/ that hold Python, but for what backends share."""
    found = {path.parent.name for path in (ROOT / "backends").glob("*/*.py")}
    assert found > SHARED
    assert len(found - SHARED) >= 3
    return found - SHARED


def test_the_wheel_has_the_core_and_every_backend(
    settings: dict[str, Any], folders: set[str]
) -> None:
    packages = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(packages) == sorted(
        ["src/nestor", *(f"backends/{name}" for name in folders | SHARED)]
    )


def test_every_backend_has_an_entry_point_and_the_reverse(
    settings: dict[str, Any], folders: set[str]
) -> None:
    points = settings["project"]["entry-points"]["nestor.backends"]
    assert {value.partition(":")[0] for value in points.values()} == folders
    assert {f"nestor_{name}" for name in points} == folders


def test_every_backend_has_an_extra_and_all_has_them_all(
    settings: dict[str, Any], folders: set[str]
) -> None:
    extras = settings["project"]["optional-dependencies"]
    names = {name.removeprefix("nestor_") for name in folders}
    assert set(extras) - OTHER_EXTRAS == names - WITHOUT_EXTRA
    (everything,) = extras["all"]
    assert set(re.findall(r"\w+", everything)) - {"nestor"} == set(extras) - {"all"}


def test_types_are_checked_in_every_package(settings: dict[str, Any], folders: set[str]) -> None:
    assert set(settings["tool"]["mypy"]["packages"]) == {"nestor", *folders, *SHARED}


def test_constraints_are_exact_versions_and_nothing_else() -> None:
    """No paths, hosts, editable or direct references: anyone's package index can serve them."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines
    assert [
        line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][\w.!+]*", line)
    ] == []


def _names(requirements: list[str]) -> set[str]:
    found = {re.split(r"[\s\[<>=!~;]", text, maxsplit=1)[0] for text in requirements}
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found} - {"nestor"}


def test_constraints_fix_every_dependency(settings: dict[str, Any]) -> None:
    project = settings["project"]
    wanted = _names(project["dependencies"])
    groups = settings["dependency-groups"]
    for requirements in (*project["optional-dependencies"].values(), *groups.values()):
        wanted |= _names(requirements)
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert wanted - _names(lines) == set()
