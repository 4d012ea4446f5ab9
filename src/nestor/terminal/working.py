"""The bar that is shown while something is computed in parts."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def working_bar(what: str, total: int, *, show: bool) -> Iterator[Callable[[int], None]]:
    """Show how much is done, if that is wanted and standard error is a terminal.

    Yields
    ------
    callable
        To be called with that number.
    """
    if not show:
        yield lambda done: None  # noqa: ARG005 - nobody looks
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, emoji=False)
    disable = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=disable) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)
