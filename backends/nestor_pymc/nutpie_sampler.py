"""Sampling with nutpie: PyTensor's numba gradient, chains in Rust threads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from nestor_nutpie.sampling import Collected, NutpieRuns
from nestor_pymc.jacobian import log_jacobian
from nestor_pymc.model import build_model
from nestor_pymc.natural import Natural
from nestor_pymc.settings import common_settings
from nestor_pymc.walked import NutpieFunction, Walked

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    import numpy as np
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

    def sampled_density(self) -> Walked:
        """Return what the chains walk on: nutpie's own function."""
        points = self.compiled.initial_point_func
        return Walked.found(NutpieFunction(self.compiled), points, "pymc:nutpie")

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None) -> Draws:
        """Run all chains."""
        return self._runs.sample(config, on_progress, self._collect(config))

    def sample_in_looks(
        self, config: SamplerConfig, looks: Sequence[int], on_progress: ProgressCallback | None
    ) -> Generator[Draws]:
        """Run all chains at once and pause them at each look."""
        return self._runs.sample_in_looks(config, looks, on_progress, self._collect(config))

    @property
    def _runs(self) -> NutpieRuns:
        return NutpieRuns(self.compiled, "pymc:nutpie", common_settings())

    def _collect(self, config: SamplerConfig) -> Collect:
        """From nutpie's free variables to the canonical ones."""

        def collect(free: Arrays, first: int) -> Collected:
            values = self.variables.to_canonical(self.natural(free))
            recovered = self.variables.recovered(values, first, config.seed)
            return Collected(values, log_jacobian(self.variables, values), recovered)

        return collect
