"""The random scalars of a problem, one after another, with readable names."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nestor.errors.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor.data.problem import Problem


class Scalars:
    """The random scalars of a problem, flattened in the order of its variables.

    Attributes
    ----------
    variables : tuple of Variable
        Those with a random entry.
    variable, position : ndarray, (n,)
        For each scalar, the variable (as a position in `variables`) and the flat position in it.
    """

    def __init__(self, problem: Problem) -> None:
        self.variables = problem.random_variables
        positions = [np.flatnonzero(v.random) for v in self.variables]
        self.position = np.concatenate(positions)
        self.variable = np.repeat(np.arange(len(positions)), [len(p) for p in positions])
        self._coords = problem.coords

    def __len__(self) -> int:
        return len(self.position)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Readable names, such as ``beta_county[no degree/CA/Lake, month]``."""
        return tuple(self.label(i) for i in range(len(self)))

    def label(self, i: int) -> str:
        """Readable name of scalar `i`."""
        variable = self.variables[int(self.variable[i])]
        if not variable.dims:
            return printable(variable.name)
        where = np.unravel_index(self.position[i], variable.shape)
        parts = (
            printable(str(self._coords[d][j])) for d, j in zip(variable.dims, where, strict=True)
        )
        return f"{printable(variable.name)}[{', '.join(parts)}]"

    @cached_property
    def is_node(self) -> NDArray[np.bool_]:
        """Which scalars are node coefficients, (n,)."""
        by_variable = np.array([v.role == "node" for v in self.variables])
        return by_variable[self.variable]

    @cached_property
    def is_scale(self) -> NDArray[np.bool_]:
        """Which scalars are scales or parameters of the family: all that is not a coefficient, (n,)."""
        by_variable = np.array([v.role in ("scale", "family") for v in self.variables])
        return by_variable[self.variable]

    def flatten(self, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Stack draws of the random scalars: arrays (chain, draw, *shape) to (chain, draw, n)."""
        parts = []
        for variable in self.variables:
            array = np.asarray(values[variable.name], dtype=np.float64)
            flat = array.reshape(*array.shape[:2], -1)
            parts.append(flat if variable.random.all() else flat[..., variable.random.ravel()])
        return np.concatenate(parts, axis=-1)
