"""The backends command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from nestor import registry
from nestor.errors import EngineFailed
from nestor.runner.contract import check_versions
from nestor.terminal.lines import Unpadded

if TYPE_CHECKING:
    from rich.console import RenderableType


def backends_view() -> RenderableType:
    """List every announced backend with its samplers, versions, or how to install it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("backend", "samplers", "formulations", "state"):
        table.add_column(heading, overflow="fold")
    for name, entry in registry.backends().items():
        samplers = ", ".join(entry.backend.samplers) or "densities only"
        table.add_row(Text(name), Text(samplers), Text(_formulations(entry)), Text(_state(entry)))
    return Unpadded(table)


def _formulations(entry: registry.Entry) -> str:
    """Words that an engine of this backend takes, the one that auto prefers first."""
    can = entry.backend.capabilities()
    words = ["marginalized"] if "marginalized" in can.coefficients else []
    if "sampled" in can.coefficients:
        words += [*sorted(can.centering), *sorted(can.likelihoods)]
    return ", ".join(words)


def _state(entry: registry.Entry) -> str:
    if entry.missing:
        return f"missing {', '.join(entry.missing)}: {entry.install}"
    try:
        found = check_versions(entry.backend)
    except EngineFailed as error:
        return f"broken: {error}"
    versions = ", ".join(f"{name} {version}" for name, version in found.items())
    return f"installed ({versions})"
