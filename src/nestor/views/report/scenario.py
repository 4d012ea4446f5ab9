"""What the report says about a scenario besides its figures, read from a results directory."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nestor.bench.table import StoredResults


@dataclass(frozen=True)
class ScenarioInfo:
    """A scenario in words; all of it is text from users and is escaped on the page.

    Attributes
    ----------
    name : str
        As in the table's column ``scenario``.
    title, about : str
        For whoever reads the report.
    formula : str
        The model.
    data : str
        Where the rows come from.
    priors : mapping
        Variable to prior.
    settings : mapping
        Track to its settings in words.
    command : tuple of str
        Command lines that run it again, one each.
    toml : str
        The scenario's file.
    """

    name: str
    title: str = ""
    about: str = ""
    formula: str = ""
    data: str = ""
    priors: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    toml: str = ""


def scenario_info(found: StoredResults) -> ScenarioInfo:
    """Return what a results directory says of its scenario."""
    manifest = found.manifest
    scenario = manifest["scenario"]
    sizes = [r.size for r in found.records.values() if r.size is not None]
    return ScenarioInfo(
        name=manifest["name"],
        title=scenario["title"] or manifest["name"],
        about=" ".join(scenario["about"].split()),
        formula=sizes[0].formula if sizes else scenario["model"]["formula"] or "",
        data=_data(scenario),
        priors=sizes[0].priors if sizes else scenario["model"]["priors"],
        settings=_settings(scenario),
        command=_commands(manifest, found.folder),
        toml=manifest["toml"],
    )


def _data(scenario: dict[str, Any]) -> str:
    data = scenario["data"]
    if data["table"] is not None:
        return str(data["table"])
    if data["demo"] is not None:
        return f"nestor's example {data['demo']}, seed {data['seed']}"
    given = ", ".join(f"{name} = {value}" for name, value in data["simulate"].items())
    return f"a simulated tree ({given}), seed {data['seed']}"


def _settings(scenario: dict[str, Any]) -> dict[str, str]:
    found = {}
    for name, settings in scenario["tracks"].items():
        if settings is not None:
            found[name] = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in settings.items())
    if "defaults" in found:
        found["defaults"] = "4 chains of 1000 + 1000 iterations, all else as each library has it"
    if "matched" in found:
        found["matched"] += ", a diagonal metric estimated from draws"
    return found


def _commands(manifest: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    quick = ["--quick"] if manifest["quick"] else []
    run = shlex.join(["nestor", "bench", manifest["name"], *quick, "--out", str(folder)])
    return (manifest["command"] or run, shlex.join(["nestor", "report", str(folder)]))
