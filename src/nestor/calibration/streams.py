"""One stream of random numbers for each simulation and purpose.

A simulation's numbers depend on the study's seed and its own number alone: not on how many simulations
there are, nor on which process makes it, nor in which order.
"""

from __future__ import annotations

import numpy as np

DATA, TIES, ENGINE, FIT = range(4)


def stream(seed: int, number: int, purpose: int) -> np.random.Generator:
    """Return the generator of a simulation (or of a fit) for one purpose."""
    return np.random.default_rng(_sequence(seed, number, purpose))


def engine_seed(seed: int, number: int, purpose: int) -> int:
    """Return the seed that a sampler is given, below 2^31."""
    return int(_sequence(seed, number, purpose).generate_state(1)[0] >> 1)


def _sequence(seed: int, number: int, purpose: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(number, purpose))
