"""A study's tasks in one process: simulate, sample, rank."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from nestor.calibration.ranking import SPARE, Thinned, rank, thin
from nestor.calibration.simulate import (
    DATA,
    ENGINE,
    FIT,
    TIES,
    draw_outcome,
    draw_parameters,
    engine_seed,
    stream,
)
from nestor.calibration.tasks import FIT_BLOCK, LONGEST, Record
from nestor.engines import registry
from nestor.engines.lazy import in_memory
from nestor.engines.protocol import Reusable
from nestor.errors import DataError, EngineFailed
from nestor.posterior.log_likelihood import total_log_likelihood
from nestor.posterior.quantities import ComparedQuantities
from nestor.runner.contract import check_draws
from nestor.runner.sampling import compile_model, sample_in_stretches
from nestor.runner.store import write_atomically
from nestor.stats.diagnostics import chain_failures

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from nestor.calibration.tasks import StudyJob, Task
    from nestor.data.problem import Problem
    from nestor.engines.protocol import CompiledModel, Draws, SamplerConfig
    from nestor.stats.arrays import FloatArray


def fit_path(job: StudyJob, block: int) -> Path:
    """File of a block's parameters."""
    return job.fits / f"{block:04d}.npz"


def save_parameters(job: StudyJob, block: int, values: Mapping[str, NDArray[np.float64]]) -> None:
    """Keep a fit's draws, (FIT_BLOCK, *shape) each, in random order: chains are not to be neighbours."""
    order = stream(job.config.seed, block, FIT).permutation(FIT_BLOCK)
    shuffled = {name: array[order] for name, array in values.items()}

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **shuffled)

    write_atomically(fit_path(job, block), write)


def load_parameters(job: StudyJob, simulation: int) -> dict[str, NDArray[np.float64]]:
    """Return the parameters of a simulation around the posterior.

    Raises
    ------
    DataError
        If the fit's file cannot be read.
    """
    block, row = divmod(simulation, FIT_BLOCK)
    path = fit_path(job, block)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name][row] for name in job.problem.variables}
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise DataError(f"{path} cannot be read ({error}). Remove it and run again.") from None


