"""A problem on a device: its log density and its sampler, each compiled once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from nestor.engines.deferred import in_memory
from nestor.engines.protocol import Progress
from nestor.errors import SpecError, Unsupported
from nestor_numpyro.data import RowsData, put_data, with_outcome
from nestor_numpyro.density import LogDensity
from nestor_numpyro.form import form_of
from nestor_numpyro.place import failing_allocations
from nestor_numpyro.programs import Plan, Programs, compile_programs, unconstrained
from nestor_numpyro.sampling import Sampling
from nestor_numpyro.walked import Walked, compile_walked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.protocol import Draws, ProgressCallback, SamplerConfig
    from nestor_numpyro.data import ModelData
    from nestor_numpyro.form import Form
    from nestor_numpyro.place import Place


@dataclass(frozen=True, eq=False)
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
    data : ModelData
        The problem's arrays, there.
    form : Form
        The NumPyro model, a function of them, and what is recovered after sampling.
    density : LogDensity
        Its density.
    upload_seconds : float
        What bringing the data there took.
    programs : dict of Plan to Programs
        The sampler's programs that have been compiled; models that differ in their outcome share them.
    defers : bool
        Whether draws of marginalized coefficients are left to be made when they are stored; else they are
        in memory.
    """

    problem: Problem
    formulation: Formulation
    sampler: str | None
    place: Place
    data: ModelData
    form: Form
    density: LogDensity
    upload_seconds: float
    programs: dict[Plan, Programs] = field(default_factory=dict)
    defers: bool = False

    @classmethod
    def build(
        cls, problem: Problem, formulation: Formulation, *, sampler: str | None, place: Place
    ) -> Self:
        """Put the data on the device; compile the density if no sampler is asked for."""
        form = form_of(problem, formulation)
        with failing_allocations(), place.scope():
            data, seconds = put_data(form.arrays(problem), place)
        density = LogDensity(problem, formulation, form.model, place)
        if sampler is None:
            density.compile(data)
        return cls(problem, formulation, sampler, place, data, form, density, seconds)

    def with_outcome(self, y: NDArray[np.float64]) -> Self:
        """Return the model for another outcome.

        Both share every program, also those that either of them compiles later: the data are arguments
        of them all. Only where identical rows are merged they do not: there may be others, more or fewer.

        Parameters
        ----------
        y : ndarray, (N,)
            Outcome, rows in the order of `Problem.y`.

        Raises
        ------
        DataError
            If it has another shape or a value that is not finite.
        """
        problem = self.problem.with_outcome(y)
        if not self.form.keeps_shapes:
            built = self.build(problem, self.formulation, sampler=self.sampler, place=self.place)
            return replace(built, defers=self.defers)
        with self.place.scope():
            if isinstance(self.data, RowsData):
                data, seconds = with_outcome(self.data, problem, self.place)
            else:
                # The outcome is in most of the statistics.
                data, seconds = put_data(self.form.arrays(problem), self.place)
        return replace(self, problem=problem, data=data, upload_seconds=seconds)

    def deferring(self) -> Self:
        """Return a model whose draws of coefficients are made block by block; see `Deferring`."""
        return replace(self, defers=True)

    def log_density(self, point: Mapping[str, NDArray[np.float64]]) -> float:
        """Log joint density with respect to the canonical variables; see `CompiledModel`."""
        return self.density(point, self.data)

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
        with failing_allocations():
            seconds = self._compile(config, on_progress)
            sampling = self._sampling(config)
            upload = self.upload_seconds
            return self._made(sampling.until(config.draws, on_progress, upload, seconds))

    def prepare(self, config: SamplerConfig) -> None:
        """Compile the programs of ``sample(config)``; see `Preparable`.

        Raises
        ------
        Unsupported
            As `sample`.
        """
        with failing_allocations():
            self._compile(config, None)

    def sample_in_looks(
        self,
        config: SamplerConfig,
        looks: Sequence[int],
        on_progress: ProgressCallback | None = None,
    ) -> Iterator[Draws]:
        """Run all chains, stopping for a look each time they have so many draws; see `Extensible`.

        Uses the programs of ``sample(config)``, so that nothing more is compiled, and the device holds
        ``looks[0]`` draws of each chain at most, however many they grow to. No thread runs while the
        caller looks.

        Raises
        ------
        SpecError
            If the looks do not begin with `config.draws` and increase.
        Unsupported, EngineFailed
            As `sample`.
        """
        if list(looks[:1]) != [config.draws] or sorted(set(looks)) != list(looks):
            raise SpecError(
                f"looks must increase from config.draws = {config.draws}, not {list(looks)}."
            )
        with failing_allocations():
            upload, seconds = self.upload_seconds, self._compile(config, on_progress)
            sampling = self._sampling(config)
            for look in looks:
                yield self._made(sampling.until(look, on_progress, upload, seconds))
                upload = seconds = 0.0

    def sampled_density(self) -> Walked:
        """Compile what the sampler walks on, with its gradient; see `Differentiable`.

        Raises
        ------
        Unsupported
            If the model was compiled for densities only.
        EngineFailed
            If no point with a finite density is found.
        """
        self._require_sampler()
        with failing_allocations():
            with self.place.scope():
                shapes = unconstrained(self.form.model, self.data)
            return compile_walked(self.form.model, shapes, self.data, self.place)

    def _made(self, draws: Draws) -> Draws:
        return draws if self.defers else in_memory(draws, self.problem.variables)

    def _require_sampler(self) -> None:
        if self.sampler is None:
            raise Unsupported(
                "this model was compiled for densities only; compile it with sampler='nuts'."
            )

    def _compile(self, config: SamplerConfig, on_progress: ProgressCallback | None) -> float:
        """Compile the programs of a run, unless that is done; returns the seconds that it took."""
        self._require_sampler()
        if self.place.kind == "gpu" and config.chain_method == "parallel":
            raise Unsupported(
                "numpyro cannot run chains in parallel on one GPU: it runs programs one after "
                "another. Choose the chain method vectorized (or sequential)."
            )
        plan = Plan.of(config)
        if plan in self.programs:
            return 0.0
        if on_progress is not None:
            for chain in range(config.chains):
                on_progress(Progress(chain, "compile", 0, config.warmup + config.draws, 0))
        with self.place.scope():
            self.programs[plan], seconds = compile_programs(self.form, self.data, plan)
        return seconds

    def _sampling(self, config: SamplerConfig) -> Sampling:
        """Set up the chains of a run."""
        programs = self.programs[Plan.of(config)]
        return Sampling(programs, self.problem, self.formulation, config, self.place, self.data)
