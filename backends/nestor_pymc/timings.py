"""Splitting wall time between warmup and sampling."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nestor.backend import Timings
from nestor.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.backend import SamplerConfig


def split_wall(
    wall: float,
    warmup: Sequence[float],
    sampling: Sequence[float],
    *,
    compile_s: float,
    postprocess: float,
) -> Timings:
    """Split wall seconds in proportion to the sums of the chains' own seconds.

    Parameters
    ----------
    wall : float
        Seconds from the start of the first chain to the end of the last.
    warmup, sampling : sequence of float
        Seconds of each chain; empty where they could not be told apart, and then neither is stated.
    compile_s, postprocess : float
        Seconds of the other phases.
    """
    total = sum(warmup) + sum(sampling)
    known = total > 0.0
    return Timings(
        upload=0.0,
        compile=compile_s,
        warmup=wall * sum(warmup) / total if known else None,
        sampling=wall * sum(sampling) / total if known else None,
        postprocess=postprocess,
        transfer=0.0,
        warmup_per_chain=tuple(warmup) if known else (),
        sampling_per_chain=tuple(sampling) if known else (),
    )


def cores_used(config: SamplerConfig) -> int:
    """Return how many chains run at once.

    Raises
    ------
    Unsupported
        For vectorized chains.
    """
    if config.chain_method == "vectorized":
        raise Unsupported(
            "pymc has no vectorized chains (not in the library): its samplers run each chain in a thread "
            "or process of its own. Use parallel or sequential."
        )
    if config.chain_method == "sequential":
        return 1
    return min(config.chains, config.cores or _usable_cores())


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
