"""Messages over the tree as least squares: each node's information is a few weighted rows.

What the data below a node say of its coefficients beta is exp(-1/2 sum_j d_j (v_j' beta - rho_j)^2), one
row for each effect j, v_j with a one at j and zeros before it: the square-root form of precision and linear
term, without square roots. Two operations are all that a pass up needs, and neither subtracts sums of squares
from one another, so that what is small beside its parts is as precise as what is large:

`widened`: integrate out a deviation eps ~ Normal(0, x) of effect j. Row j, then those above it, are added to
the row eps^2 / x one at a time by

    pi' = pi + x d g^2        d -> d pi / pi'        v -> v - g u        u += (x d g / pi') (v - g u),

g being the row's coefficient of effect j, pi = 1 and u = 0 at first. The density gains pi^-1/2, and given the
parent, eps ~ Normal(-u' beta_pa + u_rho, x / pi). x may be zero.

`merged`: stack the rows of all children and triangularize them, column by column, by weighted means and
deviations from them, d = sum d_i and v = sum d_i v_i / d: what a table of means and sums of squares is added
up by. What is left over are the deviations of the right-hand sides.

These are Bierman's sequential square-root-free updates and the modified Gram-Schmidt process; for two effects
they are the closed form of (P^-1 + D^2)^-1. Sources: Bierman (1977), "Factorization Methods for Discrete
Sequential Estimation", chapters 5 and 6; Bjorck (1967), BIT 7, on the precision of the latter.

The functions take NumPy's arrays and PyTensor's variables alike; the last axis is the node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, eq=False)
class Factor:
    """Rows of all nodes of a level.

    Parameters
    ----------
    weights : tuple of array, (..., n)
        d of each row.
    rows : tuple of mapping of int to array, (..., n)
        Row j's coefficients of columns k > j. Columns are the p effects; p, the outcome; and p + 1, if
        there are covariates, all of them in one array with a first axis more.
    """

    weights: tuple[Any, ...]
    rows: tuple[Mapping[int, Any], ...]


@dataclass(frozen=True, eq=False)
class Deviation:
    """What a deviation became when it was integrated out: given the parent, Normal of variance x / growth.

    Parameters
    ----------
    effect : int
        Its column.
    growth : array, (..., n)
        pi.
    gains : mapping of int to array, (..., n)
        u of all columns but the effect's own, which is 1 - 1 / pi.
    """

    effect: int
    growth: Any
    gains: Mapping[int, Any]


@dataclass(frozen=True, eq=False)
class Remainder:
    """A row without coefficients: what children disagree about.

    Parameters
    ----------
    weight : array, (..., n)
        Its weight.
    right : mapping of int to array, (..., n)
        Its right-hand sides, by column.
    """

    weight: Any
    right: Mapping[int, Any]


class Family(Protocol):
    """Sums and copies between the nodes of a level and their parents."""

    def total(self, children: Any) -> Any:
        """Sum over each parent's children, (..., n) to (..., n_parents)."""
        ...

    def copied(self, parents: Any) -> Any:
        """Give each child its parent's value, (..., n_parents) to (..., n)."""
        ...

    def positive(self, weight: Any) -> Any:
        """Replace zeros by ones."""
        ...


def widened(factor: Factor, variances: Mapping[int, Any]) -> tuple[Factor, list[Deviation]]:
    """Integrate out the deviations of the effects in `variances`, the last effect first."""
    deviations = []
    for effect in sorted(variances, reverse=True):
        factor, deviation = _widened_by_one(factor, effect, variances[effect])
        deviations.append(deviation)
    return factor, deviations


