"""One level as the message passes see it: the states of its nodes, a vector at a time."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from nestor_numba.kernels import any_effects, two_effects
from nestor_numba.kernels.emit import Variable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from nestor_numba.kernels.any_effects import Matrix, Vector
    from nestor_numba.kernels.emit import Code
    from nestor_numba.kernels.values import Doubles, Longs, Number, Whole


# A level is a row of a table of integers. Constants, integers and scratch are one long array each, and the
# table holds places in them. The state of a level has, slot by slot, the lower triangle of P (row by row) and
# then h, one array after another.
#: Numbers of slots and of groups.
SIZE, GROUPS = 0, 1
#: Places among the integers: groups' first slots and counts; families' parents, as slots and as nodes.
FIRST, COUNT, PARENT_SLOT, PARENT_NODE = 2, 3, 4, 5
#: Places among the constants: leaves' square roots; inner nodes' shifts, and leaves' remainders.
ROOT, SHIFT = 6, 7
#: Places in the scratch of the state (not of leaves) and of the parents'; number of the parents' slots.
STATE, PARENT_STATE, PARENT_SIZE = 8, 9, 10
#: Places in the scratch of the scales' squares and of the sums that the gradient needs; how many there are of
#: each effect.
VARIANCE, SUMS, SCALES = 11, 12, 13
#: Place among the integers of whether a group has parts of families that were cut; place in the scratch of a
#: group's sums.
CUT, BUFFER = 14, 15
#: Place in the scratch of what families' leaves have told (`leaf_moments`), of the leaves.
MOMENTS = 16
WIDTH = 17


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
    def closed(self) -> bool:
        """Whether nodes have a closed form, or nearly: one effect or two, no covariates."""
        return self.p <= 2 and self.m == 1

    @property
    def lanes(self) -> int:
        """Nodes in a vector.

        Closed forms have many sums, of which registers of four numbers hold more (16 of them where there
        is no AVX-512): with eight they are stored and loaded for each node. Other forms wait for roots
        and divisions that follow from each other, and two registers of nodes can wait at once.
        """
        return 4 if self.closed else 8

    @property
    def rooted(self) -> bool:
        """Whether inner nodes are kept as square roots."""
        return self.p > 2

    @property
    def one_visit(self) -> bool:
        """Whether the gradient needs no second visit to the leaves (`leaf_moments`)."""
        return not self.rooted

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

    Numbers are multiplied, and the product's exponent is taken out each time; exact to rounding.
    """

    product: Variable
    exponents: Variable

    @classmethod
    def begin(cls, code: Code) -> LogProduct:
        """Begin with nothing."""
        return cls(Variable(code, code.splat(1.0)), Variable(code, code.splat(0.0)))

    def times(self, value: Number) -> None:
        """Take in a vector."""
        product = self.product.get() * value
        self.exponents.add(product.exponent())
        self.product.set(product.mantissa())

    def log(self) -> Number:
        """The sum over all lanes."""
        logs = self.product.get().product().call("log")
        return logs + 0.6931471805599453 * self.exponents.get().total()


class Node(NamedTuple):
    """What is known of a node, as the functions of `any_effects` take it.

    Parameters
    ----------
    root, P, h : Matrix
        |root delta + h|^2 about the parent; without a root, precision and linear term about the node.
    before, after : Matrix or None
        The node's shift, (p, m): to be added to the parent's mean, or to the node's.
    """

    root: Matrix | None
    P: Matrix
    h: Matrix
    before: Matrix | None
    after: Matrix | None


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
        """Integers of each lane of a group of an array of the level."""
        at = self.memory.integers + (self.row[begin] + group * self.shape.lanes)
        return [at[lane] for lane in range(self.shape.lanes)]

    def variances(self, group: Whole) -> Vector:
        """Of each effect's innovations, in the families of a group."""
        at, scales = self.memory.scratch + self.row[VARIANCE], self.row[SCALES]
        if not self.shape.per_parent:
            return [self.code.splat(at[j]) for j in range(self.shape.p)]
        nodes = self.places(PARENT_NODE, group)
        return [(at + scales * j).gather(nodes) for j in range(self.shape.p)]

    @contextmanager
    def children(self, group: Whole) -> Iterator[Whole]:
        """Go through the children of a group's families; gives the slot of the first lane."""
        first = self.memory.integers[self.row[FIRST] + group]
        with self.code.loop(self.memory.integers[self.row[COUNT] + group]) as child:
            yield first + child * self.shape.lanes

    def node(self, slot: Whole, factor: Number) -> Node:
        """A vector of nodes; `factor` is one over sigma."""
        shift = self._shift(slot)
        if self.leaves:
            scaled = [[value * factor for value in row] for row in shift]
            return Node(self._root(slot, factor), [], scaled, None, None)
        at, size = self.memory.scratch + (self.row[STATE] + slot), self.row[SIZE]
        P, h = self.unpacked([at.vector(size * i) for i in range(self.shape.state)])
        if not self.shape.rooted:
            return Node(None, P, h, shift, None)
        root = self.upper(P)
        moved = [
            [any_effects.dot(W, any_effects.column(shift, c)) + T[c] for c in range(len(T))]
            for W, T in zip(root, h, strict=True)
        ]
        return Node(root, [], moved, None, shift)

    def upper(self, P: Matrix) -> Matrix:
        """The upper triangle of P, with zeros below."""
        zero = self.code.real(0.0) if not P[0][0].is_vector else self.code.splat(0.0)
        p = self.shape.p
        return [[P[i][j] if j >= i else zero for j in range(p)] for i in range(p)]

    def _root(self, slot: Whole, factor: Number) -> Matrix:
        at, size = self.memory.constants + (self.row[ROOT] + slot), self.row[SIZE]
        zero, found, entry = self.code.splat(0.0), [], 0
        for i in range(self.shape.p):
            found.append([zero] * i)
            for _ in range(i, self.shape.p):
                found[-1].append(at.vector(size * entry) * factor)
                entry += 1
        return found

    def _shift(self, slot: Whole) -> Matrix:
        at, size = self.memory.constants + (self.row[SHIFT] + slot), self.row[SIZE]
        p, m = self.shape.p, self.shape.m
        return [[at.vector(size * (k * m + c)) for c in range(m)] for k in range(p)]

    def parents(self, group: Whole) -> tuple[Matrix, Matrix]:
        """The state of a group's parents."""
        at = self.memory.scratch + self.row[PARENT_STATE]
        places, size = self.places(PARENT_SLOT, group), self.row[PARENT_SIZE]
        return self.unpacked([(at + size * i).gather(places) for i in range(self.shape.state)])

    def unpacked(self, values: Vector) -> tuple[Matrix, Matrix]:
        """P, symmetric, and h of a state."""
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
        at, size = self.memory.scratch + (self.row[STATE] + slot), self.row[SIZE]
        for i, value in enumerate(values):
            at.put(size * (begin + i), value)
