"""How functions that work for a while report their progress, without knowing who shows it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

#: Takes what is computed and the number of steps; its context gives a function that takes the steps done.
type Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@contextlib.contextmanager
def no_progress(what: str, total: int) -> Iterator[Callable[[int], None]]:  # noqa: ARG001 - a `Progress`
    """Show nothing."""
    yield lambda done: None  # noqa: ARG005 - nobody looks
