"""Passes over one level, eight families at a time; nodes are `two_effects` or `any_effects`."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nestor_numba import any_effects, two_effects
from nestor_numba import level as column
from nestor_numba.emit import LANES, Variable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from nestor_numba.any_effects import Matrix, Vector
    from nestor_numba.emit import Code, Doubles, Longs, Number, Whole

#: Mantissas, below 2 each, whose product cannot overflow.
_SAFE = 512


@dataclass(frozen=True)
class Shape:
    """What code is written for.

    Parameters
    ----------
    p, m : int
        Numbers of effects and of columns, 1 + covariates.
    per_parent : bool
        Whether any level has scales for each parent.
    """

    p: int
    m: int
    per_parent: bool

    @property
    def algebra(self) -> ModuleType:
        """The module that treats one node."""
        return two_effects if (self.p, self.m) == (2, 1) else any_effects

    @property
    def triangle(self) -> int:
        """Entries of a lower triangle of P."""
        return self.p * (self.p + 1) // 2

    @property
    def state(self) -> int:
        """Numbers of a node's state."""
        return self.triangle + self.p * self.m


@dataclass(frozen=True)
class Memory:
    """The three arrays."""

    constants: Doubles
    integers: Longs
    scratch: Doubles


@dataclass(frozen=True)
class LogProduct:
    """Sum of logs of vectors of numbers of at least 1, without a logarithm for each.

    Mantissas are multiplied and exponents added up; exact to rounding.
    """

    code: Code
    product: Variable
    exponents: Variable
    kept: Variable

    @classmethod
    def begin(cls, code: Code) -> LogProduct:
        """Begin with nothing."""
        one, zero = code.splat(1.0), code.splat(0.0)
        return cls(code, Variable(code, one), Variable(code, zero), code.variable(0.0))

    def times(self, value: Number) -> None:
        """Take in a vector."""
        self.product.set(self.product.get() * value.mantissa())
        self.exponents.add(value.exponent())
        self.kept.add(self.code.real(1.0))
        with self.code.when(self.code.real(float(_SAFE)).less(self.kept.get())):
            self._shorten()
            self.kept.set(self.code.real(0.0))

    def _shorten(self) -> None:
        self.exponents.add(self.product.get().exponent())
        self.product.set(self.product.get().mantissa())

    def log(self) -> Number:
        """The sum over all lanes."""
        self._shorten()
        logs = self.product.get().product().call("log")
        return logs + 0.6931471805599453 * self.exponents.get().total()


