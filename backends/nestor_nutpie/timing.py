"""Wall time of nutpie's chains, split between warmup and sampling stretch by stretch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.engines.protocol import Timings
from nestor.engines.support import split_wall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor_nutpie.monitor import ChainReports


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
