"""Passes over one level, a vector of families at a time; nodes are `two_effects` or `any_effects`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from nestor_numba.kernels import any_effects, leaf_moments, levels
from nestor_numba.kernels.emit import Variable
from nestor_numba.kernels.levels import LogProduct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nestor_numba.kernels.any_effects import Matrix, Vector
    from nestor_numba.kernels.levels import Level, Node
    from nestor_numba.kernels.values import Doubles, Number, Whole

#: Cross-products of the columns, (m, m).
type Form = list[list[Variable]]

#: Diagonal of a square root that knows nothing yet: its square is far below what anyone knows, and not zero.
_NOTHING = 1e-150


def up(level: Level, precision: Number, form: Form, *, moments: bool = False) -> Number:
    """Emit the upward pass over one level: messages to the parents, their share of the quadratic form.

    Returns the sum of log determinants. With `moments` the code keeps what `finish` needs of each leaf.
    """
    code, shape, row = level.code, level.shape, level.row
    factor = precision.call("sqrt")
    forms = [[Variable(code, code.splat(0.0)) for _ in range(shape.m)] for _ in range(shape.m)]
    logs = LogProduct.begin(code)
    with code.loop(row[levels.GROUPS]) as group:
        x = level.variances(group)
        sums = [Variable(code, code.splat(0.0)) for _ in range(shape.state)]
        if shape.rooted:
            for i in range(shape.p):
                sums[i * (i + 1) // 2 + i].set(code.splat(_NOTHING))
        told = leaf_moments.FamilySums(code, shape) if moments else None
        with level.children(group) as slot:
            dets = _take_in(level, level.node(slot, factor), x, sums, forms, told)
            for det in dets:
                logs.times(det)
        if told is not None:
            totals = level.unpacked([total.get() for total in sums])[0]
            told.keep(level, group, [totals[j][j] for j in range(shape.p)])
        if shape.rooted:
            _send_roots(level, group, sums, form)
        else:
            at = level.memory.scratch + row[levels.PARENT_STATE]
            places, size = level.places(levels.PARENT_SLOT, group), row[levels.PARENT_SIZE]
            for i, total in enumerate(sums):
                (at + size * i).add(places, total.get())
    for c in range(shape.m):
        for d in range(shape.m):
            form[c][d].add(forms[c][d].get().total())
    return logs.log()


def _take_in(
    level: Level,
    node: Node,
    x: Vector,
    sums: list[Variable],
    forms: Form,
    told: leaf_moments.FamilySums | None,
) -> Vector:
    """Add a node's message to its family's sums and to the quadratic form; factors of its determinant."""
    shape = level.shape
    if shape.rooted:
        assert node.root is not None  # noqa: S101 - of rooted shapes all nodes have one
        V, R, dets = any_effects.up_rows(node.root, node.h, x)
        P, T = level.unpacked([total.get() for total in sums])
        W = level.upper(P)
        found = any_effects.merge(W, T, V, R)
        merged = level.packed([[W[j][i] for j in range(shape.p)] for i in range(shape.p)], T)
        for total, value in zip(sums, merged, strict=True):
            total.set(value)
    else:
        message = shape.algebra.up(node.root, node.P, node.h, node.before or [], x)
        for total, value in zip(sums, level.packed(message.P, message.h), strict=True):
            total.add(value)
        if told is not None:
            told.add(message.P, message.h)
        found, dets = message.form, message.dets
    for c in range(shape.m):
        for d in range(shape.m):
            forms[c][d].add(found[c][d])
    return dets


def _send_roots(level: Level, group: Whole, sums: list[Variable], form: Form) -> None:
    """Give a group's sums to their parents: as they are, or merged one by one where families were cut."""
    code, shape, row, scratch = level.code, level.shape, level.row, level.memory.scratch
    at, size = scratch + row[levels.PARENT_STATE], row[levels.PARENT_SIZE]
    buffer = scratch + row[levels.BUFFER]
    cut = level.memory.integers[row[levels.CUT] + group]
    with code.when(cut.compare("==", 0)):
        places = level.places(levels.PARENT_SLOT, group)
        for i, total in enumerate(sums):
            (at + size * i).set_each(places, total.get())
    with code.when(cut.compare("!=", 0)):
        for i, total in enumerate(sums):
            buffer.put(shape.lanes * i, total.get())
        with code.loop(shape.lanes) as lane:
            place = level.memory.integers[row[levels.PARENT_SLOT] + group * shape.lanes + lane]
            P, T = level.unpacked([at[size * i + place] for i in range(shape.state)])
            V, R = level.unpacked([buffer[lane + shape.lanes * i] for i in range(shape.state)])
            W = level.upper(P)
            for i in range(shape.p):
                W[i][i] = code.select(W[i][i].less(_NOTHING), _NOTHING, W[i][i])
            found = any_effects.merge(W, T, level.upper(V), R)
            told = level.packed([[W[j][i] for j in range(shape.p)] for i in range(shape.p)], T)
            for i, value in enumerate(told):
                at[size * i + place] = value
            for c in range(shape.m):
                for d in range(shape.m):
                    form[c][d].add(found[c][d])


