"""Names: those that mean something, those that a level may not take, and those that were meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

INTERCEPT = "Intercept"
#: Dimensions and variables of the draws that a level would hide.
RESERVED = (
    *("chain", "draw", "effect", "effect_2", "covariate", "row"),
    *("sample", "variable"),  # ArviZ names dimensions of its own so
    *("beta", "gamma", "X", "Z", "offset", "weights", "leaf"),
)

#: Longer texts are no names; to look for one that is like them takes time.
_LONGEST_NAME = 200


def did_you_mean(name: object, known: Iterable[object], most: int = 1) -> str:
    """Return " Did you mean 'month'?", with a blank before it, or nothing where no known name is like it.

    Parameters
    ----------
    name : object
        What was written; upper and lower case are not told apart.
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


def underscored(name: str) -> str:
    """Return `name` as the draws' coordinates spell it: netCDF lists them with blanks between."""
    return "".join("_" if char.isspace() else char for char in name)
