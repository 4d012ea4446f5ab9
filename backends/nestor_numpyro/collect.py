"""From the chains' buffers on the device to arrays on the host."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from nestor_numpyro.recovery import recovery_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.backend import SamplerConfig
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

    Of coefficients that are recovered it holds one chunk of draws at a time.

    Returns
    -------
    values, stats : dict of ndarray, (chain, draw, *shape)
        The canonical variables and the sampler's statistics.
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
        if programs.recover is not None:
            for chain in (i,) if lanes is None else range(lanes):
                scales = canonical if lanes is None else {n: v[chain] for n, v in canonical.items()}
                recover = _chain_recovery(programs, config.seed, chain, scales, data)
                _recover(found, programs, run, chain, recover)
    # A trajectory of d doublings takes at most 2^d - 1 steps, and more than 2^(d-1) - 1.
    depth = np.ceil(np.log2(np.asarray(found.stats["n_steps"], np.float64) + 1)).astype(np.int64)
    return found.values, {**found.stats, "tree_depth": depth}, found.postprocess, found.transfer


def _chain_recovery(
    programs: Programs, seed: int, chain: int, scales: Mapping[str, Any], data: ModelData
) -> Callable[..., Any]:
    """Return the recovery of one chain's coefficients, a function of offset and first row."""
    words, number = recovery_words(seed), np.uint32(chain)
    program: Any = programs.recover
    return lambda offset, first: program(words, number, offset, first, scales, data)


def _recover(
    found: _Collected,
    programs: Programs,
    run: Run,
    chain: int,
    recover: Callable[..., Any],
) -> None:
    """Draw a chain's coefficients chunk by chunk, and copy each before the next is drawn."""
    offset = np.int32(run.first - run.rows.start)
    last = programs.plan.draws - programs.chunk
    for row in range(run.rows.start, run.rows.stop, programs.chunk):
        begin = time.perf_counter()
        # The last chunk begins earlier; its first draws are the same ones once more.
        first = min(row, last)
        drawn = jax.block_until_ready(recover(offset, np.int32(first)))
        middle = time.perf_counter()
        inside = slice(max(first, run.rows.start), min(first + programs.chunk, run.rows.stop))
        for name, array in drawn.items():
            host = np.asarray(array)[inside.start - first : inside.stop - first]
            if name not in found.values:
                draws = run.rows.stop - run.rows.start
                found.values[name] = np.empty((found.chains, draws, *host.shape[1:]))
            into = slice(inside.start - run.rows.start, inside.stop - run.rows.start)
            found.values[name][chain, into] = host
        found.postprocess += middle - begin
        found.transfer += time.perf_counter() - middle


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
