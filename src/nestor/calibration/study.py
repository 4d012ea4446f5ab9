"""One task after another in one process: generate, sample, rank."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nestor.calibration.engine import Engine
from nestor.calibration.fits import load_parameters, save_parameters
from nestor.calibration.job import FIT_BLOCK, Record
from nestor.calibration.ranking import SPARE, Thinned, rank
from nestor.calibration.simulate import draw_outcome, draw_parameters
from nestor.calibration.streams import DATA, ENGINE, FIT, TIES, engine_seed, stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from nestor.calibration.job import Job, Task
    from nestor.data.problem import Problem
    from nestor.engines.protocol import SamplerConfig


class Study:
    """A calibration study in one process.

    Parameters
    ----------
    job : Job
        What to study.
    on_compiled : callable
        Called with whether compiled programs are used again for other outcomes, each time an engine
        has been compiled for a design.
    """

    def __init__(self, job: Job, on_compiled: Callable[[bool], None] = lambda _: None) -> None:
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
    def _simulating(self) -> Engine:
        problem = self._job.problem
        return self._engine(problem if self._job.around == "prior" else problem.repeated(2))

    @cached_property
    def _fitting(self) -> Engine:
        return self._engine(self._job.problem)

    def _engine(self, design: Problem) -> Engine:
        engine = Engine(self._job, design)
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
