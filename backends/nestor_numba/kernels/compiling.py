"""C functions that Numba compiles and keeps on disk."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.extending import intrinsic

from nestor_numba.kernels.joint_function import SampledWriter
from nestor_numba.kernels.joint_places import Kind
from nestor_numba.kernels.levels import Shape
from nestor_numba.kernels.marginal_functions import Writer

_POINTER = types.CPointer(types.float64)
#: int64 (dimension, position, gradient, value, data): what nutpie calls.
DENSITY = types.int64(types.uint64, _POINTER, _POINTER, _POINTER, types.voidptr)
#: void (draws, positions, noise, data): draws so many sets of coefficients.
DRAW = types.void(types.int64, _POINTER, _POINTER, types.voidptr)


@cache
def _digest() -> str:
    """Hash of this package's code: what is on disk is not used once any of it has changed."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def _shape(*literals: Any) -> Shape:
    p, m, per_parent = (literal.literal_value for literal in literals)
    return Shape(p, m, bool(per_parent))


# The shape is given by literals, and not closed over: what a function closes over is part of the name that
# it is kept under, and an intrinsic's own name is another one in each process.
@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def _evaluate(
    typing: Any, p: Any, m: Any, per_parent: Any, z: Any, gradient: Any, value: Any, data: Any
) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        writer = Writer(_shape(p, m, per_parent), builder, args[6])
        z, gradient, value = (writer.code.doubles(argument) for argument in args[3:6])
        memory, piece = writer.pool.take()
        value[0] = writer.value_and_gradient(z, gradient, memory)
        writer.pool.give_back(piece)
        return writer.verdict(value, gradient).value

    return types.int64(p, m, per_parent, z, gradient, value, data), codegen


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def _draw(
    typing: Any,
    p: Any,
    m: Any,
    per_parent: Any,
    draws: Any,
    z: Any,
    noise: Any,
    data: Any,
) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        Writer(_shape(p, m, per_parent), builder, args[6]).draw_all(*args[3:6])
        return context.get_dummy_value()

    return types.void(p, m, per_parent, draws, z, noise, data), codegen


@cache
def density(shape: Shape) -> Any:
    """Compile the log density with its gradient, a C function of the type `DENSITY`.

    It returns 0; 3 where the gradient is not finite, 4 where the value is not.
    """
    p, m, per_parent, digest = shape.p, shape.m, int(shape.per_parent), _digest()

    @numba.cfunc(DENSITY, cache=True)
    def nestor_density(dimension, z, gradient, value, data):  # type: ignore[no-untyped-def]
        # Part of the name that the function is kept under.
        digest  # noqa: B018
        return _evaluate(p, m, per_parent, z, gradient, value, data)

    return nestor_density


@cache
def drawing(shape: Shape) -> Any:
    """Compile what draws coefficients given the scales, a C function of the type `DRAW`."""
    p, m, per_parent, digest = shape.p, shape.m, int(shape.per_parent), _digest()

    @numba.cfunc(DRAW, cache=True)
    def nestor_draw(draws, z, noise, data):  # type: ignore[no-untyped-def]
        digest  # noqa: B018
        _draw(p, m, per_parent, draws, z, noise, data)

    return nestor_draw


# A tuple of literals is no literal: one argument for each number.
@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def _evaluate_sampled(
    typing: Any,
    p: Any,
    c: Any,
    ones: Any,
    per_parent: Any,
    student: Any,
    statistics: Any,
    triangular: Any,
    weighted: Any,
    counted: Any,
    z: Any,
    gradient: Any,
    value: Any,
    data: Any,
) -> Any:
    numbers = (p, c, ones, per_parent, student, statistics, triangular, weighted, counted)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = Kind.of(tuple(number.literal_value for number in numbers))
        *pointers, data = args[len(numbers) :]
        writer = SampledWriter(kind, builder, data)
        return writer.evaluate(*(writer.code.doubles(pointer) for pointer in pointers)).value

    return types.int64(*numbers, z, gradient, value, data), codegen


@cache
def sampled_density(kind: Kind) -> Any:
    """Compile the log density of sampled coefficients and scales, as `density` does."""
    p, c, ones, per_parent, student, statistics, triangular, weighted, counted = kind.numbers
    digest = _digest()

    @numba.cfunc(DENSITY, cache=True)
    def nestor_sampled(dimension, z, gradient, value, data):  # type: ignore[no-untyped-def]
        digest  # noqa: B018
        return _evaluate_sampled(
            p,
            c,
            ones,
            per_parent,
            student,
            statistics,
            triangular,
            weighted,
            counted,
            z,
            gradient,
            value,
            data,
        )

    return nestor_sampled
