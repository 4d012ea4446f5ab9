"""What the kernels know of a level: a row of a table of integers.

Arrays are one long one each, of constants, of integers and of scratch; the table holds places in them. The
state of a level has, slot by slot, the lower triangle of P (row by row) and then h, one array after another.
"""

from __future__ import annotations

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