@dataclass(frozen=True)
class Level:
    """One level, as its row of the table tells.

    Parameters
    ----------
    shape : Shape
        What code is written for.
    code : Code
        Where it goes.
    memory : Memory
        The arrays.
    row : Longs
        Of the table.
    leaves : bool
        Whether these are the leaves.
    """

    shape: Shape
    code: Code
    memory: Memory
    row: Longs
    leaves: bool

    def places(self, begin: int, group: Whole) -> list[Whole]:
        """`LANES` integers of a group of an array of the level."""
        at = self.memory.integers + (self.row[begin] + group * LANES)
        return [at[lane] for lane in range(LANES)]

    def variances(self, group: Whole) -> Vector:
        """Of each effect's innovations, in the families of a group."""
        at, scales = self.memory.scratch + self.row[column.VARIANCE], self.row[column.SCALES]
        if not self.shape.per_parent:
            return [self.code.splat(at[j]) for j in range(self.shape.p)]
        nodes = self.places(column.PARENT_NODE, group)
        return [(at + scales * j).gather(nodes) for j in range(self.shape.p)]

    @contextmanager
    def children(self, group: Whole) -> Iterator[Whole]:
        """Go through the children of a group's families; gives the slot of the first lane."""
        first = self.memory.integers[self.row[column.FIRST] + group]
        with self.code.loop(self.memory.integers[self.row[column.COUNT] + group]) as child:
            yield first + child * LANES

    def root(self, slot: Whole, factor: Number) -> Matrix | None:
        """Square root of a leaf's P; None on other levels."""
        if not self.leaves:
            return None
        at, size = self.memory.constants + (self.row[column.ROOT] + slot), self.row[column.SIZE]
        zero, found, entry = self.code.splat(0.0), [], 0
        for i in range(self.shape.p):
            found.append([zero] * i)
            for _ in range(i, self.shape.p):
                found[-1].append(at.vector(size * entry) * factor)
                entry += 1
        return found

    def _shift(self, slot: Whole) -> Matrix:
        at, size = self.memory.constants + (self.row[column.SHIFT] + slot), self.row[column.SIZE]
        p, m = self.shape.p, self.shape.m
        return [[at.vector(size * (k * m + c)) for c in range(m)] for k in range(p)]

    def shift(self, slot: Whole) -> Matrix | None:
        """Shifts of inner nodes, (p, m); leaves have none."""
        return None if self.leaves else self._shift(slot)

    def state(self, slot: Whole, factor: Number) -> tuple[Matrix, Matrix]:
        """P and h of inner nodes; of leaves the remainder in the place of h."""
        if self.leaves:
            return [], [[value * factor for value in row] for row in self._shift(slot)]
        at, size = self.memory.scratch + (self.row[column.STATE] + slot), self.row[column.SIZE]
        return self._unpacked([at.vector(size * i) for i in range(self.shape.state)])

    def parents(self, group: Whole) -> tuple[Matrix, Matrix]:
        """The state of a group's parents."""
        at = self.memory.scratch + self.row[column.PARENT_STATE]
        places, size = self.places(column.PARENT_SLOT, group), self.row[column.PARENT_SIZE]
        return self._unpacked([(at + size * i).gather(places) for i in range(self.shape.state)])

    def _unpacked(self, values: Vector) -> tuple[Matrix, Matrix]:
        p, m, triangle = self.shape.p, self.shape.m, self.shape.triangle
        lower = [[values[i * (i + 1) // 2 + j] for j in range(i + 1)] for i in range(p)]
        whole = [[lower[max(i, j)][min(i, j)] for j in range(p)] for i in range(p)]
        return whole, [[values[triangle + k * m + c] for c in range(m)] for k in range(p)]

    def packed(self, P: Matrix, h: Matrix) -> Vector:
        """A state, as it is stored."""
        return [P[i][j] for i in range(self.shape.p) for j in range(i + 1)] + [
            value for row in h for value in row
        ]

    def write_state(self, slot: Whole, values: Vector, begin: int = 0) -> None:
        """Store the state of inner nodes, from one of its numbers on."""
        at, size = self.memory.scratch + (self.row[column.STATE] + slot), self.row[column.SIZE]
        for i, value in enumerate(values):
            at.put(size * (begin + i), value)


def up(level: Level, precision: Number, form: list[list[Variable]]) -> Number:
    """Send the messages of a level to its parents, add to the quadratic form; returns the sum of log det."""
    code, shape, row = level.code, level.shape, level.row
    factor = precision.call("sqrt")
    forms = [[Variable(code, code.splat(0.0)) for _ in range(shape.m)] for _ in range(shape.m)]
    logs = LogProduct.begin(code)
    with code.loop(row[column.GROUPS]) as group:
        x = level.variances(group)
        sums = [Variable(code, code.splat(0.0)) for _ in range(shape.state)]
        with level.children(group) as slot:
            P, h = level.state(slot, factor)
            told = shape.algebra.up(level.root(slot, factor), P, h, level.shift(slot) or [], x)
            for total, value in zip(sums, level.packed(told.P, told.h), strict=True):
                total.add(value)
            for c in range(shape.m):
                for d in range(shape.m):
                    forms[c][d].add(told.form[c][d])
            for det in told.dets:
                logs.times(det)
        at = level.memory.scratch + row[column.PARENT_STATE]
        places, size = level.places(column.PARENT_SLOT, group), row[column.PARENT_SIZE]
        for i, total in enumerate(sums):
            (at + size * i).add(places, total.get())
    for c in range(shape.m):
        for d in range(shape.m):
            form[c][d].add(forms[c][d].get().total())
    return logs.log()


def down(level: Level, precision: Number, factors: Matrix | None) -> None:
    """Add up what the scales' derivatives need; replace P and h of inner nodes by covariance and means."""
    code, shape, row = level.code, level.shape, level.row
    factor = precision.call("sqrt")
    totals = [Variable(code, code.splat(0.0)) for _ in range(shape.p)]
    at, scales = level.memory.scratch + row[column.SUMS], row[column.SCALES]
    with code.loop(row[column.GROUPS]) as group:
        x = level.variances(group)
        S, mean = level.parents(group)
        if shape.per_parent:
            for total in totals:
                total.set(code.splat(0.0))
        with level.children(group) as slot:
            P, h = level.state(slot, factor)
            z = _shifted(mean, level.shift(slot), factors)
            found, z, own = shape.algebra.down(level.root(slot, factor), P, h, z, S, x, factors)
            for total, value in zip(totals, found, strict=True):
                total.add(value)
            if not level.leaves:
                level.write_state(slot, level.packed(own, z))
        if shape.per_parent:
            places = level.places(column.PARENT_NODE, group)
            for j, total in enumerate(totals):
                (at + scales * j).add(places, total.get())
    if not shape.per_parent:
        for j, total in enumerate(totals):
            at[j] = total.get().total()


def draw(level: Level, precision: Number, v: Vector, noise: Doubles) -> None:
    """Draw the coefficients of a level, less their pivots, given those of the parents.

    `noise` is standard normal, (p, slots). Inner nodes' values go where the first column of h was, those of
    leaves to where their noise was.
    """
    shape, row = level.shape, level.row
    factor, size = precision.call("sqrt"), row[column.SIZE]
    with level.code.loop(row[column.GROUPS]) as group:
        x = level.variances(group)
        _, above = level.parents(group)
        with level.children(group) as slot:
            P, h = level.state(slot, factor)
            shift = level.shift(slot)
            z = [row[0] for row in above]
            if shift is not None:
                z = [value + any_effects.dot(e, v) for value, e in zip(z, shift, strict=True)]
            linear = [any_effects.dot(terms, v) for terms in h]
            numbers = [(noise + slot).vector(size * k) for k in range(shape.p)]
            found = shape.algebra.draw(level.root(slot, factor), P, linear, z, x, numbers)
            for k, value in enumerate(found):
                if level.leaves:
                    (noise + slot).put(size * k, value)
                else:
                    level.write_state(slot, [value], shape.triangle + k * shape.m)


def _shifted(mean: Matrix, shift: Matrix | None, factors: Matrix | None) -> Matrix:
    """Means of nodes before their innovations, (p, m): the parent's, and an inner node's shift times F."""
    if shift is None:
        return mean
    if factors is None:
        return [[m[0] + e[0]] for m, e in zip(mean, shift, strict=True)]
    columns = [any_effects.column(factors, r) for r in range(len(factors))]
    return [
        [m[r] + any_effects.dot(e, columns[r]) for r in range(len(columns))]
        for m, e in zip(mean, shift, strict=True)
    ]
