"""How results show themselves in rooms that must not import the views.

``nestor/__init__.py`` names the module that shows them, `nestor.views.render`. That module is imported when
something is shown for the first time, so importing nestor stays quick.
"""

from __future__ import annotations

from importlib import import_module
from io import StringIO
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from rich.console import RenderableType


class Renderer(Protocol):
    """What the module of views offers."""

    def html(self, shown: Any) -> str:
        """Return an object as HTML for a notebook."""
        ...

    def terminal(self, shown: Any) -> RenderableType:
        """Return an object as what rich prints."""
        ...


_module = ""


def render_with(module: str) -> None:
    """Name the module that draws: its functions are those of `Renderer`."""
    global _module  # noqa: PLW0603 - one renderer for the process, set when nestor is imported
    _module = module


def _renderer() -> Renderer:
    return cast("Renderer", import_module(_module))


def html(shown: Any) -> str:
    """Return an object as HTML, for ``_repr_html_``."""
    return _renderer().html(shown)


def terminal(shown: Any) -> RenderableType:
    """Return an object as what rich prints, for ``__rich__``."""
    return _renderer().terminal(shown)


def text(shown: Any, width: int = 120) -> str:
    """Return an object as plain text of `width` columns, for ``__str__``."""
    from rich.console import Console

    stream = StringIO()
    console = Console(file=stream, width=width, highlight=False, emoji=False, color_system=None)
    console.print(terminal(shown))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())
