"""The bar that is shown while a file is read in batches."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console


@contextlib.contextmanager
def reading_bar(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show how many rows are read; yields the `progress` of `Problem.from_parquet`."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

    from nestor.views.terminal.live import bars

    columns = (
        TextColumn("reading rows"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
        TimeRemainingColumn(),
    )
    with bars(*columns, console=console) as bar:
        task = bar.add_task("", total=None, visible=False)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield progress
