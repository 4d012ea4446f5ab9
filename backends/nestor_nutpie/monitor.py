"""What nutpie reports of its chains: progress, and when each of them ended its warmup."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nestor.engines.protocol import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.engines.protocol import ProgressCallback, SamplerConfig

#: Milliseconds between nutpie's progress reports. They cost a few microseconds each, and bound how
#: sharply warmup can be told from sampling: marginalized, both may take 50 ms, and 10 could not tell them.
RATE_MS = 2
#: Warmup and sampling are told apart only if the report interval that holds the end of warmup is at most
#: this fraction of the chain's run.
_BRACKET = 0.1


def progress_at(warmup: int, total: int, chain: int, done: int, divergences: int) -> Progress:
    """Report `done` of `total` iterations of a chain, `warmup` of them; its phase follows from them."""
    return Progress(
        chain=chain,
        phase="warmup" if done < warmup else "sampling",
        done=done,
        total=total,
        divergences=divergences,
    )


@dataclass
class ChainReports:
    """What nutpie has reported of one chain: the draws and seconds around the end of warmup, and now.

    Seconds are those in which the chain drew; a pause does not count.
    """

    done: int = 0
    seconds: float = 0.0
    divergences: int = 0
    warming: tuple[int, float] = (0, 0.0)
    sampling: tuple[int, float] | None = None

    def report(self, state: Any, warmup: int) -> None:
        """Take in a `nutpie.ChainProgress`."""
        self.done, self.seconds = state.finished_draws, state.runtime_ms / 1000.0
        self.divergences = state.divergences
        if self.done < warmup:
            self.warming = (self.done, self.seconds)
        elif self.sampling is None:
            self.sampling = (self.done, self.seconds)

    def split(self, warmup: int) -> tuple[float, float] | None:
        """Seconds of warmup and of sampling; None where the reports are too far apart to say."""
        if self.sampling is None or self.seconds == 0.0:
            return None
        (before, start), (after, end) = self.warming, self.sampling
        if end - start > _BRACKET * self.seconds:
            return None
        warm = start + (end - start) * (warmup - before) / (after - before)
        return warm, self.seconds - warm


@dataclass
class Monitor:
    """Keeps nutpie's reports, and passes them on from the thread that called us.

    Parameters
    ----------
    config : SamplerConfig
        The run.
    on_progress : callable or None
        Whom to tell.
    total : int
        Iterations, warmup included, that the chains are on their way to.
    """

    config: SamplerConfig
    on_progress: ProgressCallback | None
    total: int
    chains: list[ChainReports] = field(default_factory=list)
    _told: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chains = [ChainReports() for _ in range(self.config.chains)]
        self._told = [-1] * self.config.chains

    def __call__(self, states: Sequence[Any]) -> None:
        """Take in the states of all chains."""
        # In nutpie's thread, where an exception would only be printed: no user code runs here.
        for chain, state in zip(self.chains, states, strict=True):
            chain.report(state, self.config.warmup)

    @property
    def arrived(self) -> bool:
        """Whether every chain has made `total` iterations; some may have made more."""
        return all(chain.done >= self.total for chain in self.chains)

    def tell(self, *, finished: bool = False) -> None:
        """Report chains that have got further since they were last reported."""
        if self.on_progress is None:
            return
        for i, chain in enumerate(self.chains):
            done = self.total if finished else min(chain.done, self.total)
            if done > self._told[i]:
                self._told[i] = done
                self.on_progress(
                    progress_at(self.config.warmup, self.total, i, done, chain.divergences)
                )
