"""Passes over one level, eight families at a time; nodes are `two_effects` or `any_effects`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor_numba import any_effects
from nestor_numba import level as column
from nestor_numba.emit import Variable
from nestor_numba.levels import LogProduct
from nestor_numba.values import LANES

if TYPE_CHECKING:
    from nestor_numba.any_effects import Matrix, Vector
    from nestor_numba.levels import Level, Node
    from nestor_numba.values import Doubles, Number, Whole

#: Cross-products of the columns, (m, m).
type Form = list[list[Variable]]

#: Diagonal of a square root that knows nothing yet: its square is far below what anyone knows, and not zero.
_NOTHING = 1e-150


def up(level: Level, precision: Number, form: Form) -> Number:
    """Send the messages of a level to its parents, add to the quadratic form; returns the sum of log det."""
    code, shape, row = level.code, level.shape, level.row
    factor = precision.call("sqrt")
    forms = [[Variable(code, code.splat(0.0)) for _ in range(shape.m)] for _ in range(shape.m)]
    logs = LogProduct.begin(code)
    with code.loop(row[column.GROUPS]) as group:
        x = level.variances(group)
        sums = [Variable(code, code.splat(0.0)) for _ in range(shape.state)]
        if shape.rooted:
            for i in range(shape.p):
                sums[i * (i + 1) // 2 + i].set(code.splat(_NOTHING))
        with level.children(group) as slot:
            dets = _take_in(level, level.node(slot, factor), x, sums, forms)
            for det in dets:
                logs.times(det)
        if shape.rooted:
            _send_roots(level, group, sums, form)
        else:
            at = level.memory.scratch + row[column.PARENT_STATE]
            places, size = level.places(column.PARENT_SLOT, group), row[column.PARENT_SIZE]
            for i, total in enumerate(sums):
                (at + size * i).add(places, total.get())
    for c in range(shape.m):
        for d in range(shape.m):
            form[c][d].add(forms[c][d].get().total())
    return logs.log()


def _take_in(level: Level, node: Node, x: Vector, sums: list[Variable], forms: Form) -> Vector:
    """Add a node's message to its family's sums and to the quadratic form; factors of its determinant."""
    shape = level.shape
    if shape.rooted:
        assert node.root is not None  # noqa: S101 - of rooted shapes all nodes have one
        V, R, dets = any_effects.up_rows(node.root, node.h, x)
        P, T = level.unpacked([total.get() for total in sums])
        W = level.upper(P)
        found = any_effects.merge(W, T, V, R)
        told = level.packed([[W[j][i] for j in range(shape.p)] for i in range(shape.p)], T)
        for total, value in zip(sums, told, strict=True):
            total.set(value)
    else:
        message = shape.algebra.up(node.root, node.P, node.h, node.before or [], x)
        for total, value in zip(sums, level.packed(message.P, message.h), strict=True):
            total.add(value)
        found, dets = message.form, message.dets
    for c in range(shape.m):
        for d in range(shape.m):
            forms[c][d].add(found[c][d])
    return dets


def _send_roots(level: Level, group: Whole, sums: list[Variable], form: Form) -> None:
    """Give a group's sums to their parents: as they are, or merged one by one where families were cut."""
    code, shape, row, scratch = level.code, level.shape, level.row, level.memory.scratch
    at, size = scratch + row[column.PARENT_STATE], row[column.PARENT_SIZE]
    buffer = scratch + row[column.BUFFER]
    cut = level.memory.integers[row[column.CUT] + group]
    with code.when(cut.compare("==", 0)):
        places = level.places(column.PARENT_SLOT, group)
        for i, total in enumerate(sums):
            (at + size * i).set_each(places, total.get())
    with code.when(cut.compare("!=", 0)):
        for i, total in enumerate(sums):
            buffer.put(LANES * i, total.get())
        with code.loop(LANES) as lane:
            place = level.memory.integers[row[column.PARENT_SLOT] + group * LANES + lane]
            P, T = level.unpacked([at[size * i + place] for i in range(shape.state)])
            V, R = level.unpacked([buffer[lane + LANES * i] for i in range(shape.state)])
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
            node = level.node(slot, factor)
            z = _shifted(mean, node.before, factors)
            found, z, own = shape.algebra.down(node.root, node.P, node.h, z, S, x, factors)
            for total, value in zip(totals, found, strict=True):
                total.add(value)
            if not level.leaves:
                level.write_state(slot, level.packed(own, _shifted(z, node.after, factors)))
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
