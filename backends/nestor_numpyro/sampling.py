"""From a sampler configuration to draws on the host, with every phase timed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from nestor.backend import Draws, Progress, Timings
from nestor_numpyro.chains import Run, run_parallel, run_sequential, run_vectorized, workers
from nestor_numpyro.starts import DESCRIPTION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.backend import ProgressCallback, SamplerConfig
    from nestor_numpyro.data import ModelData
    from nestor_numpyro.place import Place
    from nestor_numpyro.programs import Programs

_STATS: Mapping[str, type[np.generic]] = {
    "diverging": np.bool_,
    "energy": np.float64,
    "n_steps": np.int64,
    "acceptance_rate": np.float64,
    "step_size": np.float64,
    "lp": np.float64,
}


def sample(
    programs: Programs,
    config: SamplerConfig,
    place: Place,
    data: ModelData,
    compile_seconds: float,
    on_progress: ProgressCallback | None,
) -> Draws:
    """Run all chains and bring every draw to the host.

    Raises
    ------
    EngineFailed
        If NumPyro finds no starting point.
    """
    progress = on_progress or _silent
    with place.scope():
        begin = time.perf_counter()
        if config.chain_method == "sequential":
            runs = run_sequential(programs, config, data, progress)
        elif config.chain_method == "vectorized":
            runs = run_vectorized(programs, config, data, progress)
        else:
            runs = run_parallel(programs, config, data, progress, place)
        wall = time.perf_counter() - begin
        divergences = np.concatenate([np.atleast_1d(run.divergences) for run in runs])
        total = config.warmup + config.draws
        for chain, count in enumerate(divergences):
            progress(Progress(chain, "postprocess", total, total, int(count)))
        values, stats, postprocess, transfer = _collect(programs, runs, config, data)
    warmup, sampling = _split(wall, runs)
    separate = config.chain_method != "vectorized"
    timings = Timings(
        compile=compile_seconds,
        warmup=warmup,
        sampling=sampling,
        postprocess=postprocess,
        transfer=transfer,
        warmup_per_chain=tuple(run.warmup for run in runs) if separate else (),
        sampling_per_chain=tuple(run.sampling for run in runs) if separate else (),
    )
    return Draws(values, stats, timings, _settings(programs, config, place))


def _silent(_: Progress) -> None:
    """Report to nobody."""


def _split(wall: float, runs: Sequence[Run]) -> tuple[float, float]:
    """Divide wall time between warmup and sampling in proportion to their sums over chains."""
    warmup, sampling = sum(run.warmup for run in runs), sum(run.sampling for run in runs)
    share = warmup / (warmup + sampling)
    return wall * share, wall * (1.0 - share)


def _collect(
    programs: Programs, runs: Sequence[Run], config: SamplerConfig, data: ModelData
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.generic]], float, float]:
    """Convert and copy run by run, so that the device holds the canonical draws of one at a time."""
    values: dict[str, NDArray[np.float64]] = {}
    stats: dict[str, NDArray[np.generic]] = {}
    postprocess = transfer = 0.0
    for i, run in enumerate(runs):
        begin = time.perf_counter()
        canonical = jax.block_until_ready(programs.convert(run.buffers["z"], data))
        middle = time.perf_counter()
        where: Any = i if programs.plan.lanes is None else slice(None)
        for name in programs.variables:
            _store(values, name, canonical[name], np.float64, where, config.chains)
        for name, dtype in _STATS.items():
            _store(stats, name, run.buffers[name], dtype, where, config.chains)
        postprocess += middle - begin
        transfer += time.perf_counter() - middle
    # A trajectory of d doublings takes at most 2^d - 1 steps, and more than 2^(d-1) - 1.
    stats["tree_depth"] = np.ceil(np.log2(stats["n_steps"] + 1)).astype(np.int64)
    return values, stats, postprocess, transfer


def _store(
    into: dict[str, Any], name: str, array: Any, dtype: type[np.generic], where: Any, chains: int
) -> None:
    host = np.asarray(array)
    if name not in into:
        shape = host.shape if isinstance(where, slice) else (chains, *host.shape)
        into[name] = np.empty(shape, dtype)
    into[name][where] = host


def _settings(programs: Programs, config: SamplerConfig, place: Place) -> dict[str, object]:
    plan = programs.plan
    return {
        "sampler": "nuts",
        "target_accept": plan.target_accept,
        "max_tree_depth": plan.max_tree_depth,
        "metric": "diagonal",
        "init": DESCRIPTION,
        "chain_method": config.chain_method,
        "cores": workers(config) if config.chain_method == "parallel" else None,
        "device": place.kind,
        "device_kind": place.device.device_kind,
        "dtype": place.dtype,
    }
