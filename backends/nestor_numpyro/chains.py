"""Running chains: one after another, side by side in threads, or as lanes of one program.

Threads share one compiled program and one CPU device: JAX releases the interpreter's lock while it
computes. Two chains on two cores took 0.51 of the time of one after another (4,000 rows, 1.47 s against
2.88 s), so several host devices, each with a program of its own to compile, would gain nothing.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from nestor.backend import Progress
from nestor.errors import EngineFailed
from nestor_numpyro.programs import chain_keys
from nestor_numpyro.starts import find_start

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from nestor.backend import Phase, ProgressCallback, SamplerConfig
    from nestor_numpyro.data import ModelData
    from nestor_numpyro.place import Place
    from nestor_numpyro.programs import Programs

#: Seconds between two reports of a chain.
REPORT_EVERY = 0.2

#: (phase, iterations done, divergences so far: a scalar, or one for each lane)
Report = Callable[["Phase", int, "NDArray[np.int64]"], None]


@dataclass(frozen=True)
class Run:
    """One run of the programs: a chain, or all of them as lanes.

    Parameters
    ----------
    buffers : dict
        What was kept of each draw, on the device.
    divergences : ndarray of int, () or (lanes,)
        Among the kept draws.
    warmup, sampling : float
        Seconds; finding a starting point counts as warmup.
    """

    buffers: dict[str, Any]
    divergences: NDArray[np.int64]
    warmup: float
    sampling: float


def run_sequential(
    programs: Programs, config: SamplerConfig, data: ModelData, progress: ProgressCallback
) -> list[Run]:
    """Run one chain after another."""
    keys = chain_keys(config.seed, config.chains)
    return [
        _run(programs, keys[i], data, config.seed, (i,), _reporter(progress, config, (i,)))
        for i in range(config.chains)
    ]


def run_vectorized(
    programs: Programs, config: SamplerConfig, data: ModelData, progress: ProgressCallback
) -> list[Run]:
    """Run all chains as lanes of one program; each iteration waits for the longest trajectory."""
    keys = chain_keys(config.seed, config.chains)
    chains = range(config.chains)
    return [_run(programs, keys, data, config.seed, chains, _reporter(progress, config, chains))]


def run_parallel(
    programs: Programs,
    config: SamplerConfig,
    data: ModelData,
    progress: ProgressCallback,
    place: Place,
) -> list[Run]:
    """Run chains in threads; progress is reported from the calling thread alone."""
    keys = chain_keys(config.seed, config.chains)
    events: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
    stop = threading.Event()

    def work(i: int) -> Run:
        report = _reporter(events.put, config, (i,))
        try:
            with place.scope():
                return _run(programs, keys[i], data, config.seed, (i,), report, stop)
        finally:
            events.put(None)

    with ThreadPoolExecutor(workers(config), thread_name_prefix="nestor-chain") as pool:
        futures = [pool.submit(work, i) for i in range(config.chains)]
        try:
            running = config.chains
            while running:
                event = events.get()
                if event is None:
                    running -= 1
                else:
                    progress(event)
        finally:
            # Also on an interrupt, or if the callback fails: the chains end at their next report.
            stop.set()
    return [future.result() for future in futures]


def workers(config: SamplerConfig) -> int:
    """Threads of a parallel run: no more than chains, nor than cores that may be used."""
    if config.cores is not None:
        return min(config.cores, config.chains)
    affinity = getattr(os, "sched_getaffinity", None)
    usable = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return min(usable, config.chains)


def _reporter(progress: ProgressCallback, config: SamplerConfig, chains: Sequence[int]) -> Report:
    total = config.warmup + config.draws

    def report(phase: Phase, done: int, divergences: NDArray[np.int64]) -> None:
        for chain, count in zip(chains, np.atleast_1d(divergences), strict=True):
            progress(Progress(chain, phase, done, total, int(count)))

    return report


def _run(
    programs: Programs,
    key: Any,
    data: ModelData,
    seed: int,
    chains: Sequence[int],
    report: Report,
    stop: threading.Event | None = None,
) -> Run:
    plan = programs.plan
    none = np.zeros(() if plan.lanes is None else plan.lanes, np.int64)
    begin = time.perf_counter()
    report("warmup", 0, none)
    state, buffers = find_start(programs, key, data, seed, chains)
    chain = _Chain(programs, data, state, buffers, stop)
    for done, _ in chain.iterate(plan.warmup):
        report("warmup", done, none)
    middle = time.perf_counter()
    divergences = none
    for done, found in chain.iterate(plan.draws):
        divergences = divergences + found
        report("sampling", plan.warmup + done, divergences)
    return Run(chain.buffers, divergences, middle - begin, time.perf_counter() - middle)


class _Chain:
    """The state of one run, advanced by as many iterations at a time as fit between two reports."""

    def __init__(
        self,
        programs: Programs,
        data: ModelData,
        state: Any,
        buffers: Any,
        stop: threading.Event | None,
    ) -> None:
        self._advance = programs.advance
        self._data = data
        self._state = state
        self.buffers = buffers
        self._stop = stop

    def iterate(self, iterations: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Advance; yields iterations done so far and the divergences of the last stretch."""
        done, stretch = 0, 1
        while done < iterations:
            if self._stop is not None and self._stop.is_set():
                raise EngineFailed("numpyro was stopped before its chains had ended.")
            stretch = min(stretch, iterations - done)
            begin = time.perf_counter()
            count = jnp.asarray(stretch, jnp.int32)
            self._state, self.buffers, found = jax.block_until_ready(
                self._advance(self._state, self.buffers, count, self._data)
            )
            seconds = time.perf_counter() - begin
            done += stretch
            yield done, np.asarray(found, dtype=np.int64)
            # Trajectories change length during warmup, so the guess may be off: let it grow slowly.
            fits = int(REPORT_EVERY * stretch / max(seconds, 1e-9))
            stretch = max(1, min(fits, 4 * stretch))
