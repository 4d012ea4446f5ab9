"""Running chains: one after another, side by side in threads, or as lanes of one program.

Threads share one compiled program and one CPU device: JAX releases the interpreter's lock while it
computes. Two chains on two cores took 0.51 of the time of one after another (4,000 rows, 1.47 s against
2.88 s), so several host devices, each with a program of its own to compile, would gain nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from nestor.engines.protocol import Progress
from nestor.engines.support import run_chains
from nestor.errors import EngineFailed
from nestor_numpyro.programs import seed_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.engines.protocol import Phase, ProgressCallback, SamplerConfig
    from nestor_numpyro.data import ModelData
    from nestor_numpyro.execution import Execution
    from nestor_numpyro.programs import Programs


#: Seconds between two reports of a chain, or more where reporting is slow.
REPORT_EVERY = 0.2

#: (phase, iterations done, divergences so far: a scalar, or one for each lane)
Report = Callable[["Phase", int, "NDArray[np.int64]"], None]


@dataclass(frozen=True)
class Run:
    """A stretch of one chain, or of all of them as lanes.

    Parameters
    ----------
    buffers : dict
        What was kept of each draw, on the device; the chain's next stretch consumes them.
    rows : slice
        The stretch's rows of the buffers, along the axis of draws.
    first : int
        Number of the draw in the first of these rows, counted from the chain's first.
    divergences : ndarray of int, () or (lanes,)
        Among all kept draws so far.
    warmup, sampling : float
        Seconds; finding a starting point counts as warmup.
    """

    buffers: dict[str, Any]
    rows: slice
    first: int
    divergences: NDArray[np.int64]
    warmup: float
    sampling: float


class Chains:
    """All chains of a run; between calls of `advance` they rest. Use it inside the execution's scope.

    Parameters
    ----------
    programs : Programs
        Compiled for the configuration.
    config : SamplerConfig
        Chains, warmup, seed, and how chains are run.
    data : ModelData
        The model's argument.
    execution : Execution
        Device and precision.
    """

    def __init__(
        self, programs: Programs, config: SamplerConfig, data: ModelData, execution: Execution
    ) -> None:
        self._config = config
        self._execution = execution
        numbers = range(config.chains)
        if config.chain_method == "vectorized":
            # Lanes of one program: each iteration waits for the longest trajectory.
            self._chains = [_Chain(programs, data, config.seed, numbers)]
        else:
            self._chains = [_Chain(programs, data, config.seed, (i,)) for i in numbers]
        self._rows = programs.plan.draws
        self.drawn = 0

    @property
    def room(self) -> int:
        """Draws until the end of the buffers, where a stretch must end."""
        return self._rows - self.drawn % self._rows

    def advance(self, draws: int, total: int, progress: ProgressCallback) -> list[Run]:
        """Make `draws` more draws of each chain, `room` at most; the first call warms up before.

        Parameters
        ----------
        draws : int
            Draws of each chain.
        total : int
            Iterations that progress counts up to.
        progress : callable
            Called in the calling thread.
        """
        self.drawn += draws
        if self._config.chain_method != "vectorized":
            return self._each(draws, total, progress)
        return [c.advance(draws, _reporter(progress, total, c.numbers)) for c in self._chains]

    def _each(self, draws: int, total: int, progress: ProgressCallback) -> list[Run]:
        """Go on with every chain, one after another or in threads, which end with the stretch."""

        def work(chain: int, tell: ProgressCallback) -> Run:
            with self._execution.scope():
                return self._chains[chain].advance(draws, _reporter(tell, total, (chain,)))

        return run_chains(work, self._config, progress, "numpyro")


def _reporter(progress: ProgressCallback, total: int, chains: Sequence[int]) -> Report:
    def report(phase: Phase, done: int, divergences: NDArray[np.int64]) -> None:
        for chain, count in zip(chains, np.atleast_1d(divergences), strict=True):
            progress(Progress(chain, phase, done, total, int(count)))

    return report


class _Chain:
    """One chain, or all as lanes: where it stands, and how it goes on from there."""

    def __init__(
        self, programs: Programs, data: ModelData, seed: int, numbers: Sequence[int]
    ) -> None:
        self.numbers = numbers
        self._programs = programs
        self._data = data
        self._seed = seed
        self._state: Any = None
        self._buffers: Any = None
        self._drawn = 0
        lanes = programs.plan.lanes
        self._divergences = np.zeros(() if lanes is None else lanes, np.int64)

    def advance(self, draws: int, report: Report) -> Run:
        """Make `draws` draws, after warming up if there are none yet."""
        warmup = self._programs.plan.warmup
        spent = self._warm_up(report) if self._state is None else 0.0
        begin = time.perf_counter()
        for done, found in self._iterate(draws):
            self._divergences = self._divergences + found
            report("sampling", warmup + self._drawn + done, self._divergences)
        seconds = time.perf_counter() - begin
        number = self._drawn
        row = number % self._programs.plan.draws
        self._drawn += draws
        rows = slice(row, row + draws)
        return Run(self._buffers, rows, number, self._divergences, spent, seconds)

    def _warm_up(self, report: Report) -> float:
        """Find a starting point and adapt; returns the seconds that it took."""
        begin = time.perf_counter()
        report("warmup", 0, self._divergences)
        self._state, self._buffers = find_start(
            self._programs, self._data, self._seed, self.numbers
        )
        for done, _ in self._iterate(self._programs.plan.warmup):
            report("warmup", done, self._divergences)
        return time.perf_counter() - begin

    def _iterate(self, iterations: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Advance, as many iterations at a time as fit between two reports.

        Yields iterations done so far and the divergences since the last yield.
        """
        done, stretch = 0, 1
        while done < iterations:
            stretch = min(stretch, iterations - done)
            begin = time.perf_counter()
            count = np.asarray(stretch, np.int32)
            self._state, self._buffers, found = jax.block_until_ready(
                self._programs.advance(self._state, self._buffers, count, self._data)
            )
            seconds = time.perf_counter() - begin
            done += stretch
            begin = time.perf_counter()
            yield done, np.asarray(found, dtype=np.int64)
            # A report on thousands of lanes takes time, which is the sampler's: a hundredth of it at most.
            every = max(REPORT_EVERY, 100 * (time.perf_counter() - begin))
            # Trajectories change length during warmup, so the guess may be off: let it grow slowly.
            fits = int(every * stretch / max(seconds, 1e-9))
            stretch = max(1, min(fits, 4 * stretch))


