"""Numbers and memory as the kernels calculate with them; see `nestor_numba.kernels.emit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from llvmlite import ir

if TYPE_CHECKING:
    from nestor_numba.kernels.emit import Code

DOUBLE = ir.DoubleType()
LONG = ir.IntType(64)
INDEX = ir.IntType(32)

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
        return isinstance(self.value.type, ir.VectorType)

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
        # Put into the mantissa of 2^52: most machines have no instruction that converts vectors of integers.
        builder = self.code.builder
        bits = builder.bitcast(self.value, self.code.integers)
        raised = builder.lshr(bits, ir.Constant(self.code.integers, [52] * self.code.lanes))
        among = builder.or_(
            raised, ir.Constant(self.code.integers, [(1023 + 52) << 52] * self.code.lanes)
        )
        return Number(self.code, builder.bitcast(among, self.code.vector)) - (2.0**52 + 1023.0)

    def mantissa(self) -> Number:
        """Mantissas of a vector of positive normal numbers, in [1, 2)."""
        builder = self.code.builder
        bits = builder.bitcast(self.value, self.code.integers)
        kept = builder.and_(
            bits, ir.Constant(self.code.integers, [(1 << 52) - 1] * self.code.lanes)
        )
        one = builder.or_(kept, ir.Constant(self.code.integers, [1023 << 52] * self.code.lanes))
        return Number(self.code, builder.bitcast(one, self.code.vector))

    def lanes(self) -> list[Number]:
        """The numbers of a vector."""
        builder = self.code.builder
        return [
            Number(self.code, builder.extract_element(self.value, ir.Constant(INDEX, lane)))
            for lane in range(self.code.lanes)
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
        """Load a vector."""
        pointer = self.code.builder.bitcast((self + at).pointer, self.code.vector.as_pointer())
        return Number(self.code, self.code.builder.load(pointer, align=8))

    def put(self, at: Index, value: Number) -> None:
        """Store a vector."""
        pointer = self.code.builder.bitcast((self + at).pointer, self.code.vector.as_pointer())
        self.code.builder.store(value.value, pointer, align=8)

    def gather(self, places: list[Whole]) -> Number:
        """Load the number at each of a vector's places."""
        found = ir.Constant(self.code.vector, ir.Undefined)
        for lane, place in enumerate(places):
            found = self.code.builder.insert_element(
                found, self[place].value, ir.Constant(INDEX, lane)
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
        return Whole(self.code, self.code.builder.atomic_rmw("xchg", place, LONG(value), "seq_cst"))

    def doubles(self, at: Index) -> Doubles:
        """Read an address, of float64s."""
        address = self[at].value
        return Doubles(self.code, self.code.builder.inttoptr(address, DOUBLE.as_pointer()))

    def longs(self, at: Index) -> Longs:
        """Read an address, of int64s."""
        address = self[at].value
        return Longs(self.code, self.code.builder.inttoptr(address, LONG.as_pointer()))
