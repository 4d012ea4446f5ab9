"""How many chains run at once, and wall time split between warmup and sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.engines.cores import usable_cores
from nestor.engines.protocol import Timings
from nestor.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.engines.protocol import SamplerConfig
    from nestor_nutpie.monitor import ChainReports


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
        Seconds of each chain; empty where they could not be told apart, and then only both together are
        stated.
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
        warmup_and_sampling=wall,
        postprocess=postprocess,
        transfer=0.0,
        warmup_per_chain=tuple(warmup) if known else (),
        sampling_per_chain=tuple(sampling) if known else (),
    )


def cores_used(config: SamplerConfig, backend: str) -> int:
    """Return how many chains run at once.

    Raises
    ------
    Unsupported
        For vectorized chains.
    """
    if config.chain_method == "vectorized":
        raise Unsupported(
            f"{backend} has no vectorized chains (not in the library): its samplers run each chain in a "
            "thread or process of its own. Use parallel or sequential."
        )
    if config.chain_method == "sequential":
        return 1
    return min(config.chains, config.cores or len(usable_cores()))


class Clock:
    """Splits the wall seconds of each stretch by what nutpie reported of its chains."""

    def __init__(self, chains: Sequence[ChainReports], warmup: int) -> None:
        self._chains = chains
        self._warmup = warmup
        self._before: list[float] | None = None

    def stretch(self, wall: float, postprocess: float) -> Timings:
        """Timings of the stretch that has just ended; the first has the warmup."""
        seconds = [chain.seconds for chain in self._chains]
        if self._before is None:
            splits = [s for c in self._chains if (s := c.split(self._warmup)) is not None]
            complete = splits if len(splits) == len(self._chains) else []
            timings = split_wall(
                wall,
                [warmup for warmup, _ in complete],
                [sampling for _, sampling in complete],
                compile_s=0.0,
                postprocess=postprocess,
            )
        else:
            spent = [now - then for now, then in zip(seconds, self._before, strict=True)]
            timings = Timings(
                upload=0.0,
                compile=0.0,
                warmup=0.0,
                sampling=wall,
                warmup_and_sampling=wall,
                postprocess=postprocess,
                transfer=0.0,
                warmup_per_chain=tuple(0.0 for _ in spent),
                sampling_per_chain=tuple(spent),
            )
        self._before = seconds
        return timings
