"""A sampler on the model of another backend: bring a sampler, not a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nestor.engines.capability import require, require_config
from nestor.engines.lazy import in_memory
from nestor.engines.optional import Differentiable, ProcessEnvironment
from nestor.engines.protocol import Backend, Capabilities, Draws, Missing, SamplerConfig
from nestor.engines.support import (
    ChainReporter,
    chain_streams,
    find_start,
    needs_sampler,
    run_chains,
    silent,
    split_wall,
)
from nestor.errors import EngineFailed, SpecError, Unsupported

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor.engines.optional import TargetDensity
    from nestor.engines.protocol import CompiledModel, Device, DType, ProgressCallback
    from nestor.stats.arrays import FloatArray


#: A point, (d,), to the log density there and its gradient, (d,).
LogDensity = Callable[["FloatArray"], tuple[float, "FloatArray"]]
#: Statistics of the kept draws, (draws,), under ArviZ's names.
Stats = Mapping[str, "NDArray[np.generic]"]


class Sample(Protocol):
    """Runs one chain."""

    def __call__(
        self,
        log_density: LogDensity,
        start: FloatArray,
        config: SamplerConfig,
        rng: np.random.Generator,
        report: ChainReporter,
        /,
    ) -> tuple[FloatArray, Stats]:
        """Run `config.warmup` iterations that adapt, then `config.draws` that are kept.

        Parameters
        ----------
        log_density : callable
            A point, (d,), to the log density of the unconstrained space and its gradient, (d,). May be called
            from several threads at once.
        start : ndarray, (d,)
            Where the chain starts; value and gradient are finite there.
        config : SamplerConfig
            The run's; its seed and its chains are dealt with.
        rng : numpy.random.Generator
            All the chain's randomness.
        report : callable
            To be told after each iteration of how many are done, and how many kept draws diverged. Warmup and
            sampling are timed by it.

        Returns
        -------
        positions : ndarray, (draws, d)
            The kept draws.
        stats : mapping of str to ndarray, (draws,)
            Under ArviZ's names (see `Draws.stats`); lp is computed where it is left out.
        """
        ...


@dataclass(eq=False)
class SamplerBackend:
    """A backend that samples the model of another one.

    An entry point names a function without arguments that returns one.

    Parameters
    ----------
    name : str
        The backend's name, equal to the entry point's; also its only sampler's, unless `sampler` is given.
    model : str
        The backend whose model is used, such as "numba" or "numpyro": its compiled models offer a
        `TargetDensity` with `to_draws`.
    sample : callable
        See `Sample`.
    requires : tuple of str
        Import names that `sample` needs, besides those of the model.
    options : tuple of str
        Of "target_accept" and "max_tree_depth": what `sample` honours. Others are refused.
    settings : callable or None
        A configuration to what the sampler really uses: text, numbers and None by name.
    versions_of : callable or None
        Returns versions of the sampler's libraries.
    sampler : str or None
        The sampler's name.
    expected_failures : mapping of str to str
        Ids of conformance checks that are known to fail, with reasons.

    Raises
    ------
    SpecError
        If no installed backend is called `model`.
    """

    name: str
    model: str
    sample: Sample
    requires: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    settings: Callable[[SamplerConfig], Mapping[str, object]] | None = None
    versions_of: Callable[[], Mapping[str, str]] | None = None
    sampler: str | None = None
    expected_failures: Mapping[str, str] = field(default_factory=dict)
    #: Of the model; the sampler brings no model code.
    implementation: str = field(init=False)
    samplers: tuple[str, ...] = field(init=False)
    _lender: Backend = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._lender = _backend_called(self.model)
        self.implementation = self._lender.implementation
        self.samplers = (self.sampler or self.name,)
        self.requires = tuple(dict.fromkeys([*self._lender.requires, *self.requires]))

    def capabilities(self) -> Capabilities:
        """Those of the model, on the CPU, chains one after another or in threads."""
        can = self._lender.capabilities()
        reasons = {key: why for key, why in can.reasons.items() if _is_about_the_model(key)}
        reasons |= {
            Missing(device="gpu"): "not yet ours: a borrowed model is evaluated on the CPU",
            Missing(chain_method="vectorized"): "never: the sampler runs one chain at a time",
            Missing(resuming=True): "not yet ours: a chain's state is not kept",
            Missing(option="metric"): "not yet ours: the sampler has a metric of its own",
        }
        for option in ("target_accept", "max_tree_depth"):
            if option not in self.options:
                reasons[Missing(option=option)] = "never: the sampler has no such option"
        return replace(
            can,
            devices=frozenset({"cpu"}),
            chain_methods=frozenset({"sequential", "parallel"}),
            reasons=reasons,
        )

    def versions(self) -> Mapping[str, str]:
        """Versions of the model's libraries and of the sampler's."""
        own = {} if self.versions_of is None else self.versions_of()
        return {**self._lender.versions(), **own}

    def device_environment(self, device: Device) -> Mapping[str, str]:
        """What the model's libraries read; see `ProcessEnvironment`."""
        lender = self._lender
        return lender.device_environment(device) if isinstance(lender, ProcessEnvironment) else {}

    def cache_environment(self, folder: Path) -> Mapping[str, str]:
        """What the model's libraries read; see `ProcessEnvironment`."""
        lender = self._lender
        return lender.cache_environment(folder) if isinstance(lender, ProcessEnvironment) else {}

    def compile(
        self,
        problem: Problem,
        formulation: Formulation,
        *,
        sampler: str | None,
        device: Device,
        dtype: DType,
    ) -> BorrowedModel:
        """Compile the model, and what the sampler walks on.

        Raises
        ------
        Unsupported
            For whatever `capabilities` lacks, and if the model cannot be lent.
        """
        require(self, problem, formulation, sampler=sampler, device=device, dtype=dtype)
        theirs = None if sampler is None else self._lender.samplers[0]
        model = self._lender.compile(
            problem, formulation, sampler=theirs, device=device, dtype=dtype
        )
        target = None
        if sampler is not None:
            target = model.target_density() if isinstance(model, Differentiable) else None
            if target is None or target.to_draws is None:
                raise Unsupported(f"the model of {self.model!r} cannot be lent to another sampler.")
        return BorrowedModel(self, problem, model, target)


