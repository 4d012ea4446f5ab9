"""From the unconstrained space to the natural scale, by PyMC's own transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pymc as pm
    from numpy.typing import NDArray


class Natural:
    """Maps draws of a model's value variables to its free random variables.

    Parameters
    ----------
    model : pymc.Model
        A model whose bounded variables are transformed.
    """

    def __init__(self, model: pm.Model) -> None:
        self._names: dict[str, str] = {}
        self._functions: dict[str, Any] = {}
        for rv in model.free_RVs:
            value_name = model.rvs_to_values[rv].name
            self._names[rv.name] = value_name
            transform = model.rvs_to_transforms[rv]
            if transform is not None:
                self._functions[rv.name] = _backward(rv, transform)

    def __call__(self, values: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        """Map arrays (chain, draw, *shape), keyed by value variable, to the natural scale.

        Arrays of variables without a transform are returned as they are.
        """
        return {
            name: self._functions[name](values[value_name])
            if name in self._functions
            else values[value_name]
            for name, value_name in self._names.items()
        }


def _backward(rv: Any, transform: Any) -> Any:
    """Compile a transform's way back, elementwise over leading chain and draw."""
    import pytensor
    import pytensor.tensor as pt
    from pytensor.compile.mode import Mode

    value = pt.tensor(dtype="float64", shape=(None,) * (2 + rv.type.ndim))
    return pytensor.function(
        [value], transform.backward(value, *rv.owner.inputs), mode=Mode(linker="py", optimizer=None)
    )
