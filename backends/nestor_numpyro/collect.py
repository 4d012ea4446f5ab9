"""From the chains' buffers on the device to arrays on the host."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.engines.protocol import SamplerConfig
    from nestor_numpyro.chains import Run
    from nestor_numpyro.data import ModelData
    from nestor_numpyro.programs import Programs

_STATS: Mapping[str, type[np.generic]] = {
    "diverging": np.bool_,
    "energy": np.float64,
    "n_steps": np.int64,
    "acceptance_rate": np.float64,
    "step_size": np.float64,
    "lp": np.float64,
}


@dataclass
class _Collected:
    """Draws and statistics of all chains, on the host, and the seconds that bringing them took."""

    chains: int
    values: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    stats: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    postprocess: float = 0.0
    transfer: float = 0.0


def collect(
    programs: Programs, runs: Sequence[Run], config: SamplerConfig, data: ModelData
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.generic]], float, float]:
    """Convert and copy run by run, so that the device holds the canonical draws of one at a time.

    Returns
    -------
    values, stats : dict of ndarray, (chain, draw, *shape)
        The canonical variables of the model and the sampler's statistics.
    postprocess, transfer : float
        Seconds of the conversion and of the copy.
    """
    found = _Collected(config.chains)
    for i, run in enumerate(runs):
        begin = time.perf_counter()
        canonical = jax.block_until_ready(programs.convert(run.buffers["z"], data))
        middle = time.perf_counter()
        lanes = programs.plan.lanes
        one = None if lanes is not None else i
        for name in programs.variables:
            _store(found.values, name, canonical[name], np.float64, run.rows, one, config.chains)
        for name, dtype in _STATS.items():
            _store(found.stats, name, run.buffers[name], dtype, run.rows, one, config.chains)
        found.postprocess += middle - begin
        found.transfer += time.perf_counter() - middle
    # A trajectory of d doublings takes at most 2^d - 1 steps, and more than 2^(d-1) - 1.
    depth = np.ceil(np.log2(np.asarray(found.stats["n_steps"], np.float64) + 1)).astype(np.int64)
    return found.values, {**found.stats, "tree_depth": depth}, found.postprocess, found.transfer


def _store(
    into: dict[str, Any],
    name: str,
    array: Any,
    dtype: type[np.generic],
    rows: slice,
    one: int | None,
    chains: int,
) -> None:
    """Copy the rows of one chain, or with ``one=None`` of all of them as lanes."""
    host = np.asarray(array)
    host = host[:, rows] if one is None else host[rows]
    if name not in into:
        shape = host.shape if one is None else (chains, *host.shape)
        into[name] = np.empty(shape, dtype)
    into[name][slice(None) if one is None else one] = host
