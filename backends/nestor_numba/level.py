"""What the kernels know of a level: a row of the table of integers, and where things are in the scratch.

Arrays are one long one each, of constants, of integers and of scratch; the table holds places in them. The
state of a level has, slot by slot, the lower triangle of P (row by row) and then h, one array after another.
"""

from __future__ import annotations

#: Numbers of slots and of groups.
SIZE, GROUPS = 0, 1
#: Places among the integers: groups' first slots and counts; families' parents, as slots and as nodes.
FIRST, COUNT, PARENT_SLOT, PARENT_NODE = 2, 3, 4, 5
#: Places among the constants: square roots (leaves only) and shifts.
ROOT, SHIFT = 6, 7
#: Places in the scratch of the state (not of leaves) and of the parents'; number of the parents' slots.
STATE, PARENT_STATE, PARENT_SIZE = 8, 9, 10
#: Whether scales belong to parents; places in the scratch of their squares and of the sums that the gradient
#: needs; how many there are of each effect.
PER_PARENT, VARIANCE, SUMS, SCALES = 11, 12, 13, 14
#: Place in the scratch of what the general kernel's steps leave for the way down (not of leaves).
STEPS = 15
#: General kernel: numbers of effects and columns; places in the scratch of its own variables, of the quadratic
#: form (m, m), and of the factor (m, m) of the columns' second moments.
EFFECTS, COLUMNS, LOCAL, FORM, FACTOR = 16, 17, 18, 19, 20
WIDTH = 21

#: Mantissas, below 2 each, whose product cannot overflow.
SAFE = 512
