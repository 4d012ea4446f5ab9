"""Records of studies, and the tables that ``docs/agreement.md`` shows of them."""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs" / "agreement.md"
_LIBRARIES = ("nestor", "numpy", "scipy", "numpyro", "jax", "pymc", "nutpie")


def arguments(name: str, default: int, help_: str) -> int:
    """Read the one number that a study takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument(f"--{name}", type=int, default=default, help=f"{help_}; default {default}")
    return int(vars(parser.parse_args())[name])


def write_record(study: str, record: dict[str, Any]) -> None:
    """Write a study's record, and renew its table in the page."""
    environment = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in _LIBRARIES},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{study}.json"
    path.write_text(json.dumps({"environment": environment} | record, indent=2) + "\n")
    sys.stdout.write(f"written: {path.relative_to(ROOT)}\n")
    renew(study)


def renew(study: str) -> None:
    """Put a study's table into the page, between its two marks."""
    record = json.loads((RESULTS / f"{study}.json").read_text())
    tables = {
        "mutants": mutants_table,
        "false-alarms": alarms_table,
        "calibration": calibration_table,
    }
    table = tables[study](record)
    text = PAGE.read_text(encoding="utf-8")
    marks = f"<!-- {study} -->", f"<!-- end of {study} -->"
    pattern = re.compile(f"{re.escape(marks[0])}.*?{re.escape(marks[1])}", re.DOTALL)
    if not pattern.search(text):
        sys.exit(f"{PAGE} has no place for the table of {study}: {marks[0]} ... {marks[1]}")
    # A function, since a replacement text would have its backslashes read.
    new = pattern.sub(lambda _: f"{marks[0]}\n{table}\n{marks[1]}", text)
    PAGE.write_text(new, encoding="utf-8")
    sys.stdout.write(f"table of {study} renewed in {PAGE.relative_to(ROOT)}\n")


def interval(count: int, of: int) -> str:
    """A share in percent with its 95% interval (Clopper and Pearson)."""
    low, high = binomtest(count, of).proportion_ci(0.95)
    ends = (f"{100 * end:.2g}" if end < 0.995 else f"{100 * end:.3g}" for end in (low, high))
    return f"{100 * count / of:.3g}% ({' to '.join(ends)})"


def mutants_table(record: dict[str, Any]) -> str:
    """Mutant by step: how often the step objects by itself, and which is first."""
    steps = list(next(iter(record["mutants"].values()))["counts"])
    repeats = {found["repeats"] for found in record["mutants"].values()}
    most = max(repeats)
    low = 100 * binomtest(most, most).proportion_ci(0.95).low
    lines = [
        (
            f"Of so many runs ({record['config']['chains']} chains of {record['config']['draws']} "
            f"draws, problem `{record['problem']}`, {record['environment']['date']}) the number in which "
            f"a step objects by itself; {most} of {most} has the 95% interval {low:.0f} to 100%. In "
            "bold the first step that always objects: what a user is told."
        ),
        "",
        f"| mutant | fault | runs | {' | '.join(steps)} |",
        f"|---|---|---:|{'---:|' * len(steps)}",
    ]
    for name, found in record["mutants"].items():
        runs = found["repeats"]
        first = next((s for s in steps if found["counts"][s] == runs), None)
        cells = [_cell(found["counts"], s, first, runs) for s in steps]
        lines.append(f"| {name} | {found['fault']} | {runs} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(counts: dict[str, int], step: str, first: str | None, repeats: int) -> str:
    if counts["contract"] == repeats and step not in ("density", "contract"):
        return "-"
    return f"**{counts[step]}**" if step == first else str(counts[step])


def alarms_table(record: dict[str, Any]) -> str:
    """Engine by step: observed rate with its interval, beside the nominal level; then engine by gate."""
    nominal = record["nominal"]
    runs = f"{record['config']['chains']} chains of {record['config']['draws']} draws"
    lines = [
        (
            f"Pairs of runs of {runs} on `{record['problem']}`. Of the pairs that were compared, because "
            "both runs passed their gates, the share to which a step objects, in percent, with its 95% "
            "interval (Clopper and Pearson)."
        ),
        "",
        f"| engines | date | pairs | compared | {' | '.join(nominal)} | AGREE |",
        f"|---|---|---:|---:|{'---|' * (len(nominal) + 1)}",
        f"| *nominal* | | | | {' | '.join(f'{100 * v:g}%' for v in nominal.values())} | |",
    ]
    for name, found in record["engines"].items():
        counts, pairs, compared = found["counts"], found["pairs"], found["compared"]
        cells = [interval(counts.get(step, 0), compared) for step in (*nominal, "AGREE")]
        lines.append(f"| {name} | {found['date']} | {pairs} | {compared} | {' | '.join(cells)} |")
    gates = list(next(iter(record["gates"].values()))["failed"])
    lines += [
        "",
        (
            f"How many honest runs ({runs}, {record['environment']['date']}) fail each gate, and the "
            "smallest slope of energies among them (it fails when shown to be below 0.5)."
        ),
        "",
        f"| engine | runs | {' | '.join(gates)} | smallest slope |",
        f"|---|---:|{'---:|' * (len(gates) + 1)}",
    ]
    for name, found in record["gates"].items():
        slope = found["smallest_energy_slope"]
        cells = [*(str(found["failed"][g]) for g in gates), "-" if slope is None else f"{slope:g}"]
        lines.append(f"| {name} | {found['runs']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def calibration_table(record: dict[str, Any]) -> str:
    """Engine by problem: the verdict, and what the study would have found."""
    lines = [
        (
            f"Ranks among {record['ranked_draws']} draws ({record['environment']['date']}); *finds*: the "
            "smallest shift of a mean, in posterior sd, and the factors of an sd, found with 90% probability."
        ),
        "",
        "| problem | engine | simulations | ranked | quantities | verdict | smallest adjusted p | finds |",
        "|---|---|---:|---:|---:|---|---:|---|",
    ]
    for row in record["rows"]:
        found = row["detectable"] or {}
        values = [found.get(name) for name in ("shift", "narrow", "wide")]
        finds = " / ".join("-" if value is None else f"{value:.2f}" for value in values)
        cells = (row[n] for n in ("problem", "engine", "simulations", "ranked", "quantities"))
        shown = " | ".join(str(cell) for cell in cells)
        lines.append(f"| {shown} | {row['verdict']} | {row['p_min']:.2g} | {finds} |")
    return "\n".join(lines)
