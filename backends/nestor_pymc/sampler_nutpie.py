"""Sampling with nutpie: PyTensor's numba gradient, chains in Rust threads."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from nestor.engines.coordinates import log_jacobian
from nestor.engines.optional import TargetDensity
from nestor.engines.support import find_start
from nestor.errors import EngineFailed
from nestor_nutpie.sampling import Collected, NutpieRuns
from nestor_pymc.model import build_model
from nestor_pymc.settings import common_settings

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    import pymc as pm
    from numpy.typing import NDArray

    from nestor.engines.protocol import Draws, ProgressCallback, SamplerConfig
    from nestor_nutpie.sampling import Collect
    from nestor_pymc.variables import Variables

    type Arrays = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class NutpieSampler:
    """nutpie, compiled for one model.

    Parameters
    ----------
    variables : Variables
        The free random variables.
    natural : Natural
        Their way to the natural scale.
    compiled : nutpie's compiled model
        The sampled density and the data that it reads.
    """

    variables: Variables
    natural: Natural
    compiled: Any

    name: ClassVar[str] = "nutpie"

    @classmethod
    def build(cls, variables: Variables) -> Self:
        """Build the model and compile it."""
        import nutpie

        model, _ = build_model(variables, transformed=True)
        # Without derived variables nutpie stores the free ones only; the canonical ones are made from
        # them once, at the end, for all draws together.
        return cls(variables, Natural(model), nutpie.compile_pymc_model(model, var_names=[]))

    def with_outcome(self, variables: Variables) -> Self:
        """Return a sampler of the same compiled functions that reads the outcome of `variables`."""
        compiled = self.compiled.with_data(**variables.observed)
        return replace(self, variables=variables, compiled=compiled)

    def target_density(self) -> TargetDensity:
        """Return what the chains walk on: nutpie's own function."""
        evaluate = NutpieFunction(self.compiled)
        start = find_start(evaluate, self.compiled.initial_point_func, "pymc:nutpie")
        return TargetDensity(evaluate, start)

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None) -> Draws:
        """Run all chains."""
        return self._runs.sample(config, on_progress, self._collect(config))

    def sample_until(
        self, config: SamplerConfig, looks: Sequence[int], on_progress: ProgressCallback | None
    ) -> Generator[Draws]:
        """Run all chains at once and pause them at each look."""
        return self._runs.sample_until(config, looks, on_progress, self._collect(config))

    @property
    def _runs(self) -> NutpieRuns:
        return NutpieRuns(self.compiled, "pymc:nutpie", common_settings())

    def _collect(self, config: SamplerConfig) -> Collect:
        """From nutpie's free variables to the canonical ones."""

        def collect(free: Arrays, first: int) -> Collected:
            values = self.variables.to_canonical(self.natural(free))
            jacobian = log_jacobian(self.variables.problem, self.variables.formulation, values)
            return Collected(
                values, jacobian, self.variables.conditional_draws(values, first, config.seed)
            )

        return collect


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


#: What nutpie's function returns: all is well; the gradient, or the value, is not finite.
_EVALUATED = (0, 3, 4)


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
