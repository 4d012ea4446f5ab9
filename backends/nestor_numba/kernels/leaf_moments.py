"""Derivatives by the leaves' variances without a second pass over the leaves, for up to two effects.

A leaf tells its parent -(z'Q z - 2 t'z) / 2 at the parent's coefficients z, and by the variance x_j of an
innovation that changes by

    d log p / dx_j = ((t_j - Q_j'z)^2 - Q_jj) / 2,

Q_j being row j of Q. Its expectation over the parent's z, with mean z and covariance S, is a polynomial in
z z' + S of which the coefficients are products of t and Q. They are added up over each family on the way up,
when t and Q are known anyway; the parents' moments come afterwards. With covariates t is linear in v, as in
`any_effects`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor_numba.kernels import any_effects, levels
from nestor_numba.kernels.emit import Variable

if TYPE_CHECKING:
    from nestor_numba.kernels.any_effects import Matrix, Vector
    from nestor_numba.kernels.emit import Code
    from nestor_numba.kernels.levels import Level, Shape
    from nestor_numba.kernels.values import Doubles, Number, Whole

#: Names of a product's two factors: entries of Q as (row, column), of t as (effect, p + column).
type Pair = tuple[tuple[int, int], tuple[int, int]]


def pairs(shape: Shape) -> list[Pair]:
    """Which products are added up: of any two of Q_j and t_j, for each j; each product once."""
    found: dict[Pair, None] = {}
    for j in range(shape.p):
        names = _names(shape, j)
        for i, one in enumerate(names):
            for other in names[i:]:
                found[_ordered(one, other)] = None
    return list(found)


def width(shape: Shape) -> int:
    """Numbers kept of each family: the products, and the sums of Q_jj."""
    return len(pairs(shape)) + shape.p


def _names(shape: Shape, j: int) -> list[tuple[int, int]]:
    """Entries of Q_j, then of t_j."""
    rows = [(max(i, j), min(i, j)) for i in range(shape.p)]
    return rows + [(j, shape.p + c) for c in range(shape.m)]


def _ordered(one: tuple[int, int], other: tuple[int, int]) -> Pair:
    return (one, other) if one <= other else (other, one)


class FamilySums:
    """The products of a group's families, while its children are gone through."""

    def __init__(self, code: Code, shape: Shape) -> None:
        self._shape = shape
        self._sums = {pair: Variable(code, code.splat(0.0)) for pair in pairs(shape)}

    def add(self, Q: Matrix, t: Matrix) -> None:
        """Take in a vector of leaves' messages."""
        p = self._shape.p
        entries = {(i, k): Q[i][k] for i in range(p) for k in range(i + 1)}
        entries |= {(j, p + c): t[j][c] for j in range(p) for c in range(self._shape.m)}
        for (one, other), total in self._sums.items():
            total.add(entries[one] * entries[other])

    def keep(self, level: Level, group: Whole, diagonal: Vector) -> None:
        """Store them, and the sums of Q_jj."""
        at = _place(level, group)
        values = [*(total.get() for total in self._sums.values()), *diagonal]
        for i, value in enumerate(values):
            at.put(self._shape.lanes * i, value)


def expected(level: Level, group: Whole, mean: Matrix, S: Matrix, factors: Matrix | None) -> Vector:
    """Twice the derivatives by the variances, (p,), of a group's families.

    Parameters
    ----------
    level, group
        Of leaves that have been gone through.
    mean, S : Matrix
        The parents' means, (p, m), and covariances.
    factors : Matrix or None
        Factor of E[v v'], (m, m); None for one column of 1.
    """
    shape, at = level.shape, _place(level, group)
    p, m, names = shape.p, shape.m, pairs(shape)
    sums = {pair: at.vector(shape.lanes * i) for i, pair in enumerate(names)}
    columns = [[mean[i][r] for i in range(p)] for r in range(m)]
    weights = [_terms(level.code, factors, r) for r in range(m)]
    found = []
    for j in range(p):
        total = 0.0 - at.vector(shape.lanes * (len(names) + j))
        for i, one in enumerate(_names(shape, j)):
            for k, other in enumerate(_names(shape, j)):
                second = [a[i] * a[k] for a in _signed(columns, weights)]
                moment = _added(second)
                if i < p and k < p:
                    moment = moment + S[i][k]
                total = total + sums[_ordered(one, other)] * moment
        found.append(total)
    return found


def _signed(columns: list[Vector], weights: list[Vector]) -> list[Vector]:
    """What (Q_j, t_j) is multiplied with, by column of F: the mean, with a minus sign, then weights of t."""
    return [
        [*(0.0 - value for value in z), *terms] for z, terms in zip(columns, weights, strict=True)
    ]


def _terms(code: Code, factors: Matrix | None, r: int) -> Vector:
    return [code.real(1.0)] if factors is None else any_effects.column(factors, r)


def _added(values: Vector) -> Number:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _place(level: Level, group: Whole) -> Doubles:
    begin = level.row[levels.MOMENTS] + group * (level.shape.lanes * width(level.shape))
    return level.memory.scratch + begin
