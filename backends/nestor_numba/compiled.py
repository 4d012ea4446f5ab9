"""A problem compiled with Numba: ready to be evaluated and sampled."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np

from nestor.engines.deferred import in_memory
from nestor.errors import EngineFailed, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.protocol import Draws, ProgressCallback, SamplerConfig
    from nestor_numba.evaluating import Density
    from nestor_nutpie.sampling import Collect, Collected, NutpieRuns

    type FloatArray = NDArray[np.float64]
    type Arrays = Mapping[str, FloatArray]

_TRIES = 100


class Posterior(Protocol):
    """A formulation of a posterior: what is sampled, and the way to the canonical variables."""

    @property
    def density(self) -> Density:
        """What is sampled."""
        ...

    def log_density(self, point: Arrays) -> float:
        """Log density with respect to the canonical variables of the formulation."""
        ...

    def initial(self, seed: Any) -> FloatArray:
        """A starting point, (d,)."""
        ...

    def collect(self, free: Arrays, first: int, config: SamplerConfig) -> Collected:
        """From nutpie's variables to the canonical ones; see `nestor_nutpie.sampling.Collect`."""
        ...


@dataclass(frozen=True, eq=False)
class Walked:
    """What nutpie's chains walk on; see `nestor.engines.protocol.SampledDensity`.

    Parameters
    ----------
    density : Density
        The very function.
    start : ndarray, (d,)
        A point where value and gradient are finite.
    """

    density: Density
    start: FloatArray

    @property
    def dimension(self) -> int:
        """Number of unconstrained scalars."""
        return self.density.dimension

    def value_and_gradient(self, z: FloatArray) -> tuple[float, FloatArray]:
        """Evaluate."""
        return self.density(z)


@dataclass(frozen=True, eq=False)
class NumbaModel:
    """The compiled model.

    Parameters
    ----------
    problem : Problem
        Model and data.
    formulation : Formulation
        How it is computed.
    posterior : Posterior
        The compiled functions, with what they read.
    runs : NutpieRuns or None
        nutpie, ready to run; None for densities only.
    defers : bool
        Whether draws of coefficients are left to be made when they are stored; else they are in memory.
    """

    problem: Problem
    formulation: Formulation
    posterior: Posterior
    runs: NutpieRuns | None
    defers: bool = False

    #: The data stay on the host.
    upload_seconds: ClassVar[float] = 0.0

    @classmethod
    def build(cls, problem: Problem, formulation: Formulation, sampler: str | None) -> Self:
        """Lay the problem out and compile what is needed."""
        posterior = _posterior(problem, formulation, sampling=sampler is not None)
        return cls(problem, formulation, posterior, _runs(posterior) if sampler else None)

    def with_outcome(self, y: FloatArray) -> Self:
        """Return the model for another outcome; nothing is compiled again.

        Parameters
        ----------
        y : ndarray, (N,)
            Outcome, rows in the order of `Problem.y`.

        Raises
        ------
        DataError
            If it has another shape or a value that is not finite.
        """
        sampler = None if self.runs is None else "nutpie"
        built = self.build(self.problem.with_outcome(y), self.formulation, sampler)
        return replace(built, defers=self.defers)

    def deferring(self) -> Self:
        """Return a model whose draws of coefficients are made block by block; see `Deferring`."""
        return replace(self, defers=True)

    def log_density(self, point: Arrays) -> float:
        """Log density at a point of the canonical variables; see `CompiledModel`."""
        return self.posterior.log_density(point)

    def sampled_density(self) -> Walked:
        """What the sampler walks on, with its gradient; see `Differentiable`.

        Raises
        ------
        Unsupported
            If the model was compiled for densities only.
        EngineFailed
            If no point with a finite density is found.
        """
        self._sampler()
        for seed in range(_TRIES):
            start = self.posterior.initial(seed)
            value, gradient = self.posterior.density(start)
            if np.isfinite(value) and np.isfinite(gradient).all():
                return Walked(self.posterior.density, start)
        raise EngineFailed(f"numba found no point with a finite density in {_TRIES} tries.")

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None = None) -> Draws:
        """Run all chains; every draw is a NumPy array on return.

        Raises
        ------
        Unsupported
            For vectorized chains, or if the model was compiled for densities only.
        EngineFailed
            If nutpie stops.
        """
        return self._made(self._sampler().sample(config, on_progress, self._collect(config)))

    def sample_in_looks(
        self,
        config: SamplerConfig,
        looks: Sequence[int],
        on_progress: ProgressCallback | None = None,
    ) -> Iterator[Draws]:
        """Run all chains, stopping for a look each time they have so many draws; see `Extensible`.

        Raises
        ------
        SpecError, Unsupported, EngineFailed
            As `nestor_nutpie.sampling.NutpieRuns.sample_in_looks`.
        """
        collect = self._collect(config)
        with closing(
            self._sampler().sample_in_looks(config, looks, on_progress, collect)
        ) as stretches:
            for draws in stretches:
                yield self._made(draws)

    def _collect(self, config: SamplerConfig) -> Collect:
        return lambda free, first: self.posterior.collect(free, first, config)

    def _made(self, draws: Draws) -> Draws:
        return draws if self.defers else in_memory(draws, self.problem.variables)

    def _sampler(self) -> NutpieRuns:
        if self.runs is None:
            raise Unsupported(
                "this model was compiled for densities only: compile it with a sampler."
            )
        return self.runs


def _posterior(problem: Problem, formulation: Formulation, *, sampling: bool) -> Posterior:
    if formulation.is_marginalized:
        from nestor_numba.marginal import Marginal

        return Marginal.build(problem, sampling=sampling)
    from nestor_numba.sampled import Sampled

    return Sampled.build(problem, formulation, sampling=sampling)


def _runs(posterior: Posterior) -> NutpieRuns:
    from nestor_numba.nutpie_model import NutpieModel, copying
    from nestor_nutpie.sampling import NutpieRuns

    copying()
    settings = {
        "initial_points": "medians of the priors, jittered by Uniform(-1, 1): scales unconstrained, "
        "coefficients in units of their priors' scales"
    }
    return NutpieRuns(NutpieModel(posterior.density, posterior.initial), "numba:nutpie", settings)
