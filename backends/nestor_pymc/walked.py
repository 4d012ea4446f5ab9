"""The functions that nutpie and PyMC's NUTS walk on, with their gradients, called from Python."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from threading import Lock

    from numpy.typing import NDArray

    type Evaluate = Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]

#: What nutpie's function returns: all is well; the gradient, or the value, is not finite.
_EVALUATED = (0, 3, 4)
#: Seeds from which a finite starting point is looked for.
_TRIES = 100


@dataclass(frozen=True, eq=False)
class Walked:
    """A sampled log density with its gradient, of all value variables one after another.

    Parameters
    ----------
    evaluate : callable
        (point) to (value, gradient).
    start : ndarray of float64, (d,)
        A point where both are finite.
    """

    evaluate: Evaluate
    start: NDArray[np.float64]

    @property
    def dimension(self) -> int:
        """Number of unconstrained scalars."""
        return len(self.start)

    def value_and_gradient(self, z: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Evaluate; see `nestor.engines.protocol.SampledDensity`."""
        return self.evaluate(z)

    @classmethod
    def found(
        cls, evaluate: Evaluate, point: Callable[[int], NDArray[np.float64]], engine: str
    ) -> Walked:
        """Start at the first of the sampler's own initial points that is finite.

        Raises
        ------
        EngineFailed
            If there is none among 100.
        """
        for seed in range(_TRIES):
            start = np.asarray(point(seed), np.float64)
            value, gradient = evaluate(start)
            if np.isfinite(value) and np.isfinite(gradient).all():
                return cls(evaluate, start)
        raise EngineFailed(f"{engine} found no point with a finite density in {_TRIES} tries.")


@dataclass(frozen=True, eq=False)
class NutpieFunction:
    """The very C function that nutpie's Rust code calls.

    Parameters
    ----------
    compiled : nutpie's compiled model
        It holds the function, and the data that the function reads.
    """

    compiled: Any
    _function: Any = field(init=False)

    def __post_init__(self) -> None:
        pointer = ctypes.POINTER(ctypes.c_double)
        # int64 (dimension, position, gradient, value, data): nutpie.compile_pymc._make_c_logp_func
        kind = ctypes.CFUNCTYPE(
            ctypes.c_int64, ctypes.c_uint64, pointer, pointer, pointer, ctypes.c_void_p
        )
        object.__setattr__(self, "_function", kind(self.compiled.compiled_logp_func.address))

    def __call__(self, z: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Evaluate at a point, (d,)."""
        # The length is checked there, against the model's own.
        position = np.ascontiguousarray(z, dtype=np.float64)
        gradient, value = np.empty(position.size), np.empty(())
        code = self._function(
            position.size,
            _pointer(position),
            _pointer(gradient),
            _pointer(value),
            self.compiled.user_data.ctypes.data,
        )
        if code not in _EVALUATED:
            raise EngineFailed(
                f"nutpie's log density failed with code {code} at a point of {position.size} "
                f"scalars; the model has {self.compiled.n_dim}."
            )
        return float(value), gradient


def _pointer(array: NDArray[np.float64]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_double))


@dataclass(frozen=True, eq=False)
class PyMCFunction:
    """The function that PyMC's NUTS calls.

    Parameters
    ----------
    function : pymc's ValueGradFunction
        Of a flat point.
    shared : sequence of PyTensor's shared variables
        What it reads of the outcome.
    observed : mapping of str to ndarray
        This model's, by their names.
    lock : threading.Lock
        Held while `shared` are in use.
    """

    function: Any
    shared: Sequence[Any]
    observed: Mapping[str, NDArray[np.float64]]
    lock: Lock

    def __call__(self, z: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Evaluate at a point, (d,)."""
        with self.lock:
            # Models that differ in their outcome share its variables; nothing is copied.
            for variable in self.shared:
                variable.set_value(self.observed[variable.name], borrow=True)
            value, gradient = self.function(np.ascontiguousarray(z, dtype=np.float64))
        return float(value), np.array(gradient, np.float64)
