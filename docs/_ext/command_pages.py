"""Write ``reference/cli.md`` from the command line itself, before Sphinx reads the pages."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

WIDTH = 96


def _help(command: Any, path: list[str]) -> str:
    import typer

    parent = None
    for name, child in pairwise(path):
        parent = typer.Context(command, info_name=name, parent=parent)
        command = command.commands[child]
    return command.get_help(
        typer.Context(
            command,
            info_name=path[-1],
            parent=parent,
            terminal_width=WIDTH,
            max_content_width=WIDTH,
        )
    )


def _paths(command: Any, path: list[str]) -> list[list[str]]:
    found = [path]
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            found += _paths(child, [*path, name])
    return found


def write_page(target: Path) -> None:
    """Write what ``--help`` prints of every command, a section each."""
    import typer

    from nestor.cli import app

    root = typer.main.get_command(app)
    text = ["# The command line", "", "What `nestor COMMAND --help` prints.", ""]
    for path in _paths(root, ["nestor"]):
        text += [f"## {' '.join(path)}", "", "```text", _help(root, path).strip(), "```", ""]
    new = "\n".join(text)
    if not target.exists() or target.read_text(encoding="utf-8") != new:
        target.write_text(new, encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    """Write the page at once: Sphinx looks for pages later."""
    write_page(Path(app.srcdir) / "reference" / "cli.md")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
