"""Compile and sample a contender within the current process."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from nestor.engines.protocol import Resumable
from nestor.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.engines.protocol import Backend, CompiledModel, Draws, Progress, SamplerConfig


def compile_model(
    backend: Backend, contender: Contender, problem: Problem, *, to_sample: bool = True
) -> CompiledModel:
    """Compile a contender's model of a problem; without its sampler where only densities are asked for."""
    return backend.compile(
        problem,
        contender.formulation,
        sampler=contender.sampler if to_sample else None,
        device=contender.device,
        dtype=contender.dtype,
    )


def sample_in_stretches(
    model: CompiledModel,
    backend: Backend,
    contender: Contender,
    config: SamplerConfig,
    looks: Sequence[int],
    progress: Callable[[Progress], None] | None = None,
) -> tuple[Iterator[Draws], str | None]:
    """Sample up to each look, where the chains can go on from where they stand.

    Parameters
    ----------
    model : CompiledModel
        Of the contender.
    backend : Backend
        Its backend.
    contender : Contender
        Who samples.
    config : SamplerConfig
        Its draws are those of the first look.
    looks : sequence of int
        Increasing numbers of kept draws per chain; empty to sample once.
    progress : callable, optional
        Hears of the state of each chain.

    Returns
    -------
    stretches : iterator of Draws
        The draws between two looks; all draws of the config at once where there are no looks, or chains
        cannot go on.
    refusal : str or None
        Why the chains cannot go on, where that is asked for and so.
    """
    if not looks:
        return iter([model.sample(config, progress)]), None
    refusal = backend.capabilities().reason([contender.sampler or "", "extend"])
    if refusal is None and isinstance(model, Resumable):
        stretches = model.sample_until(config, looks, progress)
        try:
            first = next(stretches)
        except (
            Unsupported
        ) as error:  # as these chains are run; `sample` refuses what no chains can do
            refusal = str(error)
        else:
            return chain([first], stretches), None
    refusal = refusal or "its backend does not offer it"
    return iter([model.sample(config, progress)]), refusal
