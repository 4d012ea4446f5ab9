"""What a backend may offer beside its contract: six protocols, and the values that they pass.

A backend that offers one has the members that it names, and nothing more is needed. `Resumable`, `Reusable`,
`Preparable`, `SupportsLazyDraws` and `Differentiable` are offered by compiled models, `ProcessEnvironment` by
backends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nestor.engines.protocol import (
        CompiledModel,
        Device,
        Draws,
        ProgressCallback,
        SamplerConfig,
    )
    from nestor.stats.arrays import FloatArray


@runtime_checkable
class Resumable(Protocol):
    """A compiled model whose chains can go on from where they stand.

    A sampler that cannot says why in `Capabilities.reasons`: ``Missing(resuming=True)``.
    """

    def sample_until(
        self,
        config: SamplerConfig,
        looks: Sequence[int],
        on_progress: ProgressCallback | None = None,
    ) -> Iterator[Draws]:
        """Run all chains, stopping for a look each time they have so many draws.

        Parameters
        ----------
        config : SamplerConfig
            Its `draws` equals ``looks[0]``.
        looks : sequence of int
            Increasing numbers of kept draws per chain.
        on_progress : callable, optional
            As in `CompiledModel.sample`; totals count the draws of the next look.

        Yields
        ------
        Draws
            At each look those drawn since the one before, (chain, new draws, *shape). Their timings are
            those of this stretch: compile and warmup belong to the first. Chains rest while the caller
            looks; closing the iterator ends them. With the same config the draws up to a look are the
            same whatever looks follow.
        """
        ...


@runtime_checkable
class Reusable(Protocol):
    """A compiled model that takes another outcome without being compiled again."""

    def with_outcome(self, y: FloatArray) -> CompiledModel:
        """Return the same model, priors and design for another outcome.

        Parameters
        ----------
        y : ndarray, (N,)
            Outcome, rows in the order of `Problem.y`.

        Returns
        -------
        CompiledModel
            Independent of this one: both can be sampled and evaluated afterwards.
        """
        ...


@runtime_checkable
class Preparable(Protocol):
    """A compiled model whose sampler is compiled for one configuration, and whose data are on a device."""

    @property
    def upload_seconds(self) -> float:
        """Seconds of `Backend.compile` that bringing the data to the device took."""
        ...

    def prepare(self, config: SamplerConfig) -> None:
        """Compile whatever ``sample(config)`` needs, so that afterwards it compiles nothing.

        Raises
        ------
        Unsupported
            If a setting cannot be honoured.
        """
        ...


@runtime_checkable
class LazyDraws(Protocol):
    """Draws of some variables that are made block by block when they are asked for.

    Making them counts as postprocess, copies from a device included. An attribute ``device_peak_bytes``, if
    there is one, is read afterwards and replaces that of the draws.
    """

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each variable, (chain, draw, *shape)."""
        ...

    def blocks(self) -> Iterator[tuple[int, int, Mapping[str, FloatArray]]]:
        """Make the values; the same ones each time.

        Yields
        ------
        chain, first : int
            The chain, and the number of the block's first draw in it.
        values : mapping of str to ndarray, (draws, *shape)
            Some draws of every variable. Together the blocks hold each draw of each chain once.
        """
        ...

    def load(self) -> Mapping[str, FloatArray]:
        """Make all values in memory, (chain, draw, *shape); `nestor.engines.lazy.load` does it."""
        ...


@runtime_checkable
class SupportsLazyDraws(Protocol):
    """A compiled model that need not hold the draws of all nodes in memory."""

    def with_lazy_draws(self) -> CompiledModel:
        """Return a model whose draws leave some variables to `Draws.deferred`, which are `LazyDraws`."""
        ...


@dataclass(frozen=True, eq=False)
class TargetDensity:
    """The function that a sampler walks on, with its gradient, on the unconstrained space.

    Parameters
    ----------
    evaluate : callable
        A point, (d,), in the sampler's own order of the scalars, to the value that the sampler reports as lp
        and its derivatives, (d,). It is evaluated on the model's device and in its precision; both are on the
        host on return.
    start : ndarray of float64, (d,)
        A point where value and gradient are finite.
    to_draws : callable or None
        Positions, (chain, draw, d), the number of the first of these draws, and the run's seed, to `Draws` of
        which only `values`, `deferred` and the statistic ``log_jacobian`` are filled in. None where a model
        cannot lend itself to another sampler; see `nestor.engines.sampler_backend`.
    """

    evaluate: Callable[[FloatArray], tuple[float, FloatArray]]
    start: FloatArray
    to_draws: Callable[[FloatArray, int, int], Draws] | None = None

    @property
    def dimension(self) -> int:
        """Number of unconstrained scalars, d."""
        return len(self.start)

    def value_and_gradient(self, z: FloatArray) -> tuple[float, FloatArray]:
        """Evaluate at a point, (d,)."""
        return self.evaluate(z)


@runtime_checkable
class Differentiable(Protocol):
    """A compiled model that shows the density that its sampler walks on."""

    def target_density(self) -> TargetDensity:
        """Compile the function, unless sampling has: evaluating it compiles nothing.

        Raises
        ------
        Unsupported
            If the model was compiled for densities only.
        """
        ...


@runtime_checkable
class ProcessEnvironment(Protocol):
    """A backend whose libraries read environment variables when their process starts."""

    def device_environment(self, device: Device) -> Mapping[str, str]:
        """Environment variables of a process that runs on one device, unless the user has set them.

        They keep what is not used from being started, and memory from being taken before it is needed.
        """
        ...

    def cache_environment(self, folder: Path) -> Mapping[str, str]:
        """Environment variables under which compiled code is kept in `folder` alone, whatever the library.

        A process with them and an empty folder compiles everything; a second one with the same folder
        loads what the first one left there.

        Parameters
        ----------
        folder : Path
            An absolute path; made by the libraries, if it does not exist.

        Returns
        -------
        mapping of str to str
            To be added to a process's environment before it starts; empty where nothing is kept. Where a
            variable holds several settings, the user's others are kept.
        """
        ...
