"""A problem compiled with Numba: ready to be evaluated and sampled."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from nestor.engines.lazy import in_memory
from nestor.engines.optional import TargetDensity
from nestor.engines.protocol import Draws, SamplerConfig, Timings
from nestor.engines.support import find_start, needs_sampler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.protocol import ProgressCallback
    from nestor.stats.arrays import FloatArray
    from nestor_numba.evaluating import Density
    from nestor_nutpie.sampling import Collect, Collected, NutpieRuns

    type Arrays = Mapping[str, FloatArray]


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

    def collect(self, z: FloatArray, first: int, config: SamplerConfig) -> Collected:
        """Map draws of the sampled point, (chain, draw, d), the first of them number `first`."""
        ...


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

    def with_lazy_draws(self) -> Self:
        """Return a model whose draws of coefficients are made block by block; see `SupportsLazyDraws`."""
        return replace(self, defers=True)

    def log_density(self, point: Arrays) -> float:
        """Log density at a point of the canonical variables; see `CompiledModel`."""
        return self.posterior.log_density(point)

    def target_density(self) -> TargetDensity:
        """The density that nutpie walks on, with its gradient; see `Differentiable`.

        Raises
        ------
        Unsupported
            If the model was compiled for densities only.
        EngineFailed
            If no point with a finite density is found.
        """
        needs_sampler(self.runs)
        density = self.posterior.density
        start = find_start(density, self.posterior.initial, "numba")
        return TargetDensity(density, start, self._to_draws)

    def _to_draws(self, z: FloatArray, first: int, seed: int) -> Draws:
        found = self.posterior.collect(z, first, SamplerConfig(seed=seed))
        stats = {"log_jacobian": found.log_jacobian}
        return self._made(Draws(found.values, stats, Timings(), {}, deferred=found.deferred))

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None = None) -> Draws:
        """Run all chains; every draw is a NumPy array on return.

        Raises
        ------
        Unsupported
            For vectorized chains, or if the model was compiled for densities only.
        EngineFailed
            If nutpie stops.
        """
        return self._made(
            needs_sampler(self.runs).sample(config, on_progress, self._collect(config))
        )

    def sample_until(
        self,
        config: SamplerConfig,
        looks: Sequence[int],
        on_progress: ProgressCallback | None = None,
    ) -> Iterator[Draws]:
        """Run all chains, stopping for a look each time they have so many draws; see `Resumable`.

        Raises
        ------
        SpecError, Unsupported, EngineFailed
            As `nestor_nutpie.sampling.NutpieRuns.sample_until`.
        """
        collect = self._collect(config)
        with closing(
            needs_sampler(self.runs).sample_until(config, looks, on_progress, collect)
        ) as stretches:
            for draws in stretches:
                yield self._made(draws)

    def _collect(self, config: SamplerConfig) -> Collect:
        from nestor_numba.sampler_nutpie import POSITION

        return lambda free, first: self.posterior.collect(free[POSITION], first, config)

    def _made(self, draws: Draws) -> Draws:
        return draws if self.defers else in_memory(draws, self.problem.variables)


def _posterior(problem: Problem, formulation: Formulation, *, sampling: bool) -> Posterior:
    if formulation.is_marginalized:
        from nestor_numba.marginal import MarginalPosterior

        return MarginalPosterior.build(problem, sampling=sampling)

    from nestor_numba.model import JointPosterior

    return JointPosterior.build(problem, formulation, sampling=sampling)


def _runs(posterior: Posterior) -> NutpieRuns:
    from nestor_numba.sampler_nutpie import NutpieModel, copying
    from nestor_nutpie.sampling import NutpieRuns

    copying()
    settings = {
        "initial_points": "medians of the priors, jittered by Uniform(-1, 1): scales unconstrained, "
        "coefficients in units of their priors' scales"
    }
    return NutpieRuns(NutpieModel(posterior.density, posterior.initial), "numba:nutpie", settings)
