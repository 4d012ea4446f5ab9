"""Writing LLVM code by calculating with it: the language in which the kernels are written.

A kernel is a Python function that runs once, when it is compiled, on objects that stand for numbers in
memory or registers; each operation on them writes an instruction. Loops over effects are Python's own, and
so unrolled; loops over data are written with `Code.loop`. Numbers may be vectors of `Code.lanes`: on any
machine one operation then is one on all of them (where registers are shorter LLVM splits it), and there is
nothing for an optimizer to find out. Numba compiles the result, calls it and keeps it on disk. Written as
Numba functions the same kernels took 3.5 s to compile on a quiet core, most of it in type inference and in
compiling each function apart.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from nestor_numba.kernels.values import (
    DOUBLE,
    INDEX,
    LONG,
    Doubles,
    Longs,
    Number,
    Whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nestor_numba.kernels.values import Index, Real

#: Products and sums may be fused, and nothing else may change: no reordering.
_FLAGS = ("contract",)


class Variable:
    """A number that changes from one turn of a loop to the next."""

    def __init__(self, code: Code, first: Number) -> None:
        self._code = code
        # In the entry block, so that a loop does not make it anew, and LLVM keeps it in a register.
        with code.builder.goto_entry_block():
            self._place = code.builder.alloca(first.value.type)
        self.set(first)

    def get(self) -> Number:
        """Its value now."""
        return Number(self._code, self._code.builder.load(self._place))

    def set(self, value: Number) -> None:
        """Give it another value."""
        self._code.builder.store(value.value, self._place)

    def add(self, value: Number) -> None:
        """Add to it."""
        self.set(self.get() + value)


class WholeVariable:
    """A whole number that changes from one turn of a loop to the next."""

    def __init__(self, code: Code, first: Index) -> None:
        self._code = code
        with code.builder.goto_entry_block():
            self._place = code.builder.alloca(LONG)
        self.set(code.whole(first))

    def get(self) -> Whole:
        """Its value now."""
        return Whole(self._code, self._code.builder.load(self._place))

    def set(self, value: Whole) -> None:
        """Give it another value."""
        self._code.builder.store(value.value, self._place)


class Code:
    """Where instructions are written.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Stands at the place where the code goes.
    lanes : int
        Numbers in a vector.
    """

    def __init__(self, builder: Any, lanes: int) -> None:
        self.builder, self.lanes = builder, lanes
        self.vector, self.integers = ir.VectorType(DOUBLE, lanes), ir.VectorType(LONG, lanes)

    def real(self, value: Real) -> Number:
        """A scalar."""
        return value if isinstance(value, Number) else Number(self, ir.Constant(DOUBLE, value))

    def whole(self, value: Index) -> Whole:
        """A whole number."""
        return value if isinstance(value, Whole) else Whole(self, ir.Constant(LONG, value))

    def splat(self, value: Real) -> Number:
        """A vector of one number."""
        if not isinstance(value, Number):
            return Number(self, ir.Constant(self.vector, [float(value)] * self.lanes))
        if value.is_vector:
            return value
        nothing = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(nothing, value.value, ir.Constant(INDEX, 0))
        mask = ir.Constant(ir.VectorType(INDEX, self.lanes), [0] * self.lanes)
        return Number(self, self.builder.shuffle_vector(one, nothing, mask))

    def variable(self, first: Real) -> Variable:
        """A number that changes."""
        return Variable(self, self.real(first))

    def whole_variable(self, first: Index) -> WholeVariable:
        """A whole number that changes."""
        return WholeVariable(self, first)

    def choose(self, condition: Any, one: Whole, other: Whole) -> Whole:
        """One whole number or another."""
        return Whole(self, self.builder.select(condition, one.value, other.value))

    def binary(self, name: str, left: Real, right: Real) -> Number:
        """Write an arithmetic instruction."""
        a, b = self.real(left), self.real(right)
        if a.is_vector or b.is_vector:
            a, b = self.splat(left), self.splat(right)
        return Number(self, getattr(self.builder, name)(a.value, b.value, flags=_FLAGS))

    def intrinsic(self, name: str, value: Number) -> Number:
        """Call one of LLVM's functions."""
        suffix = f"v{self.lanes}f64" if value.is_vector else "f64"
        kind = ir.FunctionType(value.value.type, [value.value.type])
        function = self._declared(f"llvm.{name}.{suffix}", kind)
        return Number(self, self.builder.call(function, [value.value]))

    def external(self, name: str, value: Number) -> Number:
        """Call a function of the C library."""
        function = self._declared(name, ir.FunctionType(DOUBLE, [DOUBLE]))
        return Number(self, self.builder.call(function, [value.value]))

    def _declared(self, name: str, kind: Any) -> Any:
        module = self.builder.module
        return module.globals[name] if name in module.globals else ir.Function(module, kind, name)

    def select(self, condition: Any, one: Real, other: Real) -> Number:
        """One scalar or another."""
        a, b = self.real(one), self.real(other)
        return Number(self, self.builder.select(condition, a.value, b.value))

    def lanes_below(self, count: Index) -> Any:
        """The condition of each lane that its number, from 0, is below `count`."""
        nothing = ir.Constant(self.integers, ir.Undefined)
        one = self.builder.insert_element(nothing, self.whole(count).value, ir.Constant(INDEX, 0))
        mask = ir.Constant(ir.VectorType(INDEX, self.lanes), [0] * self.lanes)
        limit = self.builder.shuffle_vector(one, nothing, mask)
        numbers = ir.Constant(self.integers, list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, limit)

    def blend(self, condition: Any, one: Real, other: Real) -> Number:
        """In each lane one number or another."""
        a, b = self.splat(one), self.splat(other)
        return Number(self, self.builder.select(condition, a.value, b.value))

    def doubles(self, pointer: Any) -> Doubles:
        """Float64s at a pointer."""
        return Doubles(self, self.builder.bitcast(pointer, DOUBLE.as_pointer()))

    def longs(self, pointer: Any) -> Longs:
        """Int64s at a pointer."""
        return Longs(self, self.builder.bitcast(pointer, LONG.as_pointer()))

    @contextmanager
    def loop(self, count: Index, step: int = 1) -> Iterator[Whole]:
        """Repeat for 0, step, 2 step, ... below `count`."""
        builder = self.builder
        with builder.goto_entry_block():
            place = builder.alloca(LONG)
        builder.store(LONG(0), place)
        head = builder.append_basic_block("loop")
        body, end = builder.append_basic_block("body"), builder.append_basic_block("end")
        builder.branch(head)
        builder.position_at_end(head)
        now = Whole(self, builder.load(place))
        builder.cbranch(now.compare("<", count), body, end)
        builder.position_at_end(body)
        yield now
        builder.store((now + step).value, place)
        builder.branch(head)
        builder.position_at_end(end)

    @contextmanager
    def when(self, condition: Any) -> Iterator[None]:
        """Emit an if-block: code written inside the ``with`` runs only where `condition` holds."""
        with self.builder.if_then(condition):
            yield

    def until(self, attempt: Callable[[], Any]) -> None:
        """Repeat `attempt`, a function that writes what to do and returns a condition, until it holds."""
        builder = self.builder
        head, end = builder.append_basic_block("wait"), builder.append_basic_block("go")
        builder.branch(head)
        builder.position_at_end(head)
        builder.cbranch(attempt(), end, head)
        builder.position_at_end(end)
