"""Writing LLVM code by calculating with it: the language in which the kernels are written.

A kernel is a Python function that runs once, when it is compiled, on objects that stand for numbers in
memory or registers; each operation on them writes an instruction. Loops over effects are Python's own, and
so unrolled; loops over data are written with `Code.loop`. Numbers may be vectors of `LANES`: on any machine
one operation then is one on all of them (where registers are shorter LLVM splits it), and there is nothing
for an optimizer to find out. Numba compiles the result, calls it and keeps it on disk. Written as Numba
functions the same kernels took 3.5 s to compile on a quiet core, most of it in type inference and in
compiling each function apart.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from llvmlite import ir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Numbers in a vector.
LANES = 8

_DOUBLE = ir.DoubleType()
_LONG = ir.IntType(64)
_INDEX = ir.IntType(32)
_VECTOR = ir.VectorType(_DOUBLE, LANES)
_INTEGERS = ir.VectorType(_LONG, LANES)
#: Products and sums may be fused, and nothing else may change: no reordering.
_FLAGS = ("contract",)

Real = Union["Number", float]
Index = Union["Whole", int]


@dataclass(frozen=True, eq=False)
class Number:
    """A float64, or a vector of them."""

    code: Code
    value: Any

    @property
    def is_vector(self) -> bool:
        """Whether it is a vector."""
        return self.value.type is _VECTOR or self.value.type == _VECTOR

    def __add__(self, other: Real) -> Number:
        return self.code.binary("fadd", self, other)

    def __radd__(self, other: Real) -> Number:
        return self.code.binary("fadd", other, self)

    def __sub__(self, other: Real) -> Number:
        return self.code.binary("fsub", self, other)

    def __rsub__(self, other: Real) -> Number:
        return self.code.binary("fsub", other, self)

    def __mul__(self, other: Real) -> Number:
        return self.code.binary("fmul", self, other)

    def __rmul__(self, other: Real) -> Number:
        return self.code.binary("fmul", other, self)

    def __truediv__(self, other: Real) -> Number:
        return self.code.binary("fdiv", self, other)

    def __rtruediv__(self, other: Real) -> Number:
        return self.code.binary("fdiv", other, self)

    def call(self, name: str) -> Number:
        """LLVM's intrinsic function of that name: sqrt, exp, log, fabs; vectors for sqrt and fabs only."""
        return self.code.intrinsic(name, self)

    def log1p(self) -> Number:
        """Log of one plus the number, by the C library."""
        return self.code.external("log1p", self)

    def exponent(self) -> Number:
        """Exponents of a vector of positive normal numbers: mantissa times 2^exponent."""
        builder = self.code.builder
        bits = builder.bitcast(self.value, _INTEGERS)
        raised = builder.lshr(bits, ir.Constant(_INTEGERS, [52] * LANES))
        shifted = builder.sub(raised, ir.Constant(_INTEGERS, [1023] * LANES))
        return Number(self.code, builder.sitofp(shifted, _VECTOR))

    def mantissa(self) -> Number:
        """Mantissas of a vector of positive normal numbers, in [1, 2)."""
        builder = self.code.builder
        bits = builder.bitcast(self.value, _INTEGERS)
        kept = builder.and_(bits, ir.Constant(_INTEGERS, [(1 << 52) - 1] * LANES))
        one = builder.or_(kept, ir.Constant(_INTEGERS, [1023 << 52] * LANES))
        return Number(self.code, builder.bitcast(one, _VECTOR))

    def lanes(self) -> list[Number]:
        """The numbers of a vector."""
        builder = self.code.builder
        return [
            Number(self.code, builder.extract_element(self.value, ir.Constant(_INDEX, lane)))
            for lane in range(LANES)
        ]

    def total(self) -> Number:
        """Sum over lanes."""
        parts = self.lanes()
        while len(parts) > 1:
            parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    def product(self) -> Number:
        """Product over lanes."""
        parts = self.lanes()
        while len(parts) > 1:
            parts = [a * b for a, b in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    def equal(self, other: Real) -> Any:
        """The condition self == other, of two scalars."""
        return self.code.builder.fcmp_ordered("==", self.value, self.code.real(other).value)

    def less(self, other: Real) -> Any:
        """The condition self < other, of two scalars or, in each lane, of two vectors."""
        return self.code.builder.fcmp_ordered("<", self.value, self.code.real(other).value)


@dataclass(frozen=True, eq=False)
class Whole:
    """An int64: a count or a place."""

    code: Code
    value: Any

    def __add__(self, other: Index) -> Whole:
        return Whole(self.code, self.code.builder.add(self.value, self.code.whole(other).value))

    __radd__ = __add__

    def __sub__(self, other: Index) -> Whole:
        return Whole(self.code, self.code.builder.sub(self.value, self.code.whole(other).value))

    def __mul__(self, other: Index) -> Whole:
        return Whole(self.code, self.code.builder.mul(self.value, self.code.whole(other).value))

    __rmul__ = __mul__

    def compare(self, how: str, other: Index) -> Any:
        """The condition ``self how other``."""
        return self.code.builder.icmp_signed(how, self.value, self.code.whole(other).value)


@dataclass(frozen=True, eq=False)
class Doubles:
    """Float64s in memory, from a place on."""

    code: Code
    pointer: Any

    def __add__(self, offset: Index) -> Doubles:
        builder = self.code.builder
        return Doubles(self.code, builder.gep(self.pointer, [self.code.whole(offset).value]))

    def __getitem__(self, at: Index) -> Number:
        return Number(self.code, self.code.builder.load((self + at).pointer))

    def __setitem__(self, at: Index, value: Real) -> None:
        self.code.builder.store(self.code.real(value).value, (self + at).pointer)

    def vector(self, at: Index) -> Number:
        """Load `LANES` numbers."""
        pointer = self.code.builder.bitcast((self + at).pointer, _VECTOR.as_pointer())
        return Number(self.code, self.code.builder.load(pointer, align=8))

    def put(self, at: Index, value: Number) -> None:
        """Store `LANES` numbers."""
        pointer = self.code.builder.bitcast((self + at).pointer, _VECTOR.as_pointer())
        self.code.builder.store(value.value, pointer, align=8)

    def gather(self, places: list[Whole]) -> Number:
        """Load the number at each of `LANES` places."""
        found = ir.Constant(_VECTOR, ir.Undefined)
        for lane, place in enumerate(places):
            found = self.code.builder.insert_element(
                found, self[place].value, ir.Constant(_INDEX, lane)
            )
        return Number(self.code, found)

    def set_each(self, places: list[Whole], value: Number) -> None:
        """Store each lane at its place."""
        for place, lane in zip(places, value.lanes(), strict=True):
            self[place] = lane

    def add(self, places: list[Whole], value: Number) -> None:
        """Add each lane to the number at its place; several may share one."""
        for place, lane in zip(places, value.lanes(), strict=True):
            self[place] = self[place] + lane


@dataclass(frozen=True, eq=False)
class Longs:
    """Int64s in memory, from a place on."""

    code: Code
    pointer: Any

    def __add__(self, offset: Index) -> Longs:
        builder = self.code.builder
        return Longs(self.code, builder.gep(self.pointer, [self.code.whole(offset).value]))

    def __getitem__(self, at: Index) -> Whole:
        return Whole(self.code, self.code.builder.load((self + at).pointer))

    def exchange(self, at: Index, value: int) -> Whole:
        """Write a number and return what was there, at once for all threads."""
        place = (self + at).pointer
        return Whole(
            self.code, self.code.builder.atomic_rmw("xchg", place, _LONG(value), "seq_cst")
        )

    def doubles(self, at: Index) -> Doubles:
        """Read an address, of float64s."""
        address = self[at].value
        return Doubles(self.code, self.code.builder.inttoptr(address, _DOUBLE.as_pointer()))

    def longs(self, at: Index) -> Longs:
        """Read an address, of int64s."""
        address = self[at].value
        return Longs(self.code, self.code.builder.inttoptr(address, _LONG.as_pointer()))


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
            self._place = code.builder.alloca(_LONG)
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
    """

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def real(self, value: Real) -> Number:
        """A scalar."""
        return value if isinstance(value, Number) else Number(self, ir.Constant(_DOUBLE, value))

    def whole(self, value: Index) -> Whole:
        """A whole number."""
        return value if isinstance(value, Whole) else Whole(self, ir.Constant(_LONG, value))

    def splat(self, value: Real) -> Number:
        """A vector of one number."""
        if not isinstance(value, Number):
            return Number(self, ir.Constant(_VECTOR, [float(value)] * LANES))
        if value.is_vector:
            return value
        nothing = ir.Constant(_VECTOR, ir.Undefined)
        one = self.builder.insert_element(nothing, value.value, ir.Constant(_INDEX, 0))
        mask = ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES)
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
        suffix = f"v{LANES}f64" if value.is_vector else "f64"
        kind = ir.FunctionType(value.value.type, [value.value.type])
        function = self._declared(f"llvm.{name}.{suffix}", kind)
        return Number(self, self.builder.call(function, [value.value]))

    def external(self, name: str, value: Number) -> Number:
        """Call a function of the C library."""
        function = self._declared(name, ir.FunctionType(_DOUBLE, [_DOUBLE]))
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
        nothing = ir.Constant(_INTEGERS, ir.Undefined)
        one = self.builder.insert_element(nothing, self.whole(count).value, ir.Constant(_INDEX, 0))
        mask = ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES)
        limit = self.builder.shuffle_vector(one, nothing, mask)
        numbers = ir.Constant(_INTEGERS, list(range(LANES)))
        return self.builder.icmp_signed("<", numbers, limit)

    def blend(self, condition: Any, one: Real, other: Real) -> Number:
        """In each lane one number or another."""
        a, b = self.splat(one), self.splat(other)
        return Number(self, self.builder.select(condition, a.value, b.value))

    def doubles(self, pointer: Any) -> Doubles:
        """Float64s at a pointer."""
        return Doubles(self, self.builder.bitcast(pointer, _DOUBLE.as_pointer()))

    def longs(self, pointer: Any) -> Longs:
        """Int64s at a pointer."""
        return Longs(self, self.builder.bitcast(pointer, _LONG.as_pointer()))

    @contextmanager
    def loop(self, count: Index, step: int = 1) -> Iterator[Whole]:
        """Repeat for 0, step, 2 step, ... below `count`."""
        builder = self.builder
        with builder.goto_entry_block():
            place = builder.alloca(_LONG)
        builder.store(_LONG(0), place)
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
        """Do what follows if a condition holds."""
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
