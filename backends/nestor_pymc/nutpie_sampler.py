"""Sampling with nutpie: PyTensor's numba gradient, chains in Rust threads."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.backend import Draws
from nestor.errors import EngineFailed, Unsupported
from nestor_pymc.model import build_model
from nestor_pymc.natural import Natural
from nestor_pymc.progress import progress_at
from nestor_pymc.settings import resolved_settings
from nestor_pymc.timings import cores_used, split_wall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nestor.backend import ProgressCallback, SamplerConfig
    from nestor_pymc.variables import Variables

#: Milliseconds between nutpie's progress reports. They cost a few microseconds each, and bound how
#: sharply warmup can be told from sampling.
_RATE_MS = 10
#: Seconds between looks at the sampler, so that an interrupt is seen soon.
_SLICE_S = 0.1
#: Warmup and sampling are told apart only if the report interval that holds the end of warmup is at most
#: this fraction of the chain's run.
_BRACKET = 0.1

# nutpie's name, ours, and the type
_STATS: tuple[tuple[str, str, type], ...] = (
    ("diverging", "diverging", np.bool_),
    ("energy", "energy", np.float64),
    ("n_steps", "n_steps", np.int64),
    ("depth", "tree_depth", np.int64),
    ("mean_tree_accept", "acceptance_rate", np.float64),
    ("step_size", "step_size", np.float64),
    ("logp", "lp", np.float64),
)


@dataclass
class _Chain:
    """What nutpie has reported of one chain: the draws and seconds around the end of warmup, and now."""

    done: int = 0
    seconds: float = 0.0
    divergences: int = 0
    warming: tuple[int, float] = (0, 0.0)
    sampling: tuple[int, float] | None = None

    def report(self, state: Any, warmup: int) -> None:
        self.done, self.seconds = state.finished_draws, state.runtime_ms / 1000.0
        self.divergences = state.divergences
        if self.done < warmup:
            self.warming = (self.done, self.seconds)
        elif self.sampling is None:
            self.sampling = (self.done, self.seconds)

    def split(self, warmup: int) -> tuple[float, float] | None:
        """Seconds of warmup and of sampling; None where the reports are too far apart to say."""
        if self.sampling is None or self.seconds == 0.0:
            return None
        (before, start), (after, end) = self.warming, self.sampling
        if end - start > _BRACKET * self.seconds:
            return None
        warm = start + (end - start) * (warmup - before) / (after - before)
        return warm, self.seconds - warm


@dataclass
class _Monitor:
    """Keeps nutpie's reports, and passes them on from the thread that called us."""

    config: SamplerConfig
    on_progress: ProgressCallback | None
    chains: list[_Chain] = field(default_factory=list)
    _told: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chains = [_Chain() for _ in range(self.config.chains)]
        self._told = [-1] * self.config.chains

    def __call__(self, states: Sequence[Any]) -> None:
        # In nutpie's thread, where an exception would only be printed: no user code runs here.
        for chain, state in zip(self.chains, states, strict=True):
            chain.report(state, self.config.warmup)

    def tell(self, *, finished: bool = False) -> None:
        if self.on_progress is None:
            return
        total = self.config.warmup + self.config.draws
        for i, chain in enumerate(self.chains):
            done = total if finished else chain.done
            if done > self._told[i]:
                self._told[i] = done
                self.on_progress(progress_at(self.config, i, done, chain.divergences))


class NutpieSampler:
    """nutpie, compiled for one model.

    Parameters
    ----------
    variables : Variables
        The free random variables.
    """

    def __init__(self, variables: Variables) -> None:
        import nutpie

        self._variables = variables
        model = build_model(variables, transformed=True)
        # Without derived variables nutpie stores the free ones only; the canonical ones are made from
        # them once, at the end, for all draws together.
        self._compiled = nutpie.compile_pymc_model(model, var_names=[])
        self._natural = Natural(model)

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None) -> Draws:
        """Run all chains."""
        cores = cores_used(config)
        if config.seed >= 2**64:
            raise Unsupported(f"nutpie's seed has 64 bits (never): {config.seed} is too large.")
        options = {
            name: value
            for name, value in (
                ("target_accept", config.target_accept),
                ("maxdepth", config.max_tree_depth),
            )
            if value is not None
        }
        monitor = _Monitor(config, on_progress)
        start = time.perf_counter()
        trace = self._run(config, cores, options, monitor)
        wall = time.perf_counter() - start
        monitor.tell(finished=True)
        start = time.perf_counter()
        values, stats = self._collect(trace, config)
        postprocess = time.perf_counter() - start
        splits = [s for c in monitor.chains if (s := c.split(config.warmup)) is not None]
        complete = splits if len(splits) == config.chains else []
        return Draws(
            values=values,
            stats=stats,
            timings=split_wall(
                wall,
                [warmup for warmup, _ in complete],
                [sampling for _, sampling in complete],
                compile_s=0.0,
                postprocess=postprocess,
            ),
            settings=_settings(config, cores, options),
        )

    def _run(
        self, config: SamplerConfig, cores: int, options: dict[str, Any], monitor: _Monitor
    ) -> Any:
        import nutpie

        run = nutpie.sample(
            self._compiled,
            draws=config.draws,
            tune=config.warmup,
            chains=config.chains,
            cores=cores,
            seed=config.seed,
            progress_bar=False,
            progress_callback=monitor,
            progress_rate=_RATE_MS,
            return_raw_trace=True,
            blocking=False,
            **options,
        )
        try:
            while True:
                try:
                    return run.wait(timeout=_SLICE_S)
                except TimeoutError:
                    monitor.tell()
        except RuntimeError as error:
            run.cancel()
            reason = str(error).partition("Stack backtrace")[0].strip()
            raise EngineFailed(f"pymc:nutpie stopped: {reason}") from None
        except BaseException:
            run.cancel()
            raise

    def _collect(
        self, trace: Any, config: SamplerConfig
    ) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.generic]]]:
        """Take the draws after warmup out of nutpie's Arrow tables."""
        import pyarrow as pa

        draws, stats = ([pa.record_batch(b) for b in part] for part in trace.get_arrow_trace())
        kept = slice(config.warmup, config.warmup + config.draws)
        shapes = self._compiled.shapes
        free = {
            name: np.stack([_column(b, name, kept).reshape(-1, *shapes[name]) for b in draws])
            for name in draws[0].schema.names
        }
        found: dict[str, NDArray[np.generic]] = {
            ours: np.stack([_column(b, theirs, kept) for b in stats]).astype(dtype)
            for theirs, ours, dtype in _STATS
        }
        return self._variables.to_canonical(self._natural(free)), found


def _column(batch: Any, name: str, kept: slice) -> NDArray[np.generic]:
    """Return the rows `kept` of a column, flat."""
    column = batch.column(name).slice(kept.start, kept.stop - kept.start)
    values = column.flatten() if hasattr(column, "flatten") else column
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _settings(config: SamplerConfig, cores: int, options: dict[str, Any]) -> dict[str, object]:
    """What nutpie's own settings object resolves the options to."""
    from nutpie import _lib

    resolved = _lib.PyNutsSettings.Diag(config.seed)
    resolved.update(options)
    nuts = resolved.as_dict()["settings"]
    adapt = nuts["adapt_options"]
    gradients = adapt["mass_matrix_options"]["use_grad_based_estimate"]
    return resolved_settings(
        config,
        sampler="nutpie",
        cores=cores,
        target_accept=adapt["step_size_settings"]["target_accept"],
        max_tree_depth=nuts["maxdepth"],
        metric_estimate="draws and gradients" if gradients else "draws",
    )
