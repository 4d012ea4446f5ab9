"""Draws whose values are made block by block: all of them in memory, and what making them took."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from nestor.engines.optional import MadeOnDevice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from nestor.engines.optional import Deferred
    from nestor.engines.protocol import Draws


def together(deferred: Deferred) -> dict[str, NDArray[np.float64]]:
    """Make all values in memory, (chain, draw, *shape)."""
    found = {name: np.empty(shape) for name, shape in deferred.shapes.items()}
    for chain, first, values in deferred.blocks():
        for name, block in values.items():
            found[name][chain, first : first + len(block)] = block
    return found


def in_memory(draws: Draws, names: Iterable[str]) -> Draws:
    """Make what is deferred, in memory.

    Parameters
    ----------
    draws : Draws
        What a sampler returned.
    names : iterable of str
        All variables, in the order that they shall have.

    Returns
    -------
    Draws
        With nothing deferred; those that had nothing are returned as they are.
    """
    if draws.deferred is None:
        return draws
    begin = time.perf_counter()
    values = {**draws.values, **draws.deferred.together()}
    ordered = {name: values[name] for name in names}
    found = with_cost(draws, time.perf_counter() - begin)
    return replace(found, values=ordered, deferred=None)


def with_cost(draws: Draws, seconds: float) -> Draws:
    """Add to draws what making their deferred values took.

    Parameters
    ----------
    draws : Draws
        What a sampler returned, its deferred values having been made.
    seconds : float
        Of that; they count as postprocess.

    Returns
    -------
    Draws
        With these seconds, and with the device's peak memory as it is now.
    """
    spent = (draws.timings.postprocess or 0.0) + seconds
    peak, made = draws.device_peak_bytes, cast("object", draws.deferred)
    if isinstance(made, MadeOnDevice):
        peak = made.device_peak_bytes
    return replace(draws, timings=replace(draws.timings, postprocess=spent), device_peak_bytes=peak)
