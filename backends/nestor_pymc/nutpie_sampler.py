"""Sampling with nutpie: PyTensor's numba gradient, chains in Rust threads."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from nestor.backend import Draws, Timings
from nestor.errors import Unsupported
from nestor_pymc.jacobian import log_jacobian
from nestor_pymc.model import build_model
from nestor_pymc.natural import Natural
from nestor_pymc.nutpie_run import NutpieRun, Tables, rows
from nestor_pymc.recovery import recovery_streams
from nestor_pymc.settings import resolved_settings
from nestor_pymc.timings import cores_used, split_wall
from nestor_pymc.walked import NutpieFunction, Walked

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from nestor.backend import ProgressCallback, SamplerConfig
    from nestor_pymc.nutpie_monitor import ChainReports
    from nestor_pymc.variables import Variables

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


@dataclass(frozen=True, eq=False)
class NutpieSampler:
    """nutpie, compiled for one model.

    Parameters
    ----------
    variables : Variables
        The free random variables.
    natural : Natural
        Their way to the natural scale.
    compiled : nutpie's compiled model
        The sampled density and the data that it reads.
    """

    variables: Variables
    natural: Natural
    compiled: Any

    name: ClassVar[str] = "nutpie"

    @classmethod
    def build(cls, variables: Variables) -> Self:
        """Build the model and compile it."""
        import nutpie

        model, _ = build_model(variables, transformed=True)
        # Without derived variables nutpie stores the free ones only; the canonical ones are made from
        # them once, at the end, for all draws together.
        return cls(variables, Natural(model), nutpie.compile_pymc_model(model, var_names=[]))

    def with_outcome(self, variables: Variables) -> Self:
        """Return a sampler of the same compiled functions that reads the outcome of `variables`."""
        compiled = self.compiled.with_data(**variables.observed)
        return replace(self, variables=variables, compiled=compiled)

    def sampled_density(self) -> Walked:
        """Return what the chains walk on: nutpie's own function."""
        points = self.compiled.initial_point_func
        return Walked.found(NutpieFunction(self.compiled), points, "pymc:nutpie")

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None) -> Draws:
        """Run all chains."""
        with closing(self.sample_in_looks(config, (config.draws,), on_progress)) as run:
            return next(run)

    def sample_in_looks(
        self, config: SamplerConfig, looks: Sequence[int], on_progress: ProgressCallback | None
    ) -> Generator[Draws]:
        """Run all chains at once and pause them at each look.

        Until the pause reaches a chain it goes on: these draws are returned at the next look, and count
        as this one's seconds.
        """
        cores = _cores(config, looks)
        if config.seed >= 2**64:
            raise Unsupported(f"nutpie's seed has 64 bits (never): {config.seed} is too large.")
        options = {
            name: value
            for name, value in (
                ("target_accept", config.target_accept),
                ("maxdepth", config.max_tree_depth),
                ("adaptation", None if config.metric is None else "draw_diag"),
            )
            if value is not None
        }
        settings = _settings(config, cores, options)
        streams = recovery_streams(config.seed, config.chains)
        start = time.perf_counter()
        run = NutpieRun(self.compiled, config, looks[-1], cores, options, on_progress)
        try:
            drawn, clock = 0, _Clock(run.monitor.chains, config.warmup)
            for look in looks:
                tables = run.until(config.warmup + look)
                middle = time.perf_counter()
                kept = slice(config.warmup + drawn, config.warmup + look)
                values, stats = self._collect(tables, kept, streams)
                postprocess = time.perf_counter() - middle
                timings = clock.stretch(middle - start, postprocess)
                yield Draws(values=values, stats=stats, timings=timings, settings=settings)
                drawn, start = look, time.perf_counter()
        finally:
            run.close()

    def _collect(
        self, tables: Tables, kept: slice, streams: Sequence[np.random.Generator]
    ) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.generic]]]:
        """Take the iterations `kept` of each chain out of nutpie's Arrow tables."""
        draws, stats = tables
        shapes = self.compiled.shapes
        free = {
            name: np.stack([rows(b, name, kept).reshape(-1, *shapes[name]) for b in draws])
            for name in draws[0].schema.names
        }
        found: dict[str, NDArray[np.generic]] = {
            ours: np.stack([rows(b, theirs, kept) for b in stats]).astype(dtype)
            for theirs, ours, dtype in _STATS
        }
        values = self.variables.to_canonical(self.natural(free), streams)
        found["log_jacobian"] = log_jacobian(self.variables, values)
        return values, found


class _Clock:
    """Splits the wall seconds of each stretch by what nutpie reported of its chains."""

    def __init__(self, chains: Sequence[ChainReports], warmup: int) -> None:
        self._chains = chains
        self._warmup = warmup
        self._before: list[float] | None = None

    def stretch(self, wall: float, postprocess: float) -> Timings:
        """Timings of the stretch that has just ended; the first has the warmup."""
        seconds = [chain.seconds for chain in self._chains]
        if self._before is None:
            splits = [s for c in self._chains if (s := c.split(self._warmup)) is not None]
            complete = splits if len(splits) == len(self._chains) else []
            timings = split_wall(
                wall,
                [warmup for warmup, _ in complete],
                [sampling for _, sampling in complete],
                compile_s=0.0,
                postprocess=postprocess,
            )
        else:
            spent = [now - then for now, then in zip(seconds, self._before, strict=True)]
            timings = Timings(
                upload=0.0,
                compile=0.0,
                warmup=0.0,
                sampling=wall,
                postprocess=postprocess,
                transfer=0.0,
                warmup_per_chain=tuple(0.0 for _ in spent),
                sampling_per_chain=tuple(spent),
            )
        self._before = seconds
        return timings


def _cores(config: SamplerConfig, looks: Sequence[int]) -> int:
    """Return how many chains run at once: with several looks, all of them.

    Raises
    ------
    Unsupported
        If fewer are allowed.
    """
    cores = cores_used(config)
    if len(looks) == 1 or cores == config.chains:
        return cores
    if config.chain_method == "parallel" and config.cores is None:
        # The operating system shares out those cores that this process may use.
        return config.chains
    raise Unsupported(
        "pymc:nutpie can only look at chains that all run at once (not in the library: it runs each to its "
        f"end before one that waits for a core begins), and {cores} of {config.chains} may. Use parallel "
        "chains and leave the number of cores out."
    )


def _settings(config: SamplerConfig, cores: int, options: dict[str, Any]) -> dict[str, object]:
    """What nutpie's own settings object resolves the options to."""
    from nutpie import _lib

    resolved = _lib.PyNutsSettings.Diag(config.seed)
    # As `nutpie.sample` does it.
    if options.get("adaptation") == "draw_diag":
        resolved.use_grad_based_mass_matrix = False
    resolved.update({name: value for name, value in options.items() if name != "adaptation"})
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