def _is_about_the_model(key: Missing) -> bool:
    theirs = (key.device, key.chain_method, key.sampler, key.option)
    return not any(theirs) and not key.sampling and not key.resuming


def _backend_called(name: str) -> Backend:
    """A backend by its entry point alone: the registry, which is being filled, is not asked."""
    from nestor.engines.registry import GROUP

    points = list(entry_points(group=GROUP, name=name))
    if len(points) != 1:
        raise SpecError(f"there is no backend {name!r} whose model could be used.")
    found: Backend = points[0].load()()
    return found


@dataclass(frozen=True, eq=False)
class BorrowedModel:
    """Another backend's compiled model, sampled by `SamplerBackend.sample`.

    Parameters
    ----------
    backend : SamplerBackend
        With the sampler.
    problem : Problem
        Model and data.
    model : CompiledModel
        The borrowed one.
    target : TargetDensity or None
        Its sampled density; None for densities only.
    """

    backend: SamplerBackend
    problem: Problem
    model: CompiledModel
    target: TargetDensity | None

    def log_density(self, point: Mapping[str, FloatArray]) -> float:
        """Log density at a point of the canonical variables; see `CompiledModel`."""
        return self.model.log_density(point)

    def target_density(self) -> TargetDensity:
        """The density that the sampler walks on; see `Differentiable`."""
        return needs_sampler(self.target)

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None = None) -> Draws:
        """Run all chains; see `CompiledModel`.

        Raises
        ------
        Unsupported
            If the model was compiled for densities only, or for a setting that the sampler lacks.
        EngineFailed
            If no starting point is found, or the sampler returns other shapes than it should.
        """
        target, backend = needs_sampler(self.target), self.backend
        require_config(backend, backend.samplers[0], config)
        streams = chain_streams(config.seed, config.chains)

        def work(number: int, tell: ProgressCallback) -> _Chain:
            return _run(
                backend, target, config, streams[number], ChainReporter(tell, number, config)
            )

        begin = time.perf_counter()
        chains = run_chains(work, config, on_progress or silent, backend.name)
        wall = time.perf_counter() - begin
        positions = np.stack([chain.positions for chain in chains])
        begin = time.perf_counter()
        assert target.to_draws is not None  # noqa: S101 - `SamplerBackend.compile` has seen to it
        found = in_memory(target.to_draws(positions, 0, config.seed), self.problem.variables)
        stats = {name: np.stack([c.stats[name] for c in chains]) for name in chains[0].stats}
        known = all(chain.warmup is not None for chain in chains)
        timings = split_wall(
            wall,
            [chain.warmup or 0.0 for chain in chains] if known else [],
            [chain.seconds - (chain.warmup or 0.0) for chain in chains] if known else [],
            compile_s=0.0,
            postprocess=time.perf_counter() - begin,
        )
        return Draws(found.values, {**stats, **found.stats}, timings, self._settings(config))

    def _settings(self, config: SamplerConfig) -> dict[str, object]:
        backend = self.backend
        own = {} if backend.settings is None else backend.settings(config)
        asked = {name: getattr(config, name) for name in backend.options}
        given = {name: value for name, value in asked.items() if value is not None}
        usual = {"sampler": backend.samplers[0], "model": backend.model}
        return {**usual, "chain_method": config.chain_method, **given, **own}


@dataclass(frozen=True)
class _Chain:
    """One chain's draws and seconds; `warmup` is None where the sampler has not reported."""

    positions: FloatArray
    stats: Stats
    seconds: float
    warmup: float | None


class _Timed(ChainReporter):
    """Passes reports on, and notes when warmup was over."""

    def __init__(self, report: ChainReporter, warmup: int) -> None:
        self._report, self._length = report, warmup
        self.warmed_up: float | None = None

    def __call__(self, done: int, divergences: int = 0) -> None:
        if done >= self._length and self.warmed_up is None:
            self.warmed_up = time.perf_counter()
        self._report(done, divergences)


def _run(
    backend: SamplerBackend,
    target: TargetDensity,
    config: SamplerConfig,
    rng: np.random.Generator,
    report: ChainReporter,
) -> _Chain:
    begin = time.perf_counter()
    start = find_start(
        target.value_and_gradient,
        # A little away from the lender's own point, which is the same for every chain.
        lambda _: target.start + rng.uniform(-0.5, 0.5, target.dimension),
        backend.name,
    )
    timed = _Timed(report, config.warmup)
    positions, stats = backend.sample(target.value_and_gradient, start, config, rng, timed)
    seconds = time.perf_counter() - begin
    positions = np.asarray(positions, np.float64)
    wanted = (config.draws, target.dimension)
    if positions.shape != wanted:
        raise EngineFailed(
            f"{backend.name} returned positions of shape {positions.shape}, not {wanted}."
        )
    found = {name: np.asarray(values) for name, values in stats.items()}
    if "lp" not in found:
        found["lp"] = np.array([target.value_and_gradient(z)[0] for z in positions])
    warmup = None if timed.warmed_up is None else timed.warmed_up - begin
    return _Chain(positions, found, seconds, warmup)
