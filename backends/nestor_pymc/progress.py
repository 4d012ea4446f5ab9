"""One chain's state as a progress report."""

from __future__ import annotations

from nestor.backend import Progress


def progress_at(warmup: int, total: int, chain: int, done: int, divergences: int) -> Progress:
    """Report `done` of `total` iterations of a chain, `warmup` of them; its phase follows from them."""
    return Progress(
        chain=chain,
        phase="warmup" if done < warmup else "sampling",
        done=done,
        total=total,
        divergences=divergences,
    )
