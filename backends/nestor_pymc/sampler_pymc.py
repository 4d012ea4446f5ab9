"""Sampling with PyMC's own NUTS: PyTensor's gradient, the tree in Python, chains in processes."""

from __future__ import annotations

import inspect
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from nestor.engines.coordinates import log_jacobian
from nestor.engines.optional import TargetDensity
from nestor.engines.protocol import Draws
from nestor.engines.support import chains_at_once, find_start, split_wall
from nestor.errors import EngineFailed, Unsupported
from nestor_nutpie.monitor import progress_at
from nestor_nutpie.sampling import refuse_vectorized
from nestor_pymc.model import build_model
from nestor_pymc.settings import NOT_RESUMABLE, common_settings

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from threading import Lock

    from numpy.typing import NDArray

    from nestor.engines.protocol import ProgressCallback, SamplerConfig
    from nestor_pymc.variables import Variables


#: Seconds between reports on one chain: each costs the callback's work in the process that feeds all chains.
_REPORT_S = 0.1

# ArviZ's name and type; PyMC's conversion has renamed them already
_STATS: tuple[tuple[str, type], ...] = (
    ("diverging", np.bool_),
    ("energy", np.float64),
    ("n_steps", np.int64),
    ("tree_depth", np.int64),
    ("acceptance_rate", np.float64),
    ("step_size", np.float64),
    ("lp", np.float64),
)


class _Monitor:
    """Follows the chains draw by draw, in the process that called `pymc.sample`."""

    def __init__(self, config: SamplerConfig, on_progress: ProgressCallback | None) -> None:
        self._config = config
        self._on_progress = on_progress
        self._total = config.warmup + config.draws
        self._reported = [0.0] * config.chains
        self.done = [0] * config.chains
        self.last = 0.0

    @property
    def complete(self) -> bool:
        """Whether every chain has made all its draws."""
        return all(done == self._total for done in self.done)

    def __call__(self, trace: Any, draw: Any) -> None:  # noqa: ARG002 - PyMC's signature
        chain = draw.chain
        self.done[chain] = done = draw.draw_idx + 1
        self.last = now = time.perf_counter()
        if self._on_progress is None:
            return
        ends = done in (self._config.warmup, self._total)
        if ends or now - self._reported[chain] >= _REPORT_S:
            self._reported[chain] = now
            divergences = int(draw.stats[0]["divergences"])
            self._on_progress(
                progress_at(self._config.warmup, self._total, chain, done, divergences)
            )


