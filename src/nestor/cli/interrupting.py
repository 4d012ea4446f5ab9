"""What ends a command from outside, carried past typer, which would end the program without a word."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Interrupted(Exception):  # noqa: N818 - it is no error
    """A command was interrupted; its text says what is kept, if anything is."""


def interruptible[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Return a command that raises `Interrupted` instead of `KeyboardInterrupt`, with the same text."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(str(interrupt)) from None

    return run
