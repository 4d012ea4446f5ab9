"""Text for people: short representations, printable labels, lists, suggestions of names."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from collections.abc import Set as AbstractSet
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ITEMS, _WIDTH = 3, 100
#: Longer texts are no names; to look for one that is like them takes time.
_LONGEST_NAME = 200


def short_repr(self: Any) -> str:
    """A dataclass's ``__repr__`` that names the fields, and gives only the size of long ones."""
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
    """Return at most `most` characters of a text: the beginning and the end of a longer one."""
    if len(text) <= most:
        return text
    first = (most - 3) // 2
    return f"{text[:first]}...{text[len(text) - (most - 3 - first) :]}"


def listed(items: Sequence[str], most: int = 10) -> str:
    """Join items by commas; from more than `most`, keep the first ones and the last."""
    if len(items) > most:
        items = [*items[: most - 2], "...", items[-1]]
    return ", ".join(items)


def did_you_mean(name: object, known: Iterable[object], most: int = 1) -> str:
    """Return " Did you mean 'month'?", with a leading blank, or "" where no known name is similar.

    Parameters
    ----------
    name : object
        The name as written; case is ignored.
    known : iterable
        What there is, the better first where two are alike.
    most : int
        How many to name.
    """
    from difflib import get_close_matches

    if len(str(name)) > _LONGEST_NAME:
        return ""
    lowered: dict[str, str] = {}
    for other in known:
        lowered.setdefault(str(other).lower(), str(other))
    close = get_close_matches(str(name).lower(), lowered, n=most)
    shown = " or ".join(repr(lowered[match]) for match in close)
    return f" Did you mean {shown}?" if shown else ""
