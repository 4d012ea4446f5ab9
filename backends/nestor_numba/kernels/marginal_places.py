"""Where the kernels of marginalized coefficients find the numbers of a problem; see `nestor_numba.tree`."""

from __future__ import annotations

# Places of the header, at the beginning of the integers.
#: Levels, the population's among them, and the place of their table.
LEVELS, TABLE = 0, 1
#: Number of sampled scalars; place among the constants of their priors; places among the integers of where
#: each one's square stands in the scratch, and its sum for the gradient; the scalar that is sigma, -1 if it
#: is known.
SCALARS, PRIORS, SQUARES, GRADIENTS, SIGMA = 2, 3, 4, 5, 6
#: Places among the constants of N, the known sigma, and the constant of the log density; of the remainders'
#: cross-products; of gamma's prior means, less its pivot, and variances.
NUMBERS, RESIDUAL, GAMMA_MEAN, GAMMA_VARIANCE = 7, 8, 9, 10
#: Places in the scratch: what must be zero before a pass (from, to); the state above the population and its
#: length; scalars and their slopes; squares of all scales, their sums for the gradient, and how many.
ZERO_FROM, ZERO_TO, TOP, TOP_SIZE, SCALES, SLOPES, VARIANCES, SUMS, SCALE_COUNT = range(11, 20)
#: Where each level's nodes are (integers: how many, their slots, the order of effects; constants: pivots).
NODES, SLOTS, PIVOTS, ORDER = 20, 21, 22, 23
#: Place among the constants of what was taken from gamma.
GAMMA_PIVOT = 24
HEADER = 25
