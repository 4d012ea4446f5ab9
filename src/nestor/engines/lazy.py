"""Lazy draws in memory, and the seconds that making them took."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from nestor.engines.optional import LazyDraws
    from nestor.engines.protocol import Draws


def load(deferred: LazyDraws) -> dict[str, NDArray[np.float64]]:
    """Make all values in memory, (chain, draw, *shape)."""
    found = {name: np.empty(shape) for name, shape in deferred.shapes.items()}
    for chain, first, values in deferred.blocks():
        for name, block in values.items():
            found[name][chain, first : first + len(block)] = block
    return found


def in_memory(draws: Draws, names: Iterable[str]) -> Draws:
    """Make all lazy draws in memory.

    Parameters
    ----------
    draws : Draws
        What a sampler returned.
    names : iterable of str
        All variables, in the order that they shall have.

    Returns
    -------
    Draws
        Without lazy ones; draws that had none are returned as they are.
    """
    if draws.deferred is None:
        return draws
    begin = time.perf_counter()
    values = {**draws.values, **draws.deferred.load()}
    ordered = {name: values[name] for name in names}
    found = with_cost(draws, time.perf_counter() - begin)
    return replace(found, values=ordered, deferred=None)


def with_cost(draws: Draws, seconds: float) -> Draws:
    """Add the cost of making lazy draws.

    Parameters
    ----------
    draws : Draws
        What a sampler returned; its lazy draws have been made.
    seconds : float
        What making them took; counts as postprocess.

    Returns
    -------
    Draws
        With these seconds, and with the device's peak memory as it is now.
    """
    spent = (draws.timings.postprocess or 0.0) + seconds
    peak = getattr(draws.deferred, "device_peak_bytes", draws.device_peak_bytes)
    return replace(draws, timings=replace(draws.timings, postprocess=spent), device_peak_bytes=peak)
