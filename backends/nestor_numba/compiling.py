"""C functions that Numba compiles and keeps on disk."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
from numba import types
from numba.extending import intrinsic

from nestor_numba.functions import Writer

if TYPE_CHECKING:
    from nestor_numba.sweeps import Shape

_POINTER = types.CPointer(types.float64)
#: int64 (dimension, position, gradient, value, data): what nutpie calls.
DENSITY = types.int64(types.uint64, _POINTER, _POINTER, _POINTER, types.voidptr)
#: void (first, draws, positions, noise, data): draws so many sets of coefficients from number `first` on.
DRAW = types.void(types.int64, types.int64, _POINTER, _POINTER, types.voidptr)


@cache
def _digest() -> str:
    """Hash of this package's code: what is on disk is not used once any of it has changed."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


@cache
def density(shape: Shape) -> Any:
    """Compile the log density with its gradient, a C function of the type `DENSITY`.

    It returns 0; 3 where the gradient is not finite, 4 where the value is not.
    """

    @intrinsic
    def evaluate(typing: Any, z: Any, gradient: Any, value: Any, data: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            writer = Writer(shape, builder, args[3])
            z, gradient, value = (writer.code.doubles(argument) for argument in args[:3])
            memory, piece = writer.take()
            value[0] = writer.value_and_gradient(z, gradient, memory)
            writer.give_back(piece)
            return writer.verdict(value, gradient).value

        return types.int64(z, gradient, value, data), codegen

    key = (_digest(), shape.p, shape.m, shape.per_parent)

    @numba.cfunc(DENSITY, cache=True)  # type: ignore[untyped-decorator]
    def nestor_density(dimension, z, gradient, value, data):  # type: ignore[no-untyped-def]
        # Part of what the function is kept under.
        key  # noqa: B018
        return evaluate(z, gradient, value, data)

    return nestor_density


@cache
def drawing(shape: Shape) -> Any:
    """Compile what draws coefficients given the scales, a C function of the type `DRAW`."""

    @intrinsic
    def draw(typing: Any, first: Any, draws: Any, z: Any, noise: Any, data: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            Writer(shape, builder, args[4]).draw_all(*args[:4])
            return context.get_dummy_value()

        return types.void(first, draws, z, noise, data), codegen

    key = (_digest(), shape.p, shape.m, shape.per_parent)

    @numba.cfunc(DRAW, cache=True)  # type: ignore[untyped-decorator]
    def nestor_draw(first, draws, z, noise, data):  # type: ignore[no-untyped-def]
        key  # noqa: B018
        draw(first, draws, z, noise, data)

    return nestor_draw
