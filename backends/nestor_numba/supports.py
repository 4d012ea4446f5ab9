"""Scalars with priors, and the unconstrained space that is sampled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.model.priors import Prior

    type FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Support:
    """Scalars x and what stands for them on the unconstrained space, z.

    Positive ones are logs, those of (a, b) are log((x - a) / (b - x)), those of the whole line themselves.

    Parameters
    ----------
    priors : tuple of Prior
        One for each scalar.
    """

    priors: tuple[Prior, ...]

    @cached_property
    def _bounds(self) -> tuple[FloatArray, FloatArray]:
        bounds = np.array([prior.bounds for prior in self.priors]).reshape(-1, 2)
        return bounds[:, 0], bounds[:, 1]

    @cached_property
    def is_real(self) -> NDArray[np.bool_]:
        """Which scalars may be any number, (d,)."""
        return np.isneginf(self._bounds[0])

    def inside(self, x: FloatArray) -> bool:
        """Whether all entries, (d,), are inside their priors' supports."""
        low, high = self._bounds
        return bool(np.all((x > low) & (x < high)))

    def unconstrain(self, x: FloatArray) -> FloatArray:
        """Entries to the unconstrained space."""
        low, high = self._bounds
        bounded = np.isfinite(high)
        with np.errstate(all="ignore"):
            positive = np.where(bounded, np.log((x - low) / (high - x)), np.log(x))
        return np.where(self.is_real, x, positive)

    def constrain(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Entries, (..., d), of unconstrained scalars, and sums of log |dx/dz|, (...)."""
        low, high = self._bounds
        bounded = np.isfinite(high) & ~self.is_real
        width = np.where(bounded, high, 1.0) - np.where(bounded, low, 0.0)
        with np.errstate(all="ignore"):
            small = np.exp(-np.abs(z))
            share = np.where(z > 0, 1.0, small) / (1.0 + small)
            x = np.where(bounded, low + width * share, np.where(self.is_real, z, np.exp(z)))
        logs = np.log(width) - np.abs(z) - 2.0 * np.log1p(small)
        return x, np.where(bounded, logs, np.where(self.is_real, 0.0, z)).sum(axis=-1)

    @cached_property
    def centre(self) -> FloatArray:
        """The priors' medians, unconstrained, (d,)."""
        medians = np.array([float(prior.scipy().ppf(0.5)) for prior in self.priors])
        return self.unconstrain(medians)
