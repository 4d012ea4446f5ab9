"""A run of nutpie as a backend returns it: draws, statistics, timings, look by look."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from nestor.engines.protocol import Draws
from nestor.engines.support import chains_at_once, check_looks
from nestor.errors import Unsupported
from nestor_nutpie.run import NutpieRun, Tables, rows
from nestor_nutpie.timing import Clock

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.engines.protocol import LazyDraws, ProgressCallback, SamplerConfig

    type Arrays = Mapping[str, NDArray[np.float64]]

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


class Collected(NamedTuple):
    """What draws of nutpie's variables are in the canonical ones.

    Parameters
    ----------
    values : mapping of str to ndarray, (chain, draw, *shape)
        The canonical variables.
    log_jacobian : ndarray, (chain, draw)
        Log |d canonical / d unconstrained|.
    deferred : LazyDraws or None
        Makes the variables that `values` lacks.
    """

    values: Arrays
    log_jacobian: NDArray[np.float64]
    deferred: LazyDraws | None = None


class Collect(Protocol):
    """From nutpie's variables to the canonical ones."""

    def __call__(self, free: Arrays, first: int) -> Collected:
        """Map draws (chain, draw, *shape), the first of them number `first`."""
        ...


@dataclass(frozen=True, eq=False)
class NutpieRuns:
    """Runs of one compiled model.

    Parameters
    ----------
    compiled : nutpie's compiled model
        What is sampled.
    engine : str
        Who asks, such as "pymc:nutpie".
    settings : mapping
        What every record says beside what is known here.
    """

    compiled: Any
    engine: str
    settings: Mapping[str, object]

    def sample(
        self, config: SamplerConfig, on_progress: ProgressCallback | None, collect: Collect
    ) -> Draws:
        """Run all chains."""
        with closing(self.sample_until(config, (config.draws,), on_progress, collect)) as run:
            return next(run)

    def sample_until(
        self,
        config: SamplerConfig,
        looks: Sequence[int],
        on_progress: ProgressCallback | None,
        collect: Collect,
    ) -> Generator[Draws]:
        """Run all chains at once and pause them at each look.

        Until the pause reaches a chain it goes on: these draws are returned at the next look, and count
        as this one's seconds.

        Raises
        ------
        SpecError
            If the looks do not begin with `config.draws` and increase.
        Unsupported
            For vectorized chains, or fewer cores than chains and several looks.
        EngineFailed
            If nutpie stops.
        """
        check_looks(config, looks)
        cores = self._cores(config, looks)
        options = _options(config)
        settings = {**_resolved(config, cores, options), **self.settings}
        start = time.perf_counter()
        run = NutpieRun(self.compiled, config, looks[-1], cores, options, on_progress, self.engine)
        try:
            drawn, clock = 0, Clock(run.monitor.chains, config.warmup)
            for look in looks:
                tables = run.until(config.warmup + look)
                middle = time.perf_counter()
                kept = slice(config.warmup + drawn, config.warmup + look)
                free, stats = self._read(tables, kept)
                found = collect(free, drawn)
                stats["log_jacobian"] = found.log_jacobian
                postprocess = time.perf_counter() - middle
                timings = clock.stretch(middle - start, postprocess)
                yield Draws(found.values, stats, timings, settings, deferred=found.deferred)
                drawn, start = look, time.perf_counter()
        finally:
            run.close()

    def _read(
        self, tables: Tables, kept: slice
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
        return free, found

    def _cores(self, config: SamplerConfig, looks: Sequence[int]) -> int:
        """Return how many chains run at once: with several looks, all of them."""
        refuse_vectorized(config, self.engine.partition(":")[0])
        cores = chains_at_once(config)
        if len(looks) == 1 or cores == config.chains:
            return cores
        if config.chain_method == "parallel" and config.cores is None:
            # The operating system shares out those cores that this process may use.
            return config.chains
        raise Unsupported(
            f"{self.engine} can only look at chains that all run at once (not in the library: nutpie runs "
            f"each to its end before one that waits for a core begins), and {cores} of {config.chains} "
            "may. Use parallel chains and leave the number of cores out."
        )


def refuse_vectorized(config: SamplerConfig, backend: str) -> None:
    """Refuse chains that are lanes of one program.

    Raises
    ------
    Unsupported
        For vectorized chains.
    """
    if config.chain_method == "vectorized":
        raise Unsupported(
            f"{backend} has no vectorized chains (not in the library): its samplers run each chain in a "
            "thread or process of its own. Use parallel or sequential."
        )


def _options(config: SamplerConfig) -> dict[str, Any]:
    """Nutpie's options of a configuration; what is None is left to nutpie."""
    wanted = (
        ("target_accept", config.target_accept),
        ("maxdepth", config.max_tree_depth),
        ("adaptation", None if config.metric is None else "draw_diag"),
    )
    return {name: value for name, value in wanted if value is not None}


def _resolved(config: SamplerConfig, cores: int, options: dict[str, Any]) -> dict[str, object]:
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
    return {
        "sampler": "nutpie",
        "target_accept": float(adapt["step_size_settings"]["target_accept"]),
        "step_size_jitter": float(adapt["step_size_settings"]["jitter"] or 0.0),
        "max_tree_depth": int(nuts["maxdepth"]),
        "metric": "diag",
        "metric_estimate": "draws and gradients" if gradients else "draws",
        "chain_method": config.chain_method,
        "cores": cores,
    }
