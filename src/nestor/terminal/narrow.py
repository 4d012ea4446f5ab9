"""Views in several layouts, of which the terminal's width decides: no label and no number is ever cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.measure import Measurement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

_ANY = 10_000


class FirstThatFits:
    """The first of some layouts that is not wider than the terminal, or else the last.

    Parameters
    ----------
    layouts : sequence of renderable
        From the widest to the narrowest.
    """

    def __init__(self, layouts: Sequence[RenderableType]) -> None:
        self._layouts = layouts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for layout in self._layouts:
            wide = options.update(max_width=_ANY)
            if Measurement.get(console, wide, layout).maximum <= options.max_width:
                break
        yield layout
