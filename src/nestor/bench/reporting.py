"""From results directories to the HTML report: what each scenario was, beside the table."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from nestor.bench.statistics import BenchStatistics
from nestor.bench.table import join_tables
from nestor.views.report import ScenarioInfo, write_report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nestor.bench.table import StoredResults


def report_results(found: Sequence[StoredResults], path: Path) -> Path:
    """Write the report of results; return its path.

    Parameters
    ----------
    found : sequence of StoredResults
        Results.
    path : Path
        The file.

    Raises
    ------
    DataError
        If there are no results, or the file cannot be written.
    Unsupported
        If plotly is not installed.
    """
    statistics = BenchStatistics(join_tables(found))
    return write_report(statistics, [scenario_info(one) for one in found], path)


def scenario_info(found: StoredResults) -> ScenarioInfo:
    """Return what results say of their scenario."""
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
