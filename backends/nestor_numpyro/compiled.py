"""A problem on a device: its log density and its sampler, each compiled once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from nestor.engines.lazy import in_memory
from nestor.engines.protocol import Progress
from nestor.engines.support import check_looks, needs_sampler
from nestor.errors import Unsupported
from nestor_numpyro.data import (
    RowsData,
    merged_arrays,
    put_data,
    rows_arrays,
    statistics_arrays,
    with_outcome,
)
from nestor_numpyro.density import LogDensity
from nestor_numpyro.execution import failing_allocations
from nestor_numpyro.marginal import build_marginal_model
from nestor_numpyro.model import build_model
from nestor_numpyro.programs import Plan, Programs, compile_programs
from nestor_numpyro.recovery import ConditionalSampler
from nestor_numpyro.sampler_nuts import Sampling
from nestor_numpyro.target import compile_target_density
from nestor_numpyro.tree import build_tree, tree_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.optional import TargetDensity
    from nestor.engines.protocol import Draws, ProgressCallback, SamplerConfig
    from nestor_numpyro.data import ModelData
    from nestor_numpyro.execution import Execution
    from nestor_numpyro.model import Model


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
    execution : Execution
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
    execution: Execution
    data: ModelData
    form: Form
    density: LogDensity
    upload_seconds: float
    programs: dict[Plan, Programs] = field(default_factory=dict)
    defers: bool = False

    @classmethod
    def build(
        cls,
        problem: Problem,
        formulation: Formulation,
        *,
        sampler: str | None,
        execution: Execution,
    ) -> Self:
        """Put the data on the device; compile the density if no sampler is asked for."""
        form = form_of(problem, formulation)
        with failing_allocations(), execution.scope():
            data, seconds = put_data(form.arrays(problem), execution)
        density = LogDensity(problem, formulation, form.model, execution)
        if sampler is None:
            density.compile(data)
        return cls(problem, formulation, sampler, execution, data, form, density, seconds)

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
            built = self.build(
                problem, self.formulation, sampler=self.sampler, execution=self.execution
            )
            return replace(built, defers=self.defers)
        with self.execution.scope():
            if isinstance(self.data, RowsData):
                data, seconds = with_outcome(self.data, problem, self.execution)
            else:
                # The outcome is in most of the statistics.
                data, seconds = put_data(self.form.arrays(problem), self.execution)
        return replace(self, problem=problem, data=data, upload_seconds=seconds)

    def with_lazy_draws(self) -> Self:
        """Return a model whose draws of coefficients are made block by block; see `SupportsLazyDraws`."""
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

    def sample_until(
        self,
        config: SamplerConfig,
        looks: Sequence[int],
        on_progress: ProgressCallback | None = None,
    ) -> Iterator[Draws]:
        """Run all chains, stopping for a look each time they have so many draws; see `Resumable`.

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
        check_looks(config, looks)
        with failing_allocations():
            upload, seconds = self.upload_seconds, self._compile(config, on_progress)
            sampling = self._sampling(config)
            for look in looks:
                yield self._made(sampling.until(look, on_progress, upload, seconds))
                upload = seconds = 0.0

    def target_density(self) -> TargetDensity:
        """Compile the density that the sampler walks on, with its gradient; see `Differentiable`.

        Raises
        ------
        Unsupported
            If the model was compiled for densities only.
        EngineFailed
            If no point with a finite density is found.
        """
        needs_sampler(self.sampler)
        with failing_allocations():
            return compile_target_density(
                self.problem, self.formulation, self.form, self.data, self.execution
            )

    def _made(self, draws: Draws) -> Draws:
        return draws if self.defers else in_memory(draws, self.problem.variables)

    def _compile(self, config: SamplerConfig, on_progress: ProgressCallback | None) -> float:
        """Compile the programs of a run, unless that is done; returns the seconds that it took."""
        needs_sampler(self.sampler)
        if self.execution.kind == "gpu" and config.chain_method == "parallel":
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
        with self.execution.scope():
            self.programs[plan], seconds = compile_programs(self.form, self.data, plan)
        return seconds

    def _sampling(self, config: SamplerConfig) -> Sampling:
        """Set up the chains of a run."""
        programs = self.programs[Plan.of(config)]
        return Sampling(programs, self.problem, self.formulation, config, self.execution, self.data)


@dataclass(frozen=True, eq=False)
class Form:
    """What a formulation comes down to.

    Parameters
    ----------
    model : callable
        The NumPyro model, a function of its arrays.
    arrays : callable
        From a problem, which may differ in its outcome from the one that the form was made for, to those
        arrays, on the host.
    variables : tuple of str
        The canonical variables that the model has, in order.
    recovery : ConditionalSampler or None
        How the others are drawn; None where there are none.
    keeps_shapes : bool
        Whether the arrays of another outcome have the same shapes, so that programs serve both.
    """

    model: Model
    arrays: Callable[[Problem], Any]
    variables: tuple[str, ...]
    recovery: ConditionalSampler | None = None
    keeps_shapes: bool = True


def form_of(problem: Problem, formulation: Formulation) -> Form:
    """Bring a formulation of a problem into its form.

    Raises
    ------
    Unsupported
        If coefficients cannot be integrated out, or there is nothing to be saved by statistics.
    """
    if formulation.is_marginalized:
        tree, places = build_tree(problem)
        return Form(
            build_marginal_model(problem, tree),
            lambda of: tree_arrays(of, places),
            tuple(v.name for v in problem.variables.values() if v.role in ("scale", "family")),
            ConditionalSampler(problem, tree),
        )
    model, variables = build_model(problem, formulation), tuple(problem.variables)
    if formulation.likelihood == "rows":
        return Form(model, rows_arrays, variables)
    if problem.spec.family == "gaussian":
        return Form(model, statistics_arrays, variables)
    return Form(model, merged_arrays, variables, keeps_shapes=False)
