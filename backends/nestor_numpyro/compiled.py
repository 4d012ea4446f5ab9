"""A problem on a device: its log density and its sampler, each compiled once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from nestor.backend import Progress
from nestor.errors import Unsupported
from nestor_numpyro.data import put_data
from nestor_numpyro.density import LogDensity
from nestor_numpyro.model import build_model
from nestor_numpyro.programs import Plan, Programs, compile_programs
from nestor_numpyro.sampling import sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from nestor.backend import Draws, ProgressCallback, SamplerConfig
    from nestor.formulation import Formulation
    from nestor.problem import Problem
    from nestor_numpyro.place import Place


class NumPyroModel:
    """What `NumPyroBackend.compile` returns.

    Parameters
    ----------
    problem : Problem
        The posterior.
    formulation : Formulation
        How it is parametrized.
    sampler : str or None
        None for densities only.
    place : Place
        Device and precision.
    """

    def __init__(
        self, problem: Problem, formulation: Formulation, *, sampler: str | None, place: Place
    ) -> None:
        self._problem = problem
        self._formulation = formulation
        self._sampler = sampler
        self._place = place
        self._model = build_model(problem, formulation)
        with place.scope():
            self._data = put_data(problem, place)
        self._programs: dict[Plan, Programs] = {}
        if sampler is None:
            _ = self._density

    @cached_property
    def _density(self) -> LogDensity:
        return LogDensity(self._problem, self._formulation, self._model, self._data, self._place)

    def log_density(self, point: Mapping[str, NDArray[np.float64]]) -> float:
        """Log joint density with respect to the canonical variables; see `CompiledModel`."""
        return self._density(point)

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None = None) -> Draws:
        """Run all chains; see `CompiledModel`.

        The programs are kept: a second run that differs in its seed, its cores or the number of its
        sequential or parallel chains compiles nothing.

        Raises
        ------
        Unsupported
            If the model was compiled for densities only, or for parallel chains on a GPU.
        EngineFailed
            If NumPyro finds no starting point.
        """
        if self._sampler is None:
            raise Unsupported(
                "this model was compiled for densities only; compile it with sampler='nuts'."
            )
        if self._place.kind == "gpu" and config.chain_method == "parallel":
            raise Unsupported(
                "numpyro cannot run chains in parallel on one GPU: it runs programs one after "
                "another. Choose the chain method vectorized (or sequential)."
            )
        plan = Plan.of(config)
        seconds = 0.0
        if plan not in self._programs:
            if on_progress is not None:
                for chain in range(config.chains):
                    on_progress(Progress(chain, "compile", 0, config.warmup + config.draws, 0))
            with self._place.scope():
                self._programs[plan], seconds = compile_programs(
                    self._model, tuple(self._problem.variables), self._data, plan
                )
        return sample(self._programs[plan], config, self._place, self._data, seconds, on_progress)
