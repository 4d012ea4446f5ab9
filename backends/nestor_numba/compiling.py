"""How the kernels are compiled."""

from __future__ import annotations

from functools import partial

import numba

#: Division by zero gives infinity, as in NumPy, and is not looked for before each division.
njit = partial(numba.njit, error_model="numpy", nogil=True)
