"""The sampler ``nuts``: from running chains to draws on the host, with every phase timed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from nestor.engines.coordinates import log_jacobian
from nestor.engines.protocol import Draws, Progress
from nestor.engines.support import chains_at_once, silent, split_wall
from nestor_numpyro.chains import DESCRIPTION, Chains, Run
from nestor_numpyro.recovery import ConditionalDraws

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.protocol import ProgressCallback, SamplerConfig, Timings
    from nestor_numpyro.chains import Run
    from nestor_numpyro.data import ModelData
    from nestor_numpyro.execution import Execution
    from nestor_numpyro.programs import Programs


@dataclass
class _Seconds:
    """Seconds of one stretch, added up over the fillings of the buffers."""

    wall: float = 0.0
    postprocess: float = 0.0
    transfer: float = 0.0
    warmup: list[float] = field(default_factory=list)
    sampling: list[float] = field(default_factory=list)

    def add(self, wall: float, runs: Sequence[Run]) -> None:
        self.wall += wall
        none = [0.0] * len(runs)
        self.warmup = [a + r.warmup for a, r in zip(self.warmup or none, runs, strict=True)]
        self.sampling = [a + r.sampling for a, r in zip(self.sampling or none, runs, strict=True)]

    def timings(self, upload: float, compile_s: float, *, separate: bool) -> Timings:
        """Divide wall time between warmup and sampling in proportion to their sums over chains."""
        found = split_wall(
            self.wall,
            self.warmup,
            self.sampling,
            compile_s=compile_s,
            postprocess=self.postprocess,
            upload=upload,
            transfer=self.transfer,
        )
        return found if separate else replace(found, warmup_per_chain=(), sampling_per_chain=())


class Sampling:
    """The chains of one run, which go on from where they stand.

    Parameters
    ----------
    programs : Programs
        Compiled for `config`.
    problem, formulation
        What the draws are of, and in which parametrization they were made.
    config : SamplerConfig
        The run.
    execution : Execution
        Device and precision.
    data : ModelData
        The model's argument.
    """

    def __init__(
        self,
        programs: Programs,
        problem: Problem,
        formulation: Formulation,
        config: SamplerConfig,
        execution: Execution,
        data: ModelData,
    ) -> None:
        self._programs = programs
        self._problem = problem
        self._formulation = formulation
        self._config = config
        self._execution = execution
        self._data = data
        with execution.scope():
            self._chains = Chains(programs, config, data, execution)

    def until(
        self, draws: int, on_progress: ProgressCallback | None, upload: float, compile_s: float
    ) -> Draws:
        """Go on until every chain has `draws` draws; bring those that are new to the host.

        Parameters
        ----------
        draws : int
            Draws of each chain, those of earlier calls included.
        on_progress : callable or None
            Whom to tell.
        upload, compile_s : float
            Seconds of these phases, for the record.

        Raises
        ------
        EngineFailed
            If NumPyro finds no starting point.
        """
        progress = on_progress or silent
        first = self._chains.drawn
        total = self._config.warmup + draws
        seconds = _Seconds()
        parts = []
        with self._execution.scope():
            while self._chains.drawn < draws:
                more = min(draws - self._chains.drawn, self._chains.room)
                begin = time.perf_counter()
                runs = self._chains.advance(more, total, progress)
                seconds.add(time.perf_counter() - begin, runs)
                if self._chains.drawn == draws:
                    _report_end(runs, total, progress)
                parts.append(self._collect(runs, seconds))
        begin = time.perf_counter()
        values, stats = _joined([p[0] for p in parts]), _joined([p[1] for p in parts])
        stats["log_jacobian"] = log_jacobian(self._problem, self._formulation, values)
        seconds.postprocess += time.perf_counter() - begin
        separate = self._config.chain_method != "vectorized"
        return Draws(
            values,
            stats,
            seconds.timings(upload, compile_s, separate=separate),
            _settings(self._programs, self._config, self._execution),
            self._execution.peak_bytes(),
            self._conditional(values, first),
        )

    def _conditional(
        self, scales: dict[str, NDArray[np.float64]], first: int
    ) -> ConditionalDraws | None:
        """What draws the coefficients given the draws of the scales from number `first` on."""
        program, chunk = self._programs.recover, self._programs.chunk
        if program is None:
            return None
        variables = self._problem.variables.values()
        shapes = {v.name: v.shape for v in variables if v.name not in scales}
        seed = self._config.seed
        return ConditionalDraws(
            program, chunk, shapes, self._data, self._execution, scales, first, seed
        )

    def _collect(
        self, runs: Sequence[Run], seconds: _Seconds
    ) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.generic]]]:
        values, stats, postprocess, transfer = collect(
            self._programs, runs, self._config, self._data
        )
        seconds.postprocess += postprocess
        seconds.transfer += transfer
        return values, stats


def _report_end(runs: Sequence[Run], total: int, progress: ProgressCallback) -> None:
    divergences = np.concatenate([np.atleast_1d(run.divergences) for run in runs])
    for chain, count in enumerate(divergences):
        progress(Progress(chain, "postprocess", total, total, int(count)))


def _joined[T: np.generic](parts: Sequence[dict[str, NDArray[T]]]) -> dict[str, NDArray[T]]:
    """Put arrays (chain, draw, ...) one after another along the draws."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def _settings(programs: Programs, config: SamplerConfig, execution: Execution) -> dict[str, object]:
    plan = programs.plan
    return {
        "sampler": "nuts",
        "target_accept": plan.target_accept,
        "max_tree_depth": plan.max_tree_depth,
        "metric": "diagonal",
        # Variances of warmup's draws, shrunk a little (numpyro.infer.hmc_util.welford_covariance).
        "metric_estimate": "draws",
        "init": DESCRIPTION,
        "chain_method": config.chain_method,
        "cores": chains_at_once(config) if config.chain_method == "parallel" else None,
        "device": execution.kind,
        "device_kind": execution.device.device_kind,
        "dtype": execution.dtype,
    }


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
