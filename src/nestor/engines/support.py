"""What every backend needs beside its model: cores, seeds, threads of chains, looks, starts, phases.

Nothing here knows a sampler. Coordinates are defined in `nestor.engines.coordinates`, the check of what is
asked for in `nestor.engines.capability`, lazy draws in `nestor.engines.lazy`; all can be imported from here.
"""

from __future__ import annotations

import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nestor.engines.capability import require, require_config
from nestor.engines.coordinates import Coordinates, PriorTransform, log_jacobian
from nestor.engines.lazy import in_memory
from nestor.engines.protocol import Progress, Timings
from nestor.errors import EngineFailed, SpecError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nestor.engines.protocol import Phase, ProgressCallback, SamplerConfig
    from nestor.stats.arrays import FloatArray


__all__ = [
    "ChainReporter",
    "Coordinates",
    "PriorTransform",
    "chain_streams",
    "chains_at_once",
    "check_looks",
    "find_start",
    "in_memory",
    "log_jacobian",
    "needs_sampler",
    "require",
    "require_config",
    "run_chains",
    "silent",
    "split_wall",
    "usable_cores",
]

#: Starting points that are tried before a density is given up.
TRIES = 100


def usable_cores() -> tuple[int, ...]:
    """Numbers of the cores that this process may use, in order; all of them where a system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def chains_at_once(config: SamplerConfig) -> int:
    """Chains that run at the same time: no more than there are, nor than cores that may be used."""
    if config.chain_method == "sequential":
        return 1
    if config.chain_method == "vectorized":
        return config.chains
    return min(config.chains, config.cores or len(usable_cores()))


def chain_streams(seed: int, count: int) -> list[np.random.Generator]:
    """Independent random numbers for each chain; a chain's do not depend on how many chains there are."""
    return [np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(count)]


def needs_sampler[T](sampler: T | None) -> T:
    """Return what samples.

    Raises
    ------
    Unsupported
        If there is none: the model was compiled with ``sampler=None``.
    """
    if sampler is None:
        raise Unsupported("this model was compiled for densities only: compile it with a sampler.")
    return sampler


def check_looks(config: SamplerConfig, looks: Sequence[int]) -> None:
    """Refuse looks that do not begin with `config.draws` and increase.

    Raises
    ------
    SpecError
        If they do not.
    """
    if list(looks[:1]) != [config.draws] or sorted(set(looks)) != list(looks):
        raise SpecError(
            f"looks must increase from config.draws = {config.draws}, not {list(looks)}."
        )


class _Evaluate(Protocol):
    def __call__(self, z: FloatArray, /) -> tuple[float, FloatArray]: ...


def find_start(
    evaluate: _Evaluate, point: Callable[[int], FloatArray], engine: str, tries: int = TRIES
) -> FloatArray:
    """Return the first of a series of points at which a density and its gradient are finite, (d,).

    Parameters
    ----------
    evaluate : callable
        Point, (d,), to value and gradient.
    point : callable
        Number of the try, from 0, to a point.
    engine : str
        Named in the message.
    tries : int
        Points at most.

    Raises
    ------
    EngineFailed
        If none of them is.
    """
    for attempt in range(tries):
        start = np.asarray(point(attempt), np.float64)
        value, gradient = evaluate(start)
        if np.isfinite(value) and np.isfinite(gradient).all():
            return start
    raise EngineFailed(f"{engine} found no point with a finite density in {tries} tries.")


def silent(_: Progress) -> None:
    """Report to nobody."""


class ChainReporter:
    """Reports of one chain, passed on at most a hundred times.

    Parameters
    ----------
    on_progress : callable or None
        Whom to tell.
    chain : int
        Number of the chain, from 0.
    config : SamplerConfig
        The run.
    """

    def __init__(
        self, on_progress: ProgressCallback | None, chain: int, config: SamplerConfig
    ) -> None:
        self._tell, self._chain = on_progress or silent, chain
        self._warmup, self._total = config.warmup, config.warmup + config.draws
        self._every = max(1, self._total // 100)

    def __call__(self, done: int, divergences: int = 0) -> None:
        """Say that `done` iterations are done, warmup included, and how many kept draws diverged."""
        if done % self._every == 0 or done == self._total:
            phase: Phase = "warmup" if done <= self._warmup else "sampling"
            self._tell(Progress(self._chain, phase, done, self._total, divergences))


def run_chains[T](
    work: Callable[[int, ProgressCallback], T],
    config: SamplerConfig,
    on_progress: ProgressCallback,
    engine: str,
) -> list[T]:
    """Run `work` for every chain: in turn if ``config.chain_method`` is "sequential", else in threads.

    Threads gain where the work releases the interpreter's lock, as NumPy's loops over long arrays,
    compiled programs of JAX and functions of Numba do.

    Parameters
    ----------
    work : callable
        Takes the number of a chain and whom to tell of its progress; returns what the chain made.
    config : SamplerConfig
        Chains, how they are run, and cores.
    on_progress : callable
        Is called in the calling thread alone, so it need not be thread-safe. What it raises ends
        the run: every other chain ends at its next report.
    engine : str
        Named in messages.

    Returns
    -------
    list
        What `work` returned, in the order of the chains.
    """
    if config.chain_method == "sequential":
        return [work(chain, on_progress) for chain in range(config.chains)]
    events: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
    stop = threading.Event()

    def pass_on(event: Progress) -> None:
        if stop.is_set():
            raise EngineFailed(f"{engine} was stopped before its chains had ended.")
        events.put(event)

    def one(chain: int) -> T:
        try:
            return work(chain, pass_on)
        finally:
            events.put(None)

    with ThreadPoolExecutor(chains_at_once(config), thread_name_prefix="nestor-chain") as pool:
        futures = [pool.submit(one, chain) for chain in range(config.chains)]
        try:
            running = config.chains
            while running:
                event = events.get()
                if event is None:
                    running -= 1
                else:
                    on_progress(event)
        finally:
            # Also on an interrupt, or if the callback fails.
            stop.set()
    return [future.result() for future in futures]


def split_wall(
    wall: float,
    warmup: Sequence[float],
    sampling: Sequence[float],
    *,
    compile_s: float,
    postprocess: float,
    upload: float = 0.0,
    transfer: float = 0.0,
) -> Timings:
    """Split wall seconds between warmup and sampling, in proportion to the chains' own seconds.

    Parameters
    ----------
    wall : float
        Seconds from the start of the first chain to the end of the last.
    warmup, sampling : sequence of float
        Seconds of each chain; empty where they could not be told apart, and then only both together are
        stated.
    compile_s, postprocess, upload, transfer : float
        Seconds of the other phases.
    """
    total = sum(warmup) + sum(sampling)
    known = total > 0.0
    return Timings(
        upload=upload,
        compile=compile_s,
        warmup=wall * sum(warmup) / total if known else None,
        sampling=wall * sum(sampling) / total if known else None,
        warmup_and_sampling=wall,
        postprocess=postprocess,
        transfer=transfer,
        warmup_per_chain=tuple(warmup) if known else (),
        sampling_per_chain=tuple(sampling) if known else (),
    )
