"""Text for people: results of thousands of numbers in one line, and labels that control no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from collections.abc import Set as AbstractSet
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_ITEMS, _WIDTH = 3, 100


def short_repr(self: Any) -> str:
    """Name a dataclass and its fields; of what is long, how much there is. To be a class's ``__repr__``."""
    parts = (f"{f.name}={_short(getattr(self, f.name))}" for f in fields(self) if f.repr)
    return f"{type(self).__name__}({', '.join(parts)})"


def _short(value: object) -> str:
    kind = type(value).__name__
    if isinstance(value, np.ndarray) and value.ndim:
        return f"<{' x '.join(f'{n:,}' for n in value.shape)} array>"
    if isinstance(value, Mapping | AbstractSet | tuple | list) and len(value) > _ITEMS:
        return f"<{kind} of {len(value):,}>"
    text = repr(value)
    if "\n" not in text and len(text) <= _WIDTH:
        return text
    if isinstance(value, str):
        return repr(value[: _WIDTH - 4]) + "..."
    return f"<{kind} of {len(value):,}>" if isinstance(value, Sized) else f"<{kind}>"


def printable(text: str) -> str:
    """Return `text` with line breaks, control and invisible characters written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, most: int = 60) -> str:
    """Return a text of at most `most` characters: of a longer one, its beginning and its end."""
    if len(text) <= most:
        return text
    first = (most - 3) // 2
    return f"{text[:first]}...{text[len(text) - (most - 3 - first) :]}"


def listed(items: Sequence[str], most: int = 10) -> str:
    """Join items by commas: of more than `most`, the first ones and the last."""
    if len(items) > most:
        items = [*items[: most - 2], "...", items[-1]]
    return ", ".join(items)
