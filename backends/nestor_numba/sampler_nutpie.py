"""A density as nutpie's model: the address of a C function that it calls, and of one that copies draws.

nutpie's compiled PyMC models are such pairs of addresses too (nutpie.compile_pymc.CompiledPyMCModel);
nothing of Python runs while chains do.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numba
import pandas as pd
from numba import types
from nutpie import _lib
from nutpie.sample import CompiledModel

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from nestor_numba.evaluating import Density

_POINTER = types.CPointer(types.float64)
_EXPAND = types.int64(types.uint64, types.uint64, _POINTER, _POINTER, types.voidptr)
#: The one variable of the model: all unconstrained scalars, one after another.
POSITION = "position"


@cache
def copying() -> Any:
    """Compile what nutpie calls to expand a draw: here it is kept as it is."""

    @numba.cfunc(_EXPAND, cache=True)
    def nestor_copy(dimension, size, z, out, data):  # type: ignore[no-untyped-def]
        for i in range(size):
            out[i] = z[i]
        return 0

    return nestor_copy


class NutpieModel(CompiledModel):  # type: ignore[misc]
    """What `nutpie.sample` takes.

    Parameters
    ----------
    density : Density
        What is sampled; kept alive as long as chains run.
    initial : callable
        Seed to a starting point, (d,).
    """

    def __init__(self, density: Density, initial: Callable[[Any], NDArray[np.float64]]) -> None:
        super().__init__(dims={POSITION: ("scalar",)})
        # The base class is a frozen dataclass.
        object.__setattr__(self, "density", density)
        object.__setattr__(self, "initial", initial)

    @property
    def n_dim(self) -> int:
        """Number of unconstrained scalars."""
        return int(self.density.dimension)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of the one variable."""
        return {POSITION: (self.n_dim,)}

    @property
    def coords(self) -> dict[str, Any]:
        """None."""
        return {}

    def _make_sampler(
        self,
        settings: Any,
        init_mean: Any,
        cores: Any,
        progress_type: Any,
        extra_callback: Any,
        extra_callback_rate: Any,
        store: Any,
    ) -> Any:
        return _lib.PySampler.from_pymc(
            settings,
            cores,
            self._make_model(),
            progress_type,
            extra_callback,
            extra_callback_rate,
            store,
        )

    def _make_model(self) -> Any:
        d, density = self.n_dim, self.density
        data = density.data.ctypes.data
        expand = _lib.ExpandFunc(d, d, copying().address, data, self)
        log_density = _lib.LogpFunc(density.function.address, data, self)
        sizes = {"scalar": d}
        names = pd.Index([f"{POSITION}_{i}" for i in range(d)])
        coords = {"unconstrained_parameter": names, "scalar": names}
        variables = _lib.PyVariable.new_variables(
            [POSITION], ["float64"], [(d,)], sizes, {POSITION: ("scalar",)}
        )
        return _lib.PyMcModel(
            log_density,
            expand,
            variables,
            d,
            sizes,
            coords,
            self.initial,
            None,
        )
