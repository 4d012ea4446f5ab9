"""Results as plain data that JSON can hold; numbers that are not finite become None."""

import enum
import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def as_plain(value: Any) -> Any:
    """Turn a result into dicts, lists, text, numbers and None.

    Numbers that are not finite become None: JSON has no word for them. Fields of dataclasses
    marked ``metadata={"plain": False}`` (arrays per scalar) are left out.

    Parameters
    ----------
    value
        A dataclass, enum, array, mapping, sequence or number.

    Returns
    -------
    object
        Made of dict, list, str, int, float, bool and None only.

    Raises
    ------
    TypeError
        If something has no plain form.
    """
    match value:
        case None | bool() | int():
            return value
        case str():
            return str(value)
        case enum.Enum():
            return as_plain(value.value)
        case float():
            return float(value) if math.isfinite(value) else None
        case np.generic() | np.ndarray():
            return as_plain(value.tolist())
        case dict():
            return {str(key): as_plain(item) for key, item in value.items()}
        case list() | tuple():
            return [as_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        shown = (field for field in fields(value) if field.metadata.get("plain", True))
        return {field.name: as_plain(getattr(value, field.name)) for field in shown}
    raise TypeError(f"{type(value).__name__} has no plain form")
