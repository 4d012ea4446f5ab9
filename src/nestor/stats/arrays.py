"""Types of arrays, for annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Floats of 64 bits.
type FloatArray = NDArray[np.float64]
#: Positions or counts, of the size of a pointer.
type IntArray = NDArray[np.intp]
#: Truth values.
type BoolArray = NDArray[np.bool_]
