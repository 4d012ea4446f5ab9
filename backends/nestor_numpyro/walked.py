"""The function that NumPyro's sampler walks on, with its gradient, as a program of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro.infer.util import potential_energy

from nestor.errors import EngineFailed
from nestor_numpyro.starts import RADIUS, TRIES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from nestor_numpyro.data import ModelData
    from nestor_numpyro.model import Model
    from nestor_numpyro.place import Place


@dataclass(frozen=True, eq=False)
class Walked:
    """Minus the potential energy, a function of all unconstrained sites one after another.

    The sites are sorted by name, each flattened.

    Parameters
    ----------
    program : callable
        (point, data) to (value, gradient), compiled.
    data : ModelData
        Its second argument.
    place : Place
        Device and precision.
    start : ndarray of float64, (d,)
        A point where both are finite.
    """

    program: Callable[..., Any]
    data: ModelData
    place: Place
    start: NDArray[np.float64]

    @property
    def dimension(self) -> int:
        """Number of unconstrained scalars."""
        return len(self.start)

    def value_and_gradient(self, z: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Evaluate on the device; see `nestor.engines.protocol.SampledDensity`."""
        return _evaluate(self.program, z, self.data, self.place)


def compile_walked(
    model: Model, shapes: Mapping[str, jax.ShapeDtypeStruct], data: ModelData, place: Place
) -> Walked:
    """Compile the function, and find a point where it is finite.

    Parameters
    ----------
    model : callable
        The NumPyro model.
    shapes : mapping of str to ShapeDtypeStruct
        The unconstrained sites of one chain.
    data, place
        As for `Walked`.

    Raises
    ------
    EngineFailed
        If there is no such point among the tries.
    """
    with place.scope():
        zeros = {name: np.zeros(site.shape, site.dtype) for name, site in shapes.items()}
        flat, unravel = ravel_pytree(zeros)

        def density(point: Any, data: ModelData) -> Any:
            # What `numpyro.infer.initialize_model` gives to NUTS, with the other sign.
            return -potential_energy(model, (data,), {}, unravel(point))

        program = jax.jit(jax.value_and_grad(density)).lower(flat, data).compile()
    for attempt in range(TRIES):
        start = np.random.default_rng(attempt).uniform(-RADIUS, RADIUS, flat.size)
        value, gradient = _evaluate(program, start, data, place)
        if np.isfinite(value) and np.isfinite(gradient).all():
            return Walked(program, data, place, start)
    raise EngineFailed(f"numpyro found no point with a finite density in {TRIES} tries.")


def _evaluate(
    program: Callable[..., Any], z: NDArray[np.float64], data: ModelData, place: Place
) -> tuple[float, NDArray[np.float64]]:
    with place.scope():
        value, gradient = program(np.asarray(z, place.dtype), data)
        return float(value), np.array(gradient, np.float64)
