"""``nestor backends``."""

from __future__ import annotations

from nestor.cli.arguments import make_console


def backends() -> None:
    """List the backends: what is installed, and how to install what is not."""
    from nestor.views.terminal.backends import backends_view

    make_console().print(backends_view())
