"""From running chains to draws on the host, with every phase timed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nestor.engines.protocol import Draws, Progress, Timings
from nestor_numpyro.chains import Chains, Run, workers
from nestor_numpyro.collect import collect
from nestor_numpyro.jacobian import log_jacobian
from nestor_numpyro.recovered import Recovered
from nestor_numpyro.starts import DESCRIPTION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.protocol import ProgressCallback, SamplerConfig
    from nestor_numpyro.data import ModelData
    from nestor_numpyro.place import Place
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
        share = sum(self.warmup) / (sum(self.warmup) + sum(self.sampling))
        return Timings(
            upload=upload,
            compile=compile_s,
            warmup=self.wall * share,
            sampling=self.wall * (1.0 - share),
            postprocess=self.postprocess,
            transfer=self.transfer,
            warmup_per_chain=tuple(self.warmup) if separate else (),
            sampling_per_chain=tuple(self.sampling) if separate else (),
        )


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
    place : Place
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
        place: Place,
        data: ModelData,
    ) -> None:
        self._programs = programs
        self._problem = problem
        self._formulation = formulation
        self._config = config
        self._place = place
        self._data = data
        with place.scope():
            self._chains = Chains(programs, config, data, place)

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
        progress = on_progress or _silent
        first = self._chains.drawn
        total = self._config.warmup + draws
        seconds = _Seconds()
        parts = []
        with self._place.scope():
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
            _settings(self._programs, self._config, self._place),
            self._place.peak_bytes(),
            self._recovered(values, first),
        )

    def _recovered(self, scales: dict[str, NDArray[np.float64]], first: int) -> Recovered | None:
        """What draws the coefficients given the draws of the scales from number `first` on."""
        program, chunk = self._programs.recover, self._programs.chunk
        if program is None:
            return None
        variables = self._problem.variables.values()
        shapes = {v.name: v.shape for v in variables if v.name not in scales}
        seed = self._config.seed
        return Recovered(program, chunk, shapes, self._data, self._place, scales, first, seed)

    def _collect(
        self, runs: Sequence[Run], seconds: _Seconds
    ) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.generic]]]:
        values, stats, postprocess, transfer = collect(
            self._programs, runs, self._config, self._data
        )
        seconds.postprocess += postprocess
        seconds.transfer += transfer
        return values, stats


def _silent(_: Progress) -> None:
    """Report to nobody."""


def _report_end(runs: Sequence[Run], total: int, progress: ProgressCallback) -> None:
    divergences = np.concatenate([np.atleast_1d(run.divergences) for run in runs])
    for chain, count in enumerate(divergences):
        progress(Progress(chain, "postprocess", total, total, int(count)))


def _joined[T: np.generic](parts: Sequence[dict[str, NDArray[T]]]) -> dict[str, NDArray[T]]:
    """Put arrays (chain, draw, ...) one after another along the draws."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def _settings(programs: Programs, config: SamplerConfig, place: Place) -> dict[str, object]:
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
        "cores": workers(config) if config.chain_method == "parallel" else None,
        "device": place.kind,
        "device_kind": place.device.device_kind,
        "dtype": place.dtype,
    }
