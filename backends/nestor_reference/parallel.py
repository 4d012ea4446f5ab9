"""Chains one after another, or side by side in threads.

NumPy releases the interpreter's lock inside its loops over long arrays, where nearly all of the time goes.
"""

from __future__ import annotations

import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from nestor.errors import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from nestor.engines.protocol import Progress, ProgressCallback, SamplerConfig


def workers(config: SamplerConfig) -> int:
    """Threads of a parallel run: no more than chains, nor than cores that may be used."""
    if config.cores is not None:
        return min(config.cores, config.chains)
    affinity = getattr(os, "sched_getaffinity", None)
    usable = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return min(usable, config.chains)


def run_chains[T](
    work: Callable[[int, ProgressCallback], T], config: SamplerConfig, tell: ProgressCallback
) -> list[T]:
    """Run `work(chain, progress)` for every chain; `tell` is called from this thread alone."""
    if config.chain_method == "sequential":
        return [work(chain, tell) for chain in range(config.chains)]
    events: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
    stop = threading.Event()

    def pass_on(event: Progress) -> None:
        if stop.is_set():
            raise EngineFailed("the exact reference was stopped before its chains had ended.")
        events.put(event)

    def one(chain: int) -> T:
        try:
            return work(chain, pass_on)
        finally:
            events.put(None)

    with ThreadPoolExecutor(workers(config), thread_name_prefix="nestor-chain") as pool:
        futures = [pool.submit(one, chain) for chain in range(config.chains)]
        try:
            running = config.chains
            while running:
                event = events.get()
                if event is None:
                    running -= 1
                else:
                    tell(event)
        finally:
            # Also on an interrupt, or if the callback fails: the chains end at their next report.
            stop.set()
    return [future.result() for future in futures]
