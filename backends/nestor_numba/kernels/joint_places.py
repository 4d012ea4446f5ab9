"""Which instructions the joint density needs, and where its kernels find the numbers of a problem.

Only what decides which instructions there are is compiled in (`Kind`); trees, priors, formulations and data
are in two arrays, of constants and of integers, whose places a header and a table of levels name.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Self

#: Numbers in a vector.
LANES = 8

# Places of the header, at the beginning of the integers.
#: Levels, the place of their table, unconstrained scalars, and how many of these fill whole vectors.
LEVELS, TABLE, DIMENSION, FULL = range(4)
#: Population coefficients, gamma among them: how many on the whole line, and the place of their priors among
#: the constants; places among the integers of where their values and derivatives are in the scratch, those
#: with other supports, which are the first of the scalars below, after the rest.
LOCATIONS, LOCATION_PRIORS, LOCATION_VALUES, LOCATION_SLOPES = range(4, 8)
#: Scalars of other supports, scales and the family's parameters last: how many, the places among the
#: constants of their priors and of the numbers of centred coefficients that each scales; which one is sigma,
#: and nu, -1 if it is known.
SCALARS, PRIORS, COUNTS, SIGMA, NU = range(8, 13)
#: Place among the constants of N, the known sigma and nu, and the constant of the log density.
NUMBERS = 13
#: Places in the scratch: the point and its gradient; scalars, their reciprocals, slopes dx/dz, and
#: derivatives of the log density by x; gamma and the derivatives by it.
POINT, GRADIENT, SCALES, RECIPROCALS, SLOPES, DERIVATIVES, GAMMA, GAMMA_SLOPES = range(14, 22)
#: Leaves, and where their coefficients and the derivatives are in the scratch, and the length of a row.
LEAVES, LEAF_B, LEAF_G, LEAF_STRIDE = range(22, 26)
#: Rows: where each leaf's begin, among the integers; the columns among the constants (outcome less offset,
#: effects but for an intercept, covariates, weights, counts), and how long a column is.
STARTS, COLUMNS, ROW_STRIDE = range(26, 29)
#: Leaf statistics among the constants: square roots, fits, cross-products of remainders, gamma's pivot.
ROOT, FIT, RESIDUAL, GAMMA_PIVOT = range(29, 33)
#: How many of the scalars are population coefficients.
CONFINED = 33
HEADER = 34

# Places of a row of the table of levels; those with an effect each begin there.
#: Nodes, length of a row of them, nodes of the level above, length of a row of those.
NODES, STRIDE, PARENTS, PARENT_STRIDE = range(4)
#: Among the integers: each node's parent, where each parent's children begin, and which of several scales
#: an effect of a node, and of a parent's children, has.
PARENT, CHILDREN, NODE_SCALE, PARENT_SCALE = range(4, 8)
#: In the scratch: coefficients, their derivatives, standardized deviations; the parents' first two.
B, G, DEVIATION, ABOVE_B, ABOVE_G = range(8, 13)
#: Place among the constants of two numbers for each effect: 1 if it is centred, 1 if it is not centred.
FLAGS = 13
#: For each effect: first scale, point and gradient, in the scratch.
EFFECTS, PER_EFFECT = 14, 3


@dataclass(frozen=True)
class Kind:
    """What decides which instructions there are; all numbers, so that they can name a compiled function.

    Parameters
    ----------
    p, c : int
        Effects and covariates.
    ones : int
        The effect that is an intercept, -1 for none.
    per_parent : int
        Whether any level has scales for each parent.
    student : int
        Whether the outcome is student_t; else it is gaussian.
    statistics : int
        Whether a gaussian likelihood is one of leaf statistics.
    triangular : int
        Whether their square roots are.
    weighted, counted : int
        Whether rows have weights, and counts.
    """

    p: int
    c: int
    ones: int
    per_parent: int
    student: int
    statistics: int
    triangular: int
    weighted: int
    counted: int

    @classmethod
    def of(cls, numbers: tuple[int, ...]) -> Self:
        """The kind whose `numbers` these are."""
        return cls(*(number - 1 for number in numbers))

    @property
    def numbers(self) -> tuple[int, ...]:
        """Positive numbers, one for each entry."""
        return tuple(number + 1 for number in astuple(self))

    @property
    def level_width(self) -> int:
        """Numbers of a row of the table of levels."""
        return EFFECTS + PER_EFFECT * self.p

    @property
    def root_entries(self) -> list[tuple[int, int]]:
        """Entries of a square root that are stored."""
        first = range(self.p)
        return [(i, j) for i in first for j in (range(i, self.p) if self.triangular else first)]
