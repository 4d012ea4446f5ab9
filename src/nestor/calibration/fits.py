"""Parameters from the engine's own fits to the data, for a study around the posterior.

Each block of simulations has a fit of its own, with its own seed and enough effective draws, so that more
simulations never change the parameters of those before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor.calibration.job import FIT_BLOCK
from nestor.calibration.streams import FIT, stream
from nestor.errors import DataError
from nestor.runner.store import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from nestor.calibration.job import Job


def fit_path(job: Job, block: int) -> Path:
    """File of a block's parameters."""
    assert job.fits is not None  # noqa: S101 - a study around the posterior has a folder for them
    return job.fits / f"{block:04d}.npz"


def save_parameters(job: Job, block: int, values: Mapping[str, NDArray[np.float64]]) -> None:
    """Keep a fit's draws, (FIT_BLOCK, *shape) each, in random order: chains are not to be neighbours."""
    order = stream(job.config.seed, block, FIT).permutation(FIT_BLOCK)
    shuffled = {name: array[order] for name, array in values.items()}

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **shuffled)

    write_atomically(fit_path(job, block), write)


def load_parameters(job: Job, simulation: int) -> dict[str, NDArray[np.float64]]:
    """Return the parameters of a simulation around the posterior.

    Raises
    ------
    DataError
        If the fit's file cannot be read.
    """
    block, row = divmod(simulation, FIT_BLOCK)
    path = fit_path(job, block)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name][row] for name in job.problem.variables}
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise DataError(f"{path} cannot be read ({error}). Remove it and run again.") from None
