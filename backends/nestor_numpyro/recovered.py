"""Coefficients given draws of the scales: chunks of them, drawn on the device and copied to the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from nestor.engines.deferred import together
from nestor_numpyro.place import failing_allocations
from nestor_numpyro.recovery import recovery_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from nestor_numpyro.data import ModelData
    from nestor_numpyro.place import Place

    type FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Recovered:
    """The coefficients of a run; see `nestor.engines.protocol.Deferred`.

    Parameters
    ----------
    program : callable
        The compiled `nestor_numpyro.recovery.Recovery.program`.
    chunk : int
        Draws that it takes at a time.
    variables : mapping of str to tuple of int
        Shape of one draw of each coefficient.
    data : ModelData
        The model's argument.
    place : Place
        Device and precision.
    scales : mapping of str to ndarray, (chain, draw, *shape)
        The canonical variables that were sampled, on the host.
    first : int
        Number of the first of these draws in its chain.
    seed : int
        Of the run.
    """

    program: Callable[..., Any]
    chunk: int
    variables: Mapping[str, tuple[int, ...]]
    data: ModelData
    place: Place
    scales: Mapping[str, FloatArray]
    first: int
    seed: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each variable, (chain, draw, *shape)."""
        lead = next(iter(self.scales.values())).shape[:2]
        return {name: (*lead, *shape) for name, shape in self.variables.items()}

    @property
    def device_peak_bytes(self) -> int | None:
        """Largest memory in use on the device so far; see `nestor.engines.optional.MadeOnDevice`."""
        return self.place.peak_bytes()

    def blocks(self) -> Iterator[tuple[int, int, Mapping[str, FloatArray]]]:
        """Draw them chunk by chunk; the device holds one at a time."""
        chains, draws = next(iter(self.scales.values())).shape[:2]
        for chain in range(chains):
            for begin in range(0, draws, self.chunk):
                yield chain, begin, self._chunk(chain, begin, min(self.chunk, draws - begin))

    def _chunk(self, chain: int, begin: int, draws: int) -> dict[str, FloatArray]:
        some = {
            n: self._padded(array[chain, begin : begin + draws]) for n, array in self.scales.items()
        }
        words, number = recovery_words(self.seed), np.uint32(self.first + begin)
        # Not around the yield: switches of JAX would hold for whoever takes the block.
        with failing_allocations(), self.place.scope():
            drawn = self.program(words, np.uint32(chain), number, some, self.data)
            host: dict[str, NDArray[np.generic]] = jax.device_get(drawn)
        return {name: np.asarray(a[:draws], dtype=np.float64) for name, a in host.items()}

    def _padded(self, rows: FloatArray) -> NDArray[np.generic]:
        """A chunk of rows: where there are fewer, the last one again, whose draws are thrown away."""
        last = np.repeat(rows[-1:], self.chunk - len(rows), axis=0)
        return np.concatenate([rows, last]).astype(self.place.dtype)

    def together(self) -> dict[str, FloatArray]:
        """All of them in memory, (chain, draw, *shape)."""
        return together(self)
