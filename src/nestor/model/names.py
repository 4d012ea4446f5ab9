"""Names with a meaning of their own, and names that a level may not have."""

from __future__ import annotations

INTERCEPT = "Intercept"
#: Dimensions and variables of the draws that a level would hide.
RESERVED = (
    *("chain", "draw", "effect", "effect_2", "covariate", "row"),
    *("sample", "variable"),  # ArviZ names dimensions of its own so
    *("beta", "gamma", "X", "Z", "offset", "weights", "leaf"),
)


def underscored(name: str) -> str:
    """Return `name` as the draws' coordinates spell it: netCDF lists them with blanks between."""
    return "".join("_" if char.isspace() else char for char in name)
