"""Coefficients given draws of the scales, made block by block from noise that belongs to each draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.engines.deferred import together

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from nestor_pymc.recovery import Recovery

    type FloatArray = NDArray[np.float64]

#: Tells these streams from others of the same seed.
_STREAM = 0xC0EF


class DrawNoise:
    """Normal numbers of each draw of a chain, the same ones in whatever order draws are asked for.

    A draw's number is the highest word of the counter of a generator that encrypts its counter (Philox:
    Salmon, Moraes, Dror and Shaw, 2011, SC '11), so that no two draws' counters ever meet.

    Parameters
    ----------
    seed, chain : int
        Of the run.
    """

    def __init__(self, seed: int, chain: int) -> None:
        words = np.random.SeedSequence([seed, chain, _STREAM]).generate_state(2, np.uint64)
        self._key = words.astype(np.uint64)
        self._bits = np.random.Philox(key=self._key)
        self._fresh = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def __call__(self, draws: range, numbers: int) -> FloatArray:
        """Standard normal numbers of some draws, (draws, numbers)."""
        found = np.empty((len(draws), numbers))
        for row, number in zip(found, draws, strict=True):
            # Setting the state takes a fifth of the time of making a generator.
            counter = np.array([0, 0, 0, number], np.uint64)
            self._bits.state = {
                **self._fresh,
                "state": {"counter": counter, "key": self._key},
            }
            self._generator.standard_normal(out=row)
        return found


@dataclass(frozen=True, eq=False)
class Recovered:
    """The coefficients of a run; see `nestor.engines.protocol.Deferred`.

    Parameters
    ----------
    recovery : Recovery
        What draws them.
    scales : mapping of str to ndarray, (chain, draw, *shape)
        Every tau_<level>, and sigma unless it is fixed.
    first : int
        Number of the first of these draws in its chain.
    seed : int
        Of the run: with the chain's and the draw's number it decides a draw's noise.
    """

    recovery: Recovery
    scales: Mapping[str, FloatArray]
    first: int
    seed: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each variable, (chain, draw, *shape)."""
        lead = next(iter(self.scales.values())).shape[:2]
        return {name: (*lead, *shape) for name, shape in self.recovery.shapes.items()}

    def blocks(self) -> Iterator[tuple[int, int, Mapping[str, FloatArray]]]:
        """Draw them, as many draws at a time as `Recovery.batch` says."""
        chains, draws = next(iter(self.scales.values())).shape[:2]
        for chain in range(chains):
            noise = DrawNoise(self.seed, chain)
            for begin in range(0, draws, self.recovery.batch):
                end = min(begin + self.recovery.batch, draws)
                some = {name: array[chain, begin:end] for name, array in self.scales.items()}
                numbers = range(self.first + begin, self.first + end)
                yield chain, begin, self.recovery.given(some, noise(numbers, self.recovery.noise))

    def together(self) -> dict[str, FloatArray]:
        """All of them in memory, (chain, draw, *shape)."""
        return together(self)
