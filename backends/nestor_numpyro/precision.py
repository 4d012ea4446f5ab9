r"""The precision that the rows below a node give its coefficients, and how effects are integrated out.

A node's rows put the Gaussian potential -1/2 b'P b + b'h on its coefficients b (about a pivot). Given the
parent's, b is that plus independent Normal deviations with variances x_j, and these can be integrated out
one after another. With s = 1 + x P_jj, effect j leaves

    P <- P - P_j P_j' x / s,    h <- h - P_j h_j x / s,    log marginal += -1/2 log s + 1/2 h_j^2 x / s,

P_j being a column of P: the matrix inversion lemma for one column. Nothing is divided by x, so that effects
which do not vary, x = 0, are merely left out; there is no square root that could have an infinite slope. On
the way down the deviations are drawn in the reverse order: given b so far, deviation j is Normal with mean
(h_j - P_j'b) x / s and variance x / s, where P and h are those from before effect j was integrated out.

As written the diagonal of P - P_j P_j' x / s cancels where rows say much and effects are correlated. For two
effects it is (P_kk + x det P) / s, a sum of positive terms. Leaves, whose P may be huge, do without it
(`nestor_numpyro.leaves`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import jax.numpy as jnp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Entries of a symmetric matrix of arrays, both triangles.
type Entries = list[list[Any]]


class Precision(Protocol):
    """P of many nodes at once, each entry an array (n,)."""

    def column(self, j: int) -> list[Any]:
        """Column j."""
        ...

    def without(self, j: int, x: Any, s: Any) -> Self:
        """Return what effect j leaves, with variance x and s = 1 + x P_jj."""
        ...


@dataclass(frozen=True)
class One:
    """P of one effect."""

    a: Any

    def column(self, j: int) -> list[Any]:
        """The only entry."""
        del j
        return [self.a]

    def without(self, j: int, x: Any, s: Any) -> One:
        """Return what the effect leaves."""
        del j, x
        return One(self.a / s)


@dataclass(frozen=True)
class Two:
    """P = [a b; b c] of two effects, and its determinant."""

    a: Any
    b: Any
    c: Any
    det: Any

    def column(self, j: int) -> list[Any]:
        """Column j."""
        return [self.a, self.b] if j == 0 else [self.b, self.c]

    def without(self, j: int, x: Any, s: Any) -> Two:
        """Return what effect j leaves, by sums of positive terms."""
        r = 1.0 / s
        a = self.a if j == 0 else self.a + x * self.det
        c = self.c if j == 1 else self.c + x * self.det
        return Two(a * r, self.b * r, c * r, self.det * r)


@dataclass(frozen=True)
class Many:
    """P of any number of effects, by its entries."""

    entries: Entries

    def column(self, j: int) -> list[Any]:
        """Column j."""
        return self.entries[j]

    def without(self, j: int, x: Any, s: Any) -> Many:
        """Return what effect j leaves."""
        own = [value / s for value in self.entries[j]]
        p = len(own)
        rest: Entries = [[None] * p for _ in range(p)]
        for k in range(p):
            for i in range(k + 1):
                if j in (i, k):
                    entry = own[i if k == j else k]
                else:
                    entry = self.entries[k][i] - x * own[k] * self.entries[j][i]
                rest[k][i] = rest[i][k] = entry
        return Many(rest)


def of_entries(entries: Entries) -> Precision:
    """Return P by its entries, which are sums over children."""
    if len(entries) == 1:
        return One(entries[0][0])
    if len(entries) == 2:
        (a, b), (_, c) = entries
        return Two(a, b, c, jnp.maximum(a * c - b * b, 0.0))
    return Many(entries)


@dataclass(frozen=True)
class Stage:
    """One effect that was integrated out, for the way down.

    Parameters
    ----------
    effect : int
        Its position, j.
    column : list of Array, (n,)
        P_j before.
    linear : list of Array, (n,)
        h_j before, for each column of the outcome and the covariates.
    gain : Array, (n,)
        x / s.
    """

    effect: int
    column: list[Any]
    linear: list[Any]
    gain: Any


@dataclass(frozen=True)
class Left:
    """The message of nodes to their parents, coefficients integrated out; each entry is an array (n,).

    Parameters
    ----------
    P : list of list of Array
        Precision on the parent's coefficients.
    h : list of list of Array
        Linear term, effect by column.
    log_det : Array
        Sum of log s.
    squares : list of list of Array
        Sum of h_j h_j' x / s, column by column.
    stages : list of Stage
        In the order in which effects were integrated out.
    """

    P: Entries
    h: Entries
    log_det: Any
    squares: Entries
    stages: list[Stage]


def integrate(precision: Precision, h: Entries, variances: Mapping[int, Any]) -> Left:
    """Integrate out the deviations of nodes from their parents.

    Parameters
    ----------
    precision : Precision
        P, for p effects.
    h : list of list of Array
        Linear terms, effect by column.
    variances : mapping of int to Array
        x of the effects that vary.
    """
    stages: list[Stage] = []
    log_det = jnp.zeros_like(precision.column(0)[0])
    squares: Entries = [[log_det for _ in h[0]] for _ in h[0]]
    for j, x in variances.items():
        column = precision.column(j)
        s = 1.0 + x * column[j]
        gain = x / s
        stages.append(Stage(j, column, h[j], gain))
        log_det = log_det + jnp.log(s)
        squares = [
            [taken + gain * u * v for taken, v in zip(row, h[j], strict=True)]
            for row, u in zip(squares, h[j], strict=True)
        ]
        h = _shrunk(h, stages[-1], s)
        precision = precision.without(j, x, s)
    p = len(precision.column(0))
    return Left([precision.column(j) for j in range(p)], h, log_det, squares, stages)


def _shrunk(h: Entries, stage: Stage, s: Any) -> Entries:
    """Return h - P_j h_j x / s; its row j is h_j / s."""
    j = stage.effect
    return [
        [v / s for v in row]
        if k == j
        else [
            v - stage.column[k] * stage.gain * own for v, own in zip(row, stage.linear, strict=True)
        ]
        for k, row in enumerate(h)
    ]


def multiply(P: Entries, e: Sequence[Sequence[Any]]) -> Entries:
    """P e, effect by column."""
    return [
        [sum(P[j][k] * e[k][m] for k in range(len(P))) for m in range(len(e[0]))]
        for j in range(len(P))
    ]


def inner(e: Sequence[Sequence[Any]], f: Sequence[Sequence[Any]]) -> Entries:
    """e'f, column by column."""
    columns = range(len(e[0]))
    return [[sum(e[j][m] * f[j][i] for j in range(len(e))) for i in columns] for m in columns]
