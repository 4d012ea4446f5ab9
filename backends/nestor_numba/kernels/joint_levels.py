"""Passes over one level whose coefficients are sampled, eight nodes at a time.

An effect of a node is given by e, its deviation from its parent in units of tau, and by z, what is sampled:

    centred:        b = z             e = (b - parent) / tau
    not centred:    b = parent + tau z        e = z
    inherited:      b = parent                e = 0

Two numbers, c = 1 where it is centred and n = 1 where it is not, make one formula of these, without
branches. With g the derivative of the log density by b, all else below included, one pass up needs

    d/dz = (c + n tau) g - (c / tau + n) e,   message to the parent: m = (1 - c) g + (c / tau) e,
    d/dtau = sum e m - (c / tau) nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nestor_numba.kernels import joint_places as at
from nestor_numba.kernels.emit import Variable

if TYPE_CHECKING:
    from nestor_numba.kernels.emit import Code
    from nestor_numba.kernels.joint_places import Kind
    from nestor_numba.kernels.levels import Memory
    from nestor_numba.kernels.values import Doubles, Longs, Number, Whole


@dataclass(frozen=True)
class Effect:
    """One effect of a level: where its numbers are, and how it is sampled.

    Parameters
    ----------
    b, g, e, above, above_g : Doubles
        Coefficients, derivatives by them, deviations, and the first two of the parents.
    point, gradient : Doubles
        What is sampled, and the derivatives by it.
    scale, reciprocal, derivative : Doubles
        tau, 1 / tau, and the derivative by tau: one, or one for each parent.
    centred, noncentred : Number
        Flags of the module's formulas.
    """

    b: Doubles
    g: Doubles
    e: Doubles
    above: Doubles
    above_g: Doubles
    point: Doubles
    gradient: Doubles
    scale: Doubles
    reciprocal: Doubles
    derivative: Doubles
    centred: Number
    noncentred: Number


@dataclass(frozen=True)
class NodeLevel:
    """One level, as its row of the table tells.

    Parameters
    ----------
    kind : Kind
        What code is written for.
    code : Code
        Where it goes.
    memory : Memory
        The arrays.
    row : Longs
        Of the table.
    """

    kind: Kind
    code: Code
    memory: Memory
    row: Longs

    def _scratch(self, begin: int, stride: int, j: int) -> Doubles:
        return self.memory.scratch + (self.row[begin] + self.row[stride] * j)

    def effects(self) -> list[Effect]:
        """Every effect."""
        header, scratch = self.memory.integers, self.memory.scratch
        found = []
        for j in range(self.kind.p):
            flags = self.memory.constants + (self.row[at.FLAGS] + 2 * j)
            scale, point, gradient = (
                self.row[at.EFFECTS + at.PER_EFFECT * j + i] for i in range(3)
            )
            found.append(
                Effect(
                    b=self._scratch(at.B, at.STRIDE, j),
                    g=self._scratch(at.G, at.STRIDE, j),
                    e=self._scratch(at.DEVIATION, at.STRIDE, j),
                    above=self._scratch(at.ABOVE_B, at.PARENT_STRIDE, j),
                    above_g=self._scratch(at.ABOVE_G, at.PARENT_STRIDE, j),
                    point=scratch + point,
                    gradient=scratch + gradient,
                    scale=scratch + (header[at.SCALES] + scale),
                    reciprocal=scratch + (header[at.RECIPROCALS] + scale),
                    derivative=scratch + (header[at.DERIVATIVES] + scale),
                    centred=flags[0],
                    noncentred=flags[1],
                )
            )
        return found

    def integers(self, begin: int, i: Whole) -> list[Whole]:
        """`at.LANES` integers of an array of the level."""
        place = self.memory.integers + (self.row[begin] + i)
        return [place[lane] for lane in range(at.LANES)]

    def scales(self, effects: list[Effect], i: Whole) -> list[tuple[Number, Number]]:
        """Scale and reciprocal of each effect of eight nodes."""
        if not self.kind.per_parent:
            return [(effect.scale[0], effect.reciprocal[0]) for effect in effects]
        which = self.integers(at.NODE_SCALE, i)
        return [(effect.scale.gather(which), effect.reciprocal.gather(which)) for effect in effects]


def down(level: NodeLevel) -> Number:
    """Coefficients and deviations of all nodes; returns the sum of squares of the deviations."""
    code, effects = level.code, level.effects()
    squares = Variable(code, code.splat(0.0))
    nodes = level.row[at.NODES]
    with code.loop(nodes, at.LANES) as i:
        inside = code.lanes_below(nodes - i)
        parents = level.integers(at.PARENT, i)
        for effect, (tau, reciprocal) in zip(effects, level.scales(effects, i), strict=True):
            above, z = effect.above.gather(parents), effect.point.vector(i)
            b = (1.0 - effect.centred) * above + (effect.centred + effect.noncentred * tau) * z
            e = (effect.centred * reciprocal) * (b - above) + effect.noncentred * z
            e = code.blend(inside, e, 0.0)
            effect.b.put(i, b)
            effect.e.put(i, e)
            squares.add(e * e)
    return squares.get().total()


def up(level: NodeLevel) -> None:
    """Derivatives by what is sampled and by the scales; messages to the parents, in the place of g."""
    code, effects = level.code, level.effects()
    nodes = level.row[at.NODES]
    totals = [Variable(code, code.splat(0.0)) for _ in effects]
    with code.loop(nodes, at.LANES) as i:
        inside = code.lanes_below(nodes - i)
        scales = level.scales(effects, i)
        for effect, (tau, reciprocal), total in zip(effects, scales, totals, strict=True):
            c, n = effect.centred, effect.noncentred
            # Beyond the last node stands what other calls have left, which may be no number.
            g, e = code.blend(inside, effect.g.vector(i), 0.0), effect.e.vector(i)
            slope = (c + n * tau) * g - (c * reciprocal + n) * e
            # The last vector reaches into what belongs to others.
            effect.gradient.put(i, code.blend(inside, slope, effect.gradient.vector(i)))
            message = (1.0 - c) * g + (c * reciprocal) * e
            effect.g.put(i, message)
            if level.kind.per_parent:
                effect.e.put(i, e * message)
            else:
                total.add(e * message)
    if not level.kind.per_parent:
        for effect, total in zip(effects, totals, strict=True):
            effect.derivative[0] = effect.derivative[0] + total.get().total()
    _to_parents(level, effects)


def _to_parents(level: NodeLevel, effects: list[Effect]) -> None:
    """Add up what the children of each parent say."""
    code, integers = level.code, level.memory.integers
    children = integers + level.row[at.CHILDREN]
    with code.loop(level.row[at.PARENTS]) as parent:
        begin = children[parent]
        count = children[parent + 1] - begin
        sums = [Variable(code, code.splat(0.0)) for _ in effects]
        changes = [Variable(code, code.splat(0.0)) for _ in effects]
        with code.loop(count, at.LANES) as i:
            inside = code.lanes_below(count - i)
            for effect, total, change in zip(effects, sums, changes, strict=True):
                total.add(code.blend(inside, effect.g.vector(begin + i), 0.0))
                if level.kind.per_parent:
                    change.add(code.blend(inside, effect.e.vector(begin + i), 0.0))
        for effect, total in zip(effects, sums, strict=True):
            effect.above_g[parent] = total.get().total()
        if level.kind.per_parent:
            which = integers[level.row[at.PARENT_SCALE] + parent]
            for effect, change in zip(effects, changes, strict=True):
                effect.derivative[which] = effect.derivative[which] + change.get().total()
