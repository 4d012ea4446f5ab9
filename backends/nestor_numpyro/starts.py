"""Starting points: NumPyro's default strategy, drawn on the host.

NumPyro draws each unconstrained value from Uniform(-2, 2) and tries again until density and gradient are
finite. The loop is repeated here because inside a compiled program it takes three times as long to compile
as one density with its gradient, and it says nothing when it gives up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from nestor.errors import EngineFailed
from nestor_numpyro.programs import seed_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from nestor_numpyro.data import ModelData
    from nestor_numpyro.programs import Programs

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