class StudyEngine:
    """An engine on one design, compiled once where it can take another outcome.

    Parameters
    ----------
    job : StudyJob
        Which engine.
    design : Problem
        Design and priors; its outcome is not used.
    """

    def __init__(self, job: StudyJob, design: Problem) -> None:
        self._contender, self._design = job.contender, design
        self._backend = registry.get(job.contender.backend).backend
        for name in self._backend.requires:
            import_module(name)
        self._model = self._compile(design)
        self.reuses = isinstance(self._model, Reusable)

    def _compile(self, problem: Problem) -> CompiledModel:
        return compile_model(self._backend, self._contender, problem)

    def near_independent(self, y: FloatArray, config: SamplerConfig, count: int) -> Thinned:
        """Sample given an outcome until `count` near-independent draws can be kept, or to the limit."""
        problem = self._design.with_outcome(y)
        model = (
            self._model.with_outcome(y)
            if isinstance(self._model, Reusable)
            else self._compile(problem)
        )
        quantities = ComparedQuantities(problem)
        first = max(config.draws, -(-int(SPARE * count) // config.chains))
        looks = [first * 2**k for k in range(LONGEST.bit_length())]
        with closing(self._so_far(model, replace(config, draws=first), looks)) as stretches:
            for draws in stretches:
                values = dict(draws.values)
                flat = quantities.flatten(values, total_log_likelihood(problem, values))
                if not np.isfinite(flat).all():
                    raise EngineFailed("the backend returned draws that are not finite.")
                if wrong := self._wrong_chains(problem, draws, flat):
                    raise EngineFailed(f"its draws are no chains: {wrong[0][1]}.")
                divergences = _count(draws, "diverging")
                found = thin(values, flat, divergences, count)
                if found.enough:
                    break
        return found

    def _wrong_chains(
        self, problem: Problem, draws: Draws, quantities: FloatArray
    ) -> list[tuple[str, str]]:
        """Apply the gates that hold for a run of any length: draws that are no chains have no ranks."""
        scalars = problem.scalars
        return chain_failures(
            quantities[..., : len(scalars)],
            draws.stats,
            draws.settings,
            scalars.is_scale,
            self._contender.dtype,
        )

    def quantities_at(self, y: FloatArray, theta: Mapping[str, FloatArray]) -> FloatArray:
        """The ranked quantities of one point, given an outcome, (n,)."""
        problem = self._design.with_outcome(y)
        values = {name: np.asarray(value)[None, None] for name, value in theta.items()}
        flat = ComparedQuantities(problem).flatten(values, total_log_likelihood(problem, values))
        point: FloatArray = flat[0, 0]
        return point

    def _so_far(
        self, model: CompiledModel, config: SamplerConfig, looks: list[int]
    ) -> Generator[Draws]:
        """All draws up to each look: chains go on where they can, and else run again for longer."""
        stretches, refusal = sample_in_stretches(
            model, self._backend, self._contender, config, looks
        )
        if refusal is None:
            parts: list[Draws] = []
            for look, before, part in zip(looks, [0, *looks], stretches, strict=False):
                parts.append(self._checked(part, config.chains, look - before))
                yield _joined(parts)
            return
        yield self._checked(next(stretches), config.chains, looks[0])
        for look in looks[1:]:
            draws = model.sample(replace(config, draws=look))
            yield self._checked(draws, config.chains, look)

    def _checked(self, draws: object, chains: int, length: int) -> Draws:
        """Check the backend's draws against the contract, and load them into memory."""
        design, dtype = self._design, self._contender.dtype
        found = check_draws(design, draws, chains, length, dtype)
        if found.deferred is None:
            return found
        return check_draws(design, in_memory(found, design.variables), chains, length, dtype)


def _joined(parts: list[Draws]) -> Draws:
    first = parts[0]
    if len(parts) == 1:
        return first
    values = {n: np.concatenate([p.values[n] for p in parts], axis=1) for n in first.values}
    stats = {n: np.concatenate([p.stats[n] for p in parts], axis=1) for n in first.stats}
    return replace(first, values=values, stats=stats)


def _count(draws: Draws, stat: str) -> int:
    """Iterations of which a statistic is true; 0 where the sampler does not say."""
    return int(np.count_nonzero(draws.stats[stat])) if stat in draws.stats else 0


class Study:
    """A calibration study in one process.

    Parameters
    ----------
    job : StudyJob
        What to study.
    on_compiled : callable
        Called with whether compiled programs are used again for other outcomes, each time an engine
        has been compiled for a design.
    """

    def __init__(self, job: StudyJob, on_compiled: Callable[[bool], None] = lambda _: None) -> None:
        self._job, self._on_compiled = job, on_compiled

    def prepare(self, task: Task) -> None:
        """Compile what a task needs, if that is not done; its failure concerns every task."""
        _ = self._fitting if task.kind == "fit" else self._simulating

    def run(self, task: Task) -> Record:
        """Do a task."""
        begin = time.perf_counter()
        record = self._fit(task.number) if task.kind == "fit" else self._simulate(task.number)
        return replace(record, seconds=time.perf_counter() - begin)

    @cached_property
    def _simulating(self) -> StudyEngine:
        problem = self._job.problem
        return self._engine(problem if self._job.around == "prior" else problem.repeated(2))

    @cached_property
    def _fitting(self) -> StudyEngine:
        return self._engine(self._job.problem)

    def _engine(self, design: Problem) -> StudyEngine:
        engine = StudyEngine(self._job, design)
        self._on_compiled(engine.reuses)
        return engine

    def _config(self, number: int, purpose: int) -> SamplerConfig:
        config = self._job.config
        seed = engine_seed(config.seed, number, purpose)
        return self._job.contender.config(replace(config, seed=seed))

    def _simulate(self, s: int) -> Record:
        """Draw parameters and an outcome, sample given the outcome, and rank the parameters.

        Around the posterior the outcome stands beside the one that was observed, and the parameters are
        a draw from the posterior given the latter (Säilynoja, Schmitt, Bürkner and Vehtari 2025,
        "Posterior SBC: Simulation-based calibration checking conditional on data").
        """
        job = self._job
        rng = stream(job.config.seed, s, DATA)
        if job.around == "prior":
            theta = draw_parameters(job.problem, rng)
            y = draw_outcome(job.problem, theta, rng)
        else:
            theta = load_parameters(job, s)
            # `Problem.repeated` puts the copies of a row one behind the other.
            y = np.column_stack([job.problem.y, draw_outcome(job.problem, theta, rng)]).ravel()
        engine = self._simulating
        found = engine.near_independent(y, self._config(s, ENGINE), job.ranked_draws)
        if not found.enough:
            return _unconverged(s, found, job.ranked_draws)
        truth = engine.quantities_at(y, theta)
        ranks = rank(truth, found.quantities, stream(job.config.seed, s, TIES))
        return Record(
            s,
            "ok",
            ranks=tuple(int(r) for r in ranks),
            ess=found.ess,
            draws=found.draws,
            divergences=found.divergences,
        )

    def _fit(self, block: int) -> Record:
        """Fit the data, and keep near-independent draws as the parameters of a block of simulations."""
        job = self._job
        found = self._fitting.near_independent(job.problem.y, self._config(block, FIT), FIT_BLOCK)
        if not found.enough:
            return _unconverged(block, found, FIT_BLOCK)
        save_parameters(job, block, found.values)
        return Record(block, "ok", ess=found.ess, draws=found.draws, divergences=found.divergences)


def _unconverged(number: int, found: Thinned, count: int) -> Record:
    message = (
        f"smallest ESS {found.ess:.0f} after {found.draws} draws per chain; {count} near-independent "
        f"draws take {SPARE * count:.0f}"
    )
    return Record(
        number,
        "unconverged",
        message,
        ess=found.ess,
        draws=found.draws,
        divergences=found.divergences,
    )
