"""A problem compiled with PyMC: ready to be evaluated and sampled."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from nestor.engines.deferred import in_memory
from nestor.errors import SpecError, Unsupported
from nestor_pymc.density import LogDensity
from nestor_pymc.settings import call_own_copies
from nestor_pymc.variables import Variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.protocol import Draws, ProgressCallback, SamplerConfig
    from nestor_pymc.nutpie_sampler import NutpieSampler
    from nestor_pymc.pymc_sampler import PyMCSampler
    from nestor_pymc.walked import Walked


@dataclass(frozen=True, eq=False)
class PyMCModel:
    """The compiled model.

    Parameters
    ----------
    variables : Variables
        Model and data, and its free random variables.
    density : LogDensity
        Its density.
    sampler : NutpieSampler or PyMCSampler or None
        What was compiled; None for densities only.
    defers : bool
        Whether draws of marginalized coefficients are left to be made when they are stored; else they are
        in memory.
    """

    variables: Variables
    density: LogDensity
    sampler: NutpieSampler | PyMCSampler | None
    defers: bool = False

    #: The data stay on the host.
    upload_seconds: ClassVar[float] = 0.0

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

    def deferring(self) -> Self:
        """Return a model whose draws of coefficients are made block by block; see `Deferring`."""
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

    def sampled_density(self) -> Walked:
        """What the sampler walks on, with its gradient; see `Differentiable`.

        Raises
        ------
        Unsupported
            If the model was compiled for densities only.
        EngineFailed
            If no point with a finite density is found.
        """
        return self._the_sampler().sampled_density()

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None = None) -> Draws:
        """Run all chains; every draw is a NumPy array on return.

        Raises
        ------
        Unsupported
            For vectorized chains, or if the model was compiled for densities only.
        EngineFailed
            If the sampler stops.
        """
        return self._made(self._the_sampler().sample(config, on_progress))

    def sample_in_looks(
        self,
        config: SamplerConfig,
        looks: Sequence[int],
        on_progress: ProgressCallback | None = None,
    ) -> Iterator[Draws]:
        """Run all chains, stopping for a look each time they have so many draws; see `Extensible`.

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
        if list(looks[:1]) != [config.draws] or sorted(set(looks)) != list(looks):
            raise SpecError(
                f"looks must increase from config.draws = {config.draws}, not {list(looks)}."
            )
        with closing(self._the_sampler().sample_in_looks(config, looks, on_progress)) as stretches:
            for draws in stretches:
                yield self._made(draws)

    def _made(self, draws: Draws) -> Draws:
        return draws if self.defers else in_memory(draws, self.problem.variables)

    def _the_sampler(self) -> NutpieSampler | PyMCSampler:
        if self.sampler is None:
            raise Unsupported(
                "this model was compiled for densities only: compile it with a sampler."
            )
        return self.sampler


def _compile(variables: Variables, sampler: str | None) -> NutpieSampler | PyMCSampler | None:
    if sampler is None:
        return None
    if sampler == "nutpie":
        from nestor_pymc.nutpie_sampler import NutpieSampler

        return NutpieSampler.build(variables)
    from nestor_pymc.pymc_sampler import PyMCSampler

    return PyMCSampler.build(variables)
