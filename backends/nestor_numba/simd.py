"""Eight numbers side by side: LLVM vectors as a type that Numba's functions can calculate with.

Whether LLVM vectorizes a loop depends on what it can prove of it; here every operation is one on a vector by
construction, on any machine (where registers are shorter LLVM splits them), and there is nothing for the
optimizer to find out, which keeps compilation short.
"""

from __future__ import annotations

import math
import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.extending import intrinsic, register_model
from numba.core.imputils import lower_builtin
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global

from nestor_numba.compiling import njit

#: Numbers in a vector.
LANES = 8

_DOUBLE = ir.DoubleType()
_LONG = ir.IntType(64)
_VECTOR = ir.VectorType(_DOUBLE, LANES)
_INTEGERS = ir.VectorType(_LONG, LANES)
#: Products and sums may be fused, and nothing else may change: no reordering.
_FLAGS = ("contract",)
_LOG_TWO = math.log(2.0)


class LanesType(types.Type):  # type: ignore[misc]
    """The type of a vector of `LANES` float64."""

    def __init__(self) -> None:
        super().__init__(name=f"float64x{LANES}")


lanes = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _splat(builder: Any, value: Any) -> Any:
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), mask)


def _binary(function: Any, name: str) -> None:
    """Let an operator take vectors, and a vector with a number."""

    class Template(ConcreteTemplate):  # type: ignore[misc]
        key = function
        cases = [
            signature(lanes, lanes, lanes),
            signature(lanes, lanes, types.float64),
            signature(lanes, types.float64, lanes),
        ]

    infer_global(function)(Template)
    for left in (lanes, types.float64):
        for right in (lanes, types.float64):
            if lanes in (left, right):
                lower_builtin(function, left, right)(_lowered(name, left, right))


def _lowered(name: str, left: Any, right: Any) -> Any:
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a = args[0] if left is lanes else _splat(builder, args[0])
        b = args[1] if right is lanes else _splat(builder, args[1])
        return getattr(builder, name)(a, b, flags=_FLAGS)

    return lower


for _function, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
    (operator.iadd, "fadd"),
    (operator.isub, "fsub"),
    (operator.imul, "fmul"),
):
    _binary(_function, _name)


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, kind: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """The `LANES` numbers of a one-dimensional array that begin at an index."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        loaded = builder.load(_address(context, builder, sig.args[0], *args, _VECTOR), align=8)
        return loaded

    return lanes(array, types.intp), codegen


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a vector to an array, from an index on."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = _address(context, builder, sig.args[0], args[0], args[1], _VECTOR)
        builder.store(args[2], address, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), codegen


@intrinsic
def gather(typing: Any, array: Any, base: Any, indices: Any, at: Any) -> Any:
    """Numbers ``array[base + indices[at + lane]]``."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        found = ir.Constant(_VECTOR, ir.Undefined)
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        start = builder.gep(data, [args[1]])
        places = context.make_array(sig.args[2])(context, builder, args[2]).data
        for lane in range(LANES):
            where = builder.load(builder.gep(places, [builder.add(args[3], _LONG(lane))]))
            value = builder.load(builder.gep(start, [where]))
            found = builder.insert_element(found, value, ir.Constant(ir.IntType(32), lane))
        return found

    return lanes(array, types.intp, indices, types.intp), codegen


@intrinsic
def scatter_add(typing: Any, array: Any, base: Any, indices: Any, at: Any, value: Any) -> Any:
    """Add each lane to ``array[base + indices[at + lane]]``; several lanes may share a place."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        start = builder.gep(data, [args[1]])
        places = context.make_array(sig.args[2])(context, builder, args[2]).data
        for lane in range(LANES):
            where = builder.load(builder.gep(places, [builder.add(args[3], _LONG(lane))]))
            address = builder.gep(start, [where])
            one = builder.extract_element(args[4], ir.Constant(ir.IntType(32), lane))
            builder.store(builder.fadd(builder.load(address), one), address)
        return context.get_dummy_value()

    return types.void(array, types.intp, indices, types.intp, lanes), codegen


@intrinsic
def splat(typing: Any, value: Any) -> Any:
    """A vector of one number."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _splat(builder, args[0])

    return lanes(types.float64), codegen


def _reduced(builder: Any, vector: Any, name: str) -> Any:
    parts = [
        builder.extract_element(vector, ir.Constant(ir.IntType(32), lane)) for lane in range(LANES)
    ]
    while len(parts) > 1:
        parts = [getattr(builder, name)(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


@intrinsic
def total(typing: Any, value: Any) -> Any:
    """Sum over lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _reduced(builder, args[0], "fadd")

    return types.float64(lanes), codegen


@intrinsic
def sqrt(typing: Any, value: Any) -> Any:
    """Square roots."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.sqrt.v{LANES}f64")
        return builder.call(function, args)

    return lanes(lanes), codegen


@intrinsic
def exponent(typing: Any, value: Any) -> Any:
    """Exponents of positive normal numbers, value = mantissa 2^exponent with a mantissa in [1, 2)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], _INTEGERS)
        raised = builder.lshr(bits, ir.Constant(_INTEGERS, [52] * LANES))
        shifted = builder.sub(raised, ir.Constant(_INTEGERS, [1023] * LANES))
        return builder.sitofp(shifted, _VECTOR)

    return lanes(lanes), codegen


@intrinsic
def mantissa(typing: Any, value: Any) -> Any:
    """Mantissas of positive normal numbers, in [1, 2)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], _INTEGERS)
        kept = builder.and_(bits, ir.Constant(_INTEGERS, [(1 << 52) - 1] * LANES))
        one = builder.or_(kept, ir.Constant(_INTEGERS, [1023 << 52] * LANES))
        return builder.bitcast(one, _VECTOR)

    return lanes(lanes), codegen


@njit
def log_product(exponents: Any, product: Any) -> Any:
    """Sum of logs from sums of exponents and a product of mantissas, of all lanes together."""
    # Eight mantissas, each below two after this.
    exponents += exponent(product)
    product = mantissa(product)
    return total(exponents) * _LOG_TWO + math.log(multiplied(product))


@intrinsic
def multiplied(typing: Any, value: Any) -> Any:
    """Product over lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _reduced(builder, args[0], "fmul")

    return types.float64(lanes), codegen
