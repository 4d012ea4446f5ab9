"""Arrays one after another in one long array, and the places where they begin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class Pile:
    """Arrays that are put down one after another."""

    parts: list[NDArray[Any]] = field(default_factory=list)
    length: int = 0

    def put(self, values: NDArray[Any]) -> int:
        """Put an array on top; returns where it begins."""
        begin = self.length
        self.parts.append(np.ravel(values))
        self.length += values.size
        return begin

    def together(self, dtype: type) -> NDArray[Any]:
        """All of them."""
        return np.concatenate([np.zeros(0, dtype), *self.parts]).astype(dtype)


@dataclass
class Room:
    """Room for arrays that hold zeros at first."""

    length: int = 0

    def take(self, size: int) -> int:
        """Make room; returns where it begins."""
        begin, self.length = self.length, self.length + size
        return begin
