"""From results directories to the HTML report: what each scenario was, beside the table."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from nestor.bench.manifest import read_manifest
from nestor.bench.store import Results
from nestor.bench.table import find_results, read_tables
from nestor.views.report import ScenarioInfo, write_report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NAME = "report.html"


def report_results(directories: Sequence[Path], path: Path | None) -> Path:
    """Write the report of results directories; return its path.

    Parameters
    ----------
    directories : sequence of Path
        Results, or directories that hold some.
    path : Path or None
        The file; None for ``report.html`` in the first of `directories`.

    Raises
    ------
    DataError
        If there are no results, or the file cannot be written.
    Unsupported
        If plotly is not installed.
    """
    folders = find_results(directories)
    table = read_tables(folders)
    target = directories[0] / _NAME if path is None else path
    write_report(table, [scenario_info(folder) for folder in folders], target)
    return target


def scenario_info(folder: Path) -> ScenarioInfo:
    """Return what a results directory says of its scenario."""
    manifest = read_manifest(folder)
    scenario = manifest["scenario"]
    sizes = [r.size for r in Results(folder).records().values() if r.size is not None]
    return ScenarioInfo(
        name=manifest["name"],
        title=scenario["title"] or manifest["name"],
        about=" ".join(scenario["about"].split()),
        formula=sizes[0].formula if sizes else scenario["model"]["formula"] or "",
        data=_data(scenario),
        priors=sizes[0].priors if sizes else scenario["model"]["priors"],
        settings=_settings(scenario),
        command=_commands(manifest, folder),
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


def _commands(manifest: dict[str, Any], folder: Path) -> tuple[str, ...]:
    quick = ["--quick"] if manifest["quick"] else []
    run = shlex.join(["nestor", "bench", manifest["name"], *quick, "--out", str(folder)])
    return (manifest["command"] or run, shlex.join(["nestor", "report", str(folder)]))