@dataclass(frozen=True, eq=False)
class PyMCSampler:
    """PyMC's NUTS, compiled for one model.

    Parameters
    ----------
    variables : Variables
        The free random variables, and this sampler's outcome.
    model : pymc.FrozenModel
        The model with its compiled functions.
    shared : tuple of PyTensor's shared variables
        What these read of the outcome; samplers that differ in theirs share them.
    lock : threading.Lock
        Held while a sampler uses `shared`.
    """

    variables: Variables
    model: Any
    shared: tuple[Any, ...]
    lock: threading.Lock = field(default_factory=threading.Lock)

    name: ClassVar[str] = "pymc"

    @classmethod
    def build(cls, variables: Variables) -> Self:
        """Build the model and compile all that sampling needs."""
        from pymc.model.transform.optimization import freeze_model

        model, shared = build_model(variables, transformed=True)
        # A frozen model keeps its compiled functions. Two iterations without a trajectory compile all
        # that `pymc.sample` needs, so that sampling compiles nothing.
        sampler = cls(variables, freeze_model(model), shared)
        sampler.run(
            draws=1,
            tune=1,
            chains=1,
            cores=1,
            random_seed=0,
            nuts={"max_treedepth": 1, "early_max_treedepth": 1},
        )
        return sampler

    def with_outcome(self, variables: Variables) -> Self:
        """Return a sampler of the same compiled functions that reads the outcome of `variables`."""
        return replace(self, variables=variables)

    def sample_until(
        self,
        config: SamplerConfig,  # noqa: ARG002 - the protocol's signature
        looks: Sequence[int],  # noqa: ARG002
        on_progress: ProgressCallback | None,  # noqa: ARG002
    ) -> Generator[Draws]:
        """Refuse: PyMC's chains cannot go on.

        Raises
        ------
        Unsupported
            Always, with the reason.
        """
        raise Unsupported(f"pymc:pymc cannot stop for looks ({NOT_RESUMABLE}).")

    def target_density(self) -> TargetDensity:
        """Return what the chains walk on: the function that the frozen model keeps for them."""
        from pymc.blocking import DictToArrayBijection

        function = self.model.logp_dlogp_function(ravel_inputs=True)
        evaluate = PyMCFunction(function, self.shared, self.variables.observed, self.lock)
        start = find_start(
            evaluate,
            lambda seed: DictToArrayBijection.map(self.model.initial_point(seed)).data,
            "pymc:pymc",
        )
        return TargetDensity(evaluate, start)

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None) -> Draws:
        """Run all chains."""
        refuse_vectorized(config, "pymc")
        cores = chains_at_once(config)
        options = {
            name: value
            for name, value in (
                ("target_accept", config.target_accept),
                ("max_treedepth", config.max_tree_depth),
            )
            if value is not None
        }
        monitor = _Monitor(config, on_progress)
        start = time.perf_counter()
        tree = self._run(config, cores, options, monitor)
        posterior = tree["posterior"].dataset
        free = {rv.name: np.asarray(posterior[rv.name]) for rv in self.model.free_RVs}
        values = self.variables.to_canonical(free)
        stats = tree["sample_stats"].dataset
        found: dict[str, NDArray[np.generic]] = {
            name: np.asarray(stats[name]).astype(dtype) for name, dtype in _STATS
        }
        found["log_jacobian"] = log_jacobian(
            self.variables.problem, self.variables.formulation, values
        )
        postprocess = time.perf_counter() - monitor.last

        tuning = tree["warmup_sample_stats"].dataset
        # perf_counter is one clock for all processes of a machine.
        first = float(np.min(tuning["perf_counter_start"]))
        return Draws(
            values=values,
            stats=found,
            timings=split_wall(
                monitor.last - first,
                [float(s) for s in tuning["perf_counter_diff"].sum("draw")],
                [float(s) for s in stats["perf_counter_diff"].sum("draw")],
                compile_s=first - start,
                postprocess=postprocess,
            ),
            settings=_settings(config, cores, options),
            deferred=self.variables.conditional_draws(values, 0, config.seed),
        )

    def _run(
        self, config: SamplerConfig, cores: int, options: dict[str, Any], monitor: _Monitor
    ) -> Any:
        try:
            tree = self.run(
                draws=config.draws,
                tune=config.warmup,
                chains=config.chains,
                cores=cores,
                random_seed=config.seed,
                callback=monitor,
                nuts=options,
            )
        except ValueError as error:
            # What PyMC says when it was interrupted before any chain had a draw.
            if "Not enough samples" in str(error):
                raise KeyboardInterrupt from None
            raise
        if not monitor.complete:
            # PyMC catches an interrupt and returns the draws so far; the caller must know of it.
            raise KeyboardInterrupt
        return tree

    def run(self, **options: Any) -> Any:
        """Call `pymc.sample`.

        Raises
        ------
        EngineFailed
            If it stops.
        """
        import pymc as pm
        from pymc.exceptions import SamplingError
        from pymc.sampling.parallel import ParallelSamplingError

        try:
            # Models that differ in their outcome share its variables: one samples at a time.
            with self.lock:
                for variable in self.shared:
                    variable.set_value(self.variables.observed[variable.name])
                return pm.sample(
                    model=self.model,
                    nuts_sampler="pymc",
                    init="jitter+adapt_diag",
                    quiet=True,
                    progressbar=False,
                    compute_convergence_checks=False,
                    discard_tuned_samples=False,
                    **options,
                )
        except (SamplingError, ParallelSamplingError) as error:
            raise EngineFailed(f"pymc:pymc stopped: {error}") from error


def _settings(config: SamplerConfig, cores: int, options: dict[str, Any]) -> dict[str, object]:
    """The options, completed by the defaults of PyMC's NUTS."""
    import pymc as pm

    defaults = {
        name: parameter.default
        for cls in reversed(pm.NUTS.__mro__)
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
    }
    resolved = {**defaults, **options}
    return {
        "sampler": "pymc",
        "target_accept": float(resolved["target_accept"]),
        "max_tree_depth": int(resolved["max_treedepth"]),
        "metric": "diag",
        "metric_estimate": "draws",
        "chain_method": config.chain_method,
        "cores": cores,
        **common_settings(),
    }


@dataclass(frozen=True, eq=False)
class PyMCFunction:
    """The function that PyMC's NUTS calls.

    Parameters
    ----------
    function : pymc's ValueGradFunction
        Of a flat point.
    shared : sequence of PyTensor's shared variables
        What it reads of the outcome.
    observed : mapping of str to ndarray
        This model's, by their names.
    lock : threading.Lock
        Held while `shared` are in use.
    """

    function: Any
    shared: Sequence[Any]
    observed: Mapping[str, NDArray[np.float64]]
    lock: Lock

    def __call__(self, z: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Evaluate at a point, (d,)."""
        with self.lock:
            # Models that differ in their outcome share its variables; nothing is copied.
            for variable in self.shared:
                variable.set_value(self.observed[variable.name], borrow=True)
            value, gradient = self.function(np.ascontiguousarray(z, dtype=np.float64))
        return float(value), np.array(gradient, np.float64)