def down(level: Level, precision: Number, factors: Matrix | None) -> None:
    """Add up what the scales' derivatives need; replace P and h of inner nodes by covariance and means."""
    shape, row = level.shape, level.row
    factor = precision.call("sqrt")
    sums = _Derivatives(level)
    with level.code.loop(row[levels.GROUPS]) as group, sums.of(group):
        x = level.variances(group)
        S, mean = level.parents(group)
        with level.children(group) as slot:
            node = level.node(slot, factor)
            z = _shifted(mean, node.before, factors)
            found, z, own = shape.algebra.down(node.root, node.P, node.h, z, S, x, factors)
            sums.add(found)
            if not level.leaves:
                level.write_state(slot, level.packed(own, _shifted(z, node.after, factors)))
    sums.write()


def finish(level: Level, factors: Matrix | None) -> None:
    """Add up what the derivatives by the leaves' scales need, without going through the leaves again."""
    sums = _Derivatives(level)
    with level.code.loop(level.row[levels.GROUPS]) as group, sums.of(group):
        S, mean = level.parents(group)
        sums.add(leaf_moments.expected(level, group, mean, S, factors))
    sums.write()


class _Derivatives:
    """Twice the derivatives by a level's variances: for each parent, or all together."""

    def __init__(self, level: Level) -> None:
        self._level = level
        self._totals = [Variable(level.code, level.code.splat(0.0)) for _ in range(level.shape.p)]
        self._at = level.memory.scratch + level.row[levels.SUMS]

    @contextmanager
    def of(self, group: Whole) -> Iterator[None]:
        """Take in the families of a group."""
        level = self._level
        if not level.shape.per_parent:
            yield
            return
        for total in self._totals:
            total.set(level.code.splat(0.0))
        yield
        places, scales = level.places(levels.PARENT_NODE, group), level.row[levels.SCALES]
        for j, total in enumerate(self._totals):
            (self._at + scales * j).add(places, total.get())

    def add(self, values: Vector) -> None:
        """Add a vector of nodes', (p,)."""
        for total, value in zip(self._totals, values, strict=True):
            total.add(value)

    def write(self) -> None:
        """Put down what was added up over all groups."""
        if not self._level.shape.per_parent:
            for j, total in enumerate(self._totals):
                self._at[j] = total.get().total()


def draw(level: Level, precision: Number, v: Vector, noise: Doubles) -> None:
    """Draw the coefficients of a level, less their pivots, given the parents' coefficients.

    `noise` is standard normal, (p, slots). Inner nodes' values go where the first column of h was, those of
    leaves to where their noise was.
    """
    shape, row = level.shape, level.row
    factor, size = precision.call("sqrt"), row[levels.SIZE]
    with level.code.loop(row[levels.GROUPS]) as group:
        x = level.variances(group)
        _, above = level.parents(group)
        with level.children(group) as slot:
            node = level.node(slot, factor)
            z = _moved([row[0] for row in above], node.before, v)
            linear = [any_effects.dot(terms, v) for terms in node.h]
            numbers = [(noise + slot).vector(size * k) for k in range(shape.p)]
            found = shape.algebra.draw(node.root, node.P, linear, z, x, numbers)
            for k, value in enumerate(_moved(found, node.after, v)):
                if level.leaves:
                    (noise + slot).put(size * k, value)
                else:
                    level.write_state(slot, [value], shape.triangle + k * shape.m)


def _moved(values: Vector, shift: Matrix | None, v: Vector) -> Vector:
    """Coefficients about another point."""
    if shift is None:
        return values
    return [value + any_effects.dot(e, v) for value, e in zip(values, shift, strict=True)]


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
