"""Compiled densities with the memory that they work in, called from Python and, by address, by nutpie."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.engines.support import usable_cores
from nestor.errors import EngineFailed
from nestor_numba.kernels.scratch_pool import VALUES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nestor.stats.arrays import FloatArray


_DOUBLES = ctypes.POINTER(ctypes.c_double)
_DENSITY = ctypes.CFUNCTYPE(
    ctypes.c_int64, ctypes.c_uint64, _DOUBLES, _DOUBLES, _DOUBLES, ctypes.c_void_p
)
_DRAW = ctypes.CFUNCTYPE(None, ctypes.c_int64, _DOUBLES, _DOUBLES, ctypes.c_void_p)
#: What a density returns: all is well; the gradient, or the value, is not finite.
_EVALUATED = (0, 3, 4)


def pieces_wanted() -> int:
    """Number of scratch pieces to allocate: one per usable core, and one for any other caller."""
    return len(usable_cores()) + 1


@dataclass(frozen=True, eq=False)
class Workspace:
    """The arrays that compiled functions read, and pieces of scratch for calls at once.

    Parameters
    ----------
    constants, integers : ndarray
        See `nestor_numba.tree`.
    scratch : ndarray, (pieces, size)
        Holds what `nestor_numba.tree` says at first.
    noise : int
        Standard normal numbers of one draw.
    """

    constants: FloatArray
    integers: NDArray[np.int64]
    scratch: FloatArray
    noise: int
    _locks: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_locks", np.zeros(len(self.scratch), np.int64))

    def pointers(self, values: Sequence[FloatArray] = ()) -> NDArray[np.int64]:
        """Addresses as the functions want them; what they point to must be kept alive."""
        found = np.zeros(VALUES + len(values), np.int64)
        found[:VALUES] = (
            self.constants.ctypes.data,
            self.integers.ctypes.data,
            self.scratch.ctypes.data,
            self.scratch.shape[1],
            len(self.scratch),
            self._locks.ctypes.data,
            self.noise,
        )
        found[VALUES:] = [array.ctypes.data for array in values]
        return found


@dataclass(frozen=True, eq=False)
class Density:
    """A log density on the unconstrained space, with its gradient.

    Parameters
    ----------
    function : numba's C function
        Of the type `nestor_numba.kernels.compiling.DENSITY`.
    workspace : Workspace
        What it reads.
    dimension : int
        Number of unconstrained scalars.
    """

    function: Any
    workspace: Workspace
    dimension: int
    data: NDArray[np.int64] = field(init=False)
    _call: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", self.workspace.pointers())
        object.__setattr__(self, "_call", _DENSITY(self.function.address))

    def __call__(self, z: FloatArray) -> tuple[float, FloatArray]:
        """Evaluate at a point, (d,): the value and its derivatives, (d,).

        Raises
        ------
        EngineFailed
            If the point has another dimension.
        """
        position = np.ascontiguousarray(z, dtype=np.float64)
        if position.shape != (self.dimension,):
            raise EngineFailed(
                f"the density is one of {self.dimension} scalars; found {position.shape}."
            )
        gradient, value = np.empty(self.dimension), np.empty(1)
        code = self._call(
            self.dimension,
            position.ctypes.data_as(_DOUBLES),
            gradient.ctypes.data_as(_DOUBLES),
            value.ctypes.data_as(_DOUBLES),
            self.data.ctypes.data,
        )
        if code not in _EVALUATED:
            raise EngineFailed(f"numba's log density failed with code {code}.")
        return float(value[0]), gradient


def call_draw(function: Any, data: NDArray[np.int64], z: FloatArray, noise: FloatArray) -> None:
    """Draw coefficients for each row of z, (draws, d), with a row of noise, (draws, numbers).

    The interpreter's lock is released meanwhile.
    """
    _DRAW(function.address)(
        len(noise),
        z.ctypes.data_as(_DOUBLES),
        noise.ctypes.data_as(_DOUBLES),
        data.ctypes.data,
    )