RADIUS = 2.0
TRIES = 100

#: The strategy in words, for records.
DESCRIPTION = f"uniform(-{RADIUS:g}, {RADIUS:g}) on the unconstrained scale, at most {TRIES} tries"


def find_start(
    programs: Programs, data: ModelData, seed: int, chains: Sequence[int]
) -> tuple[Any, Any]:
    """Start one chain, or several as lanes, at points of finite density and gradient.

    Parameters
    ----------
    programs : Programs
        Compiled for one chain or for ``len(chains)`` lanes.
    data : ModelData
        The model's argument.
    seed : int
        The run's seed; a chain's key and point depend on it and on the chain's number only.
    chains : sequence of int
        Numbers of the chains.

    Returns
    -------
    state, buffers
        As from `Programs.start`.

    Raises
    ------
    EngineFailed
        If there is no such point among the tries.
    """
    single = programs.plan.lanes is None
    numbers = np.asarray(chains[0] if single else chains, np.uint32)
    key = programs.key(seed_words(seed), numbers)
    points = [_draw(programs.shapes, seed, chain, 0) for chain in chains]
    for attempt in range(1, TRIES + 1):
        at = points[0] if single else {n: np.stack([p[n] for p in points]) for n in points[0]}
        state, buffers = jax.block_until_ready(programs.start(key, at, data))
        finite = _finite(state, len(chains))
        if finite.all():
            return state, buffers
        for lane in np.flatnonzero(~finite).tolist():
            points[lane] = _draw(programs.shapes, seed, chains[lane], attempt)
    raise EngineFailed(
        f"numpyro found no starting point with a finite density and gradient in {TRIES} tries "
        f"(chain {chains[int(np.argmin(finite))]}). "
        "Check the priors against the data, or rescale the predictors."
    )


def _draw(
    shapes: Mapping[str, tuple[int, ...]], seed: int, chain: int, attempt: int
) -> dict[str, Any]:
    rng = np.random.default_rng([seed, chain, attempt])
    return {
        name: np.asarray(rng.uniform(-RADIUS, RADIUS, shape), jnp.result_type(float))
        for name, shape in shapes.items()
    }


def _finite(state: Any, chains: int) -> NDArray[np.bool_]:
    leaves = jax.tree.leaves((state.potential_energy, state.z_grad))
    flat = (np.asarray(leaf).reshape(chains, -1) for leaf in leaves)
    return np.all([np.isfinite(values).all(axis=1) for values in flat], axis=0)
