"""Near-independent draws, and the rank of the truth among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.stats.diagnostics import ess_bulk, ess_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nestor.stats.arrays import FloatArray


#: Effective draws needed per draw that is kept. Chains like an AR(1) process of integrated time t,
#: thinned by 2t, keep a correlation of at most exp(-4), 2%, between neighbours.
SPARE = 2.0


@dataclass(frozen=True, eq=False)
class Thinned:
    """Draws that were kept of a run.

    Parameters
    ----------
    values : dict of str to ndarray, (count, *shape)
        The canonical variables.
    quantities : ndarray, (count, n)
        The ranked quantities.
    ess : float
        The smallest bulk or tail ESS of any quantity before thinning; nan where draws are not finite.
    draws, divergences : int
        Draws of each chain before thinning; divergences among them, all chains together.
    enough : bool
        Whether the ESS suffices for so many near-independent draws.
    """

    values: dict[str, FloatArray]
    quantities: FloatArray
    ess: float
    draws: int
    divergences: int
    enough: bool


def thin(
    values: dict[str, FloatArray], quantities: FloatArray, divergences: int, count: int
) -> Thinned:
    """Keep `count` draws, evenly spread over all chains.

    Parameters
    ----------
    values : dict of str to ndarray, (chain, draw, *shape)
        The canonical variables.
    quantities : ndarray, (chain, draw, n)
        The ranked quantities.
    divergences : int
        In all chains.
    count : int
        Draws to keep.
    """
    chains, draws = quantities.shape[:2]
    ess = float(np.minimum(ess_bulk(quantities), ess_tail(quantities)).min())
    kept = ((np.arange(count) + 0.5) * (chains * draws / count)).astype(np.intp)
    flat = quantities.reshape(chains * draws, -1)
    return Thinned(
        {name: v.reshape(chains * draws, *v.shape[2:])[kept] for name, v in values.items()},
        flat[kept],
        ess,
        draws,
        divergences,
        enough=chains * draws >= count and ess >= SPARE * count,
    )


def rank(truth: FloatArray, draws: FloatArray, rng: np.random.Generator) -> NDArray[np.intp]:
    """Rank of each quantity's true value among its draws, ties broken at random.

    Parameters
    ----------
    truth : ndarray, (n,)
        True values.
    draws : ndarray, (count, n)
        Finite draws.
    rng : Generator
        For ties.

    Returns
    -------
    ndarray of intp, (n,)
        0 to count.
    """
    below = (draws < truth).sum(axis=0)
    equal = (draws == truth).sum(axis=0)
    found: NDArray[np.intp] = below + rng.integers(0, equal, endpoint=True)
    return found
