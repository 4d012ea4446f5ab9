"""The bar that is shown while something is computed in parts."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def working_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how much is done, in a terminal or a notebook; a `nestor.posterior.progress.Progress`.

    Yields
    ------
    callable
        To be called with that number.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    from nestor.views.terminal.live import bars

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with bars(*columns, console=Console(stderr=True, emoji=False)) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)
