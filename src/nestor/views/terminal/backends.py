"""The backends command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.engines import registry
from nestor.errors import EngineFailed
from nestor.runner.contract import check_versions
from nestor.views.terminal.layout import Column, Fitted, Unpadded

if TYPE_CHECKING:
    from rich.console import RenderableType


def backends_view() -> RenderableType:
    """List every announced backend with its samplers, versions, or how to install it."""
    columns = [
        Column("backend", "name"),
        Column("samplers", "prose"),
        Column("formulations", "prose"),
        Column("state", "prose"),
    ]
    rows = [
        [
            name,
            ", ".join(entry.backend.samplers) or "densities only",
            _formulations(entry),
            _state(entry),
        ]
        for name, entry in registry.backends().items()
    ]
    return Unpadded(Fitted(columns, rows))


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
