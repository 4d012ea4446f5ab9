"""From the chains' buffers on the device to arrays on the host."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

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


def collect(
    programs: Programs, runs: Sequence[Run], chains: int, data: ModelData
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.generic]], float, float]:
    """Convert and copy run by run, so that the device holds the canonical draws of one at a time.

    Returns
    -------
    values, stats : dict of ndarray, (chain, draw, *shape)
        The canonical variables and the sampler's statistics.
    postprocess, transfer : float
        Seconds of the conversion and of the copy.
    """
    values: dict[str, NDArray[np.float64]] = {}
    stats: dict[str, NDArray[np.generic]] = {}
    postprocess = transfer = 0.0
    for i, run in enumerate(runs):
        begin = time.perf_counter()
        canonical = jax.block_until_ready(programs.convert(run.buffers["z"], data))
        middle = time.perf_counter()
        one = None if programs.plan.lanes is not None else i
        for name in programs.variables:
            _store(values, name, canonical[name], np.float64, run.rows, one, chains)
        for name, dtype in _STATS.items():
            _store(stats, name, run.buffers[name], dtype, run.rows, one, chains)
        postprocess += middle - begin
        transfer += time.perf_counter() - middle
    # A trajectory of d doublings takes at most 2^d - 1 steps, and more than 2^(d-1) - 1.
    stats["tree_depth"] = np.ceil(np.log2(stats["n_steps"] + 1)).astype(np.int64)
    return values, stats, postprocess, transfer


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
