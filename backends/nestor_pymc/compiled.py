"""A problem compiled with PyMC: ready to be evaluated and sampled."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, Self

from nestor.engines.lazy import in_memory
from nestor.engines.support import check_looks, needs_sampler
from nestor_pymc.density import LogDensity
from nestor_pymc.settings import call_own_copies
from nestor_pymc.variables import Variables

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.optional import TargetDensity
    from nestor.engines.protocol import Draws, ProgressCallback, SamplerConfig


class Sampler(Protocol):
    """One of the samplers, compiled for a model."""

    @property
    def name(self) -> str:
        """As in `Backend.samplers`."""
        ...

    def with_outcome(self, variables: Variables) -> Sampler:
        """Return a sampler of the same compiled functions that reads the outcome of `variables`."""
        ...

    def target_density(self) -> TargetDensity:
        """What the chains walk on."""
        ...

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None) -> Draws:
        """Run all chains."""
        ...

    def sample_until(
        self, config: SamplerConfig, looks: Sequence[int], on_progress: ProgressCallback | None
    ) -> Generator[Draws]:
        """Run all chains, stopping for looks, or refuse."""
        ...


@dataclass(frozen=True, eq=False)
class PyMCModel:
    """The compiled model.

    Parameters
    ----------
    variables : Variables
        Model and data, and its free random variables.
    density : LogDensity
        Its density.
    sampler : Sampler or None
        What was compiled; None for densities only.
    defers : bool
        Whether draws of marginalized coefficients are left to be made when they are stored; else they are
        in memory.
    """

    variables: Variables
    density: LogDensity
    sampler: Sampler | None
    defers: bool = False

    @property
    def problem(self) -> Problem:
        """Model and data."""
        return self.variables.problem

    @classmethod
    def build(cls, problem: Problem, formulation: Formulation, sampler: str | None) -> Self:
        """Build and compile.

        Parameters
        ----------
        problem : Problem
            Model and data.
        formulation : Formulation
            Which levels are centred; rows or statistics; whether coefficients are sampled.
        sampler : {"nutpie", "pymc"} or None
            What to compile for; None compiles the density only.
        """
        call_own_copies()
        variables = Variables(problem, formulation)
        density = LogDensity(variables)
        if sampler is None:
            density.compile()
        return cls(variables, density, _compile(variables, sampler))

    def with_outcome(self, y: NDArray[np.float64]) -> Self:
        """Return the model for another outcome; both share every compiled function.

        Where identical rows are merged, other rows are identical then: that model is compiled anew.

        Parameters
        ----------
        y : ndarray, (N,)
            Outcome, rows in the order of `Problem.y`.

        Raises
        ------
        DataError
            If it has another shape or a value that is not finite.
        Unsupported
            If rows are merged, and with this outcome no two are the same.
        """
        variables = self.variables.with_outcome(y)
        if variables.merged is not None:
            name = None if self.sampler is None else self.sampler.name
            built = self.build(variables.problem, variables.formulation, name)
            return replace(built, defers=self.defers)
        sampler = None if self.sampler is None else self.sampler.with_outcome(variables)
        return replace(self, variables=variables, sampler=sampler)

    def with_lazy_draws(self) -> Self:
        """Return a model whose draws of coefficients are made block by block; see `SupportsLazyDraws`."""
        return replace(self, defers=True)

    def log_density(self, point: Mapping[str, NDArray[np.float64]]) -> float:
        """Log joint density with respect to the canonical variables.

        Parameters
        ----------
        point : mapping of str to ndarray
            Every variable of `Problem.variables`, natural scale; what is marginalized is ignored. With a
            sampler, the first call compiles.
        """
        return self.density(point, self.variables.observed)

    def target_density(self) -> TargetDensity:
        """The density that the sampler walks on, with its gradient; see `Differentiable`.

        Raises
        ------
        Unsupported
            If the model was compiled for densities only.
        EngineFailed
            If no point with a finite density is found.
        """
        return needs_sampler(self.sampler).target_density()

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None = None) -> Draws:
        """Run all chains; every draw is a NumPy array on return.

        Raises
        ------
        Unsupported
            For vectorized chains, or if the model was compiled for densities only.
        EngineFailed
            If the sampler stops.
        """
        return self._made(needs_sampler(self.sampler).sample(config, on_progress))

    def sample_until(
        self,
        config: SamplerConfig,
        looks: Sequence[int],
        on_progress: ProgressCallback | None = None,
    ) -> Iterator[Draws]:
        """Run all chains, stopping for a look each time they have so many draws; see `Resumable`.

        Raises
        ------
        SpecError
            If the looks do not begin with `config.draws` and increase.
        Unsupported
            For PyMC's own NUTS, and as `sample`; for nutpie also if fewer chains than there are may run
            at once.
        EngineFailed
            If the sampler stops.
        """
        check_looks(config, looks)
        with closing(
            needs_sampler(self.sampler).sample_until(config, looks, on_progress)
        ) as stretches:
            for draws in stretches:
                yield self._made(draws)

    def _made(self, draws: Draws) -> Draws:
        return draws if self.defers else in_memory(draws, self.problem.variables)


def _compile(variables: Variables, sampler: str | None) -> Sampler | None:
    if sampler is None:
        return None
    if sampler == "nutpie":
        from nestor_pymc.sampler_nutpie import NutpieSampler

        return NutpieSampler.build(variables)
    from nestor_pymc.sampler_pymc import PyMCSampler

    return PyMCSampler.build(variables)
