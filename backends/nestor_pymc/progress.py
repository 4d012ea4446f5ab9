"""One chain's state as a progress report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.backend import Progress

if TYPE_CHECKING:
    from nestor.backend import SamplerConfig


def progress_at(config: SamplerConfig, chain: int, done: int, divergences: int) -> Progress:
    """Report `done` iterations of a chain; its phase follows from them."""
    return Progress(
        chain=chain,
        phase="warmup" if done < config.warmup else "sampling",
        done=done,
        total=config.warmup + config.draws,
        divergences=divergences,
    )
