"""An engine on one design: compiled once where it can be, sampled until draws suffice."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from nestor.calibration.job import LONGEST
from nestor.calibration.ranking import SPARE, Thinned, thin
from nestor.engines import registry
from nestor.engines.lazy import in_memory
from nestor.engines.protocol import Reusable
from nestor.errors import EngineFailed
from nestor.posterior.log_likelihood import total_log_likelihood
from nestor.posterior.quantities import ComparedQuantities
from nestor.runner.contract import check_draws
from nestor.runner.sampling import compile_model, sample_in_stretches
from nestor.stats.diagnostics import chain_failures

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from numpy.typing import NDArray

    from nestor.calibration.job import Job
    from nestor.data.problem import Problem
    from nestor.engines.protocol import CompiledModel, Draws, SamplerConfig

    type FloatArray = NDArray[np.float64]


class Engine:
    """An engine on one design, compiled once where it can take another outcome.

    Parameters
    ----------
    job : Job
        Which engine.
    design : Problem
        Design and priors; its outcome is not used.
    """

    def __init__(self, job: Job, design: Problem) -> None:
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
        """Of the gates those that hold for a run of any length: draws that are no chains have no ranks."""
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
        """Hold what the backend returned to the contract, all of it in memory."""
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
