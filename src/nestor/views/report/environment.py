"""Where the figures come from: one block per machine, set of libraries and commit."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from nestor.bench.table import SKIPPED
from nestor.views.format import count, memory
from nestor.views.report.markup import Content, Html, label, tag

if TYPE_CHECKING:
    import pandas as pd


def environment(cells: pd.DataFrame) -> Html:
    """Return a block for each place that cells ran in, those that were skipped aside."""
    ran = cells[cells["status"].fillna("") != SKIPPED]
    places = ran["place"].fillna("")
    blocks = [_place(ran[places == name]) for name in dict.fromkeys(places)]
    if not blocks:
        return Html("")
    return Html(tag("h3", "Environment") + tag("div", blocks, class_="places"))


def _place(cells: pd.DataFrame) -> Html:
    cpu = _words(cells["cpu"])
    facts: list[tuple[str, Content]] = [
        ("Cells", f"{count(len(cells))}"),
        ("Cores", _numbers(cells["machine_cores"])),
        (
            "Memory",
            ", ".join(memory(float(n)) for n in sorted(cells["machine_bytes"].dropna().unique())),
        ),
        ("GPU", label(_words(cells["gpu"]) or "none")),
        ("nestor", tag("code", label(_words(cells["commit"]) or "unknown commit"))),
        ("Load before", _load(cells["load"])),
        ("When", label(_dates(cells["started"]))),
        ("Libraries", _versions(cells["versions"])),
    ]
    pairs = [Html(tag("dt", name) + tag("dd", value)) for name, value in facts if value]
    return tag(
        "div",
        tag("h4", label(cpu or "Unknown CPU")),
        tag("dl", pairs, class_="facts"),
        class_="place",
    )


def _words(column: pd.Series[str]) -> str:
    return ", ".join(dict.fromkeys(word for cell in column if (word := _plain(cell))))


def _numbers(column: pd.Series[int]) -> str:
    return ", ".join(count(float(number)) for number in sorted(column.dropna().unique()))


def _load(column: pd.Series[float]) -> str:
    found = [load for cell in column if (load := _known(cell)) is not None]
    if not found:
        return ""
    low, high = f"{min(found):.2f}", f"{max(found):.2f}"
    return low if low == high else f"{low} to {high}"


def _dates(column: pd.Series[str]) -> str:
    """First and last start, to the minute."""
    found = sorted(word[:16].replace("T", " ") for cell in column if (word := _plain(cell)))
    if not found:
        return "unknown"
    return f"{found[0]} UTC" if found[0] == found[-1] else f"{found[0]} to {found[-1]} UTC"


def _versions(column: pd.Series[str]) -> Html | None:
    """The libraries of all cells of the place; what cannot be read is shown as it is."""
    versions: dict[str, dict[str, None]] = {}
    unread: dict[str, None] = {}
    for text in dict.fromkeys(word for cell in column if (word := _plain(cell))):
        try:
            for name, version in dict(json.loads(text)).items():
                versions.setdefault(str(name), {})[str(version)] = None
        except (ValueError, TypeError):
            unread[text] = None
    words = [f"{name} {' / '.join(found)}" for name, found in sorted(versions.items())]
    return label(", ".join([*words, *unread])) if words or unread else None


def _known(value: object) -> float | None:
    """A cell of the table as a finite number, or None where there is none."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _plain(value: object) -> str:
    """A cell of the table as text; empty where it is missing."""
    return value if isinstance(value, str) else ""
