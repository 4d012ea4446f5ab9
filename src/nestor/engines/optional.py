"""What a backend may offer beside its contract; each offer is a protocol of its own.

A backend that offers one has the members that it names, and nothing more is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from nestor.engines.protocol import (
        CompiledModel,
        Device,
        Draws,
        ProgressCallback,
        SamplerConfig,
    )


@runtime_checkable
class Preparable(Protocol):
    """A compiled model whose sampler is compiled for one configuration; optional."""

    def prepare(self, config: SamplerConfig) -> None:
        """Compile whatever ``sample(config)`` needs, so that afterwards it compiles nothing.

        Raises
        ------
        Unsupported
            If a setting cannot be honoured.
        """
        ...


@runtime_checkable
class Uploaded(Protocol):
    """A compiled model that says what bringing its data to the device took; optional."""

    @property
    def upload_seconds(self) -> float:
        """Seconds, part of those of `Backend.compile`; zero where the data stay on the host."""
        ...


@runtime_checkable
class Extensible(Protocol):
    """A compiled model whose chains can go on from where they stand; optional.

    A sampler that cannot says why in `Capabilities.reasons`, under "extend" or "SAMPLER extend".
    """

    def sample_in_looks(
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
class Deferred(Protocol):
    """Values of a run that are made block by block, when somebody wants them.

    They keep few values for that, and no more than some blocks of the others at once. The seconds that
    making them takes, copies from a device included, count as postprocess.
    """

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each variable, (chain, draw, *shape)."""
        ...

    def blocks(self) -> Iterator[tuple[int, int, Mapping[str, NDArray[np.float64]]]]:
        """Make the values; the same ones each time.

        Yields
        ------
        chain, first : int
            Whose they are, and the number of their first draw.
        values : mapping of str to ndarray, (draws, *shape)
            Some draws of every variable. Together the blocks hold each draw of each chain once.
        """
        ...

    def together(self) -> Mapping[str, NDArray[np.float64]]:
        """All values in memory, (chain, draw, *shape); `nestor.engines.deferred.together` does it."""
        ...


@runtime_checkable
class MadeOnDevice(Protocol):
    """Deferred values that are made on a device which counts its memory; optional."""

    @property
    def device_peak_bytes(self) -> int | None:
        """As `Draws.device_peak_bytes`, at the time of asking."""
        ...


@runtime_checkable
class Deferring(Protocol):
    """A compiled model that need not hold all draws of its nodes in memory; optional."""

    def deferring(self) -> CompiledModel:
        """Return a model of which draws come with some of their variables in `Draws.deferred`."""
        ...


@runtime_checkable
class Reusable(Protocol):
    """A compiled model that takes another outcome without being compiled again; optional."""

    def with_outcome(self, y: NDArray[np.float64]) -> CompiledModel:
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
class SampledDensity(Protocol):
    """The function that a sampler walks on, and its gradient, on the unconstrained space.

    Attributes
    ----------
    dimension : int
        d, the number of unconstrained scalars.
    start : ndarray of float64, (d,)
        A point where value and gradient are finite.
    """

    @property
    def dimension(self) -> int:
        """d, the number of unconstrained scalars."""
        ...

    @property
    def start(self) -> NDArray[np.float64]:
        """A point where value and gradient are finite, (d,)."""
        ...

    def value_and_gradient(self, z: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Evaluate on the model's device and in its precision; return when both are on the host.

        Parameters
        ----------
        z : ndarray of float64, (d,)
            In the sampler's own order of the scalars.

        Returns
        -------
        value : float
            What the sampler reports as lp.
        gradient : ndarray of float64, (d,)
            Its derivatives.
        """
        ...


@runtime_checkable
class Differentiable(Protocol):
    """A compiled model that shows what its sampler walks on; optional."""

    def sampled_density(self) -> SampledDensity:
        """Compile the function, unless sampling has: evaluating it compiles nothing.

        Raises
        ------
        Unsupported
            If the model was compiled for densities only.
        """
        ...


@runtime_checkable
class Placed(Protocol):
    """A backend whose libraries take in what devices there are when they start; optional."""

    def device_environment(self, device: Device) -> Mapping[str, str]:
        """Environment variables of a process that runs on one device, unless the user has set them.

        They keep what is not used from being started, and memory from being taken before it is needed.
        """
        ...


@runtime_checkable
class Cached(Protocol):
    """A backend whose libraries keep compiled code between processes; optional."""

    def cache_environment(self, folder: Path) -> Mapping[str, str]:
        """Environment variables under which every such cache is used, and lives in `folder` alone.

        A process with them and an empty folder compiles everything; a second one with the same folder
        loads what the first one left there.

        Parameters
        ----------
        folder : Path
            An absolute path; made by the libraries, if it does not exist.

        Returns
        -------
        mapping of str to str
            To be added to a process's environment before it starts. Where a variable holds several
            settings, those of this process's environment that are about something else are kept.
        """
        ...