def _widened_by_one(factor: Factor, j: int, variance: Any) -> tuple[Factor, Deviation]:
    weights, rows = list(factor.weights), list(factor.rows)
    gain = variance * weights[j]
    growth = 1.0 + gain
    inverse = growth**-1.0
    weights[j] = weights[j] * inverse
    share = gain * inverse
    gains = {k: share * v for k, v in rows[j].items()}
    for i in reversed(range(j)):
        g = rows[i][j]
        gain = variance * weights[i] * g
        grown = growth + gain * g
        row = {k: v - g * gains[k] for k, v in rows[i].items() if k != j}
        inverse_grown = grown**-1.0
        weights[i] = weights[i] * (growth * inverse_grown)
        share = gain * inverse_grown
        gains = {k: u + share * row[k] for k, u in gains.items()}
        # The row's own coefficient is one. 1 - u_j = 1 / pi: without the difference.
        gains[i] = share
        row[j] = g * inverse
        rows[i], growth, inverse = row, grown, inverse_grown
    return Factor(tuple(weights), tuple(rows)), Deviation(j, growth, gains)


def merged(factor: Factor, family: Family) -> tuple[Factor, list[Remainder]]:
    """Put the rows of each parent's children together."""
    weights, rows = [], []
    left: list[dict[int, Any]] = [dict(row) for row in factor.rows]
    for j in range(len(left)):
        active = [(factor.weights[i] * left[i][j], left[i]) for i in range(j)]
        own = factor.weights[j]
        weight = family.total(_sum([own, *(w * row[j] for w, row in active)]))
        inverse = family.positive(weight) ** -1.0
        mean = {
            k: family.total(_sum([own * v, *(w * row[k] for w, row in active)])) * inverse
            for k, v in left[j].items()
        }
        weights.append(weight)
        rows.append(mean)
        for k, value in mean.items():
            common = family.copied(value)
            left[j][k] = left[j][k] - common
            for i in range(j):
                left[i][k] = left[i][k] - left[i][j] * common
    p = len(left)
    remainders = [
        Remainder(weight, {k: v for k, v in row.items() if k >= p})
        for weight, row in zip(factor.weights, left, strict=True)
    ]
    return Factor(tuple(weights), tuple(rows)), remainders


@dataclass(frozen=True, eq=False)
class Ascent:
    """What the pass up found.

    Parameters
    ----------
    deviations : tuple of tuple of Deviation
        Of each level from the leaves up, then of the root, each in the order in which they were integrated
        out: the last effect first.
    remainders : tuple of Remainder
        From all levels.
    """

    deviations: tuple[tuple[Deviation, ...], ...]
    remainders: tuple[Remainder, ...]


def ascended(
    leaves: Factor,
    levels: Sequence[tuple[Mapping[int, Any], Family | None]],
    root: tuple[Mapping[int, Any], Sequence[Any]],
) -> Ascent:
    """Integrate out all coefficients of the tree.

    Parameters
    ----------
    leaves : Factor
        What the rows of each leaf say.
    levels : sequence of (mapping of int to array, Family or None)
        From the leaves up: the variances of the effects that vary, (..., n or 1), and how to reach the
        parents; None where every parent has one child.
    root : (mapping of int to array, sequence of array)
        Variances of the population's coefficients that are not fixed, and the means of all p.
    """
    factor, deviations, remainders = leaves, [], []
    for variances, family in levels:
        factor, found = widened(factor, variances)
        deviations.append(tuple(found))
        if family is not None:
            factor, left = merged(factor, family)
            remainders += left
    variances, means = root
    factor, found = widened(factor, variances)
    return Ascent((*deviations, tuple(found)), (*remainders, *at(factor, means)))


def at(factor: Factor, beta: Sequence[Any]) -> list[Remainder]:
    """Fix the coefficients at `beta`, one entry for each effect."""
    p = len(beta)
    found = []
    for j, (weight, row) in enumerate(zip(factor.weights, factor.rows, strict=True)):
        known = _sum([beta[j], *(row[k] * beta[k] for k in range(j + 1, p))])
        right = {k: v for k, v in row.items() if k >= p}
        found.append(Remainder(weight, {**right, p: right[p] - known}))
    return found


def _sum(terms: Sequence[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
