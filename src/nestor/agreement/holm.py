"""Holm's (1979) correction for testing many hypotheses at once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values so that the chance of any false rejection stays below the level.

    Valid whatever the dependence between the tests (Holm 1979, Scandinavian Journal of
    Statistics 6).

    Parameters
    ----------
    p_values
        Any shape. A nan is a test that could not be done: it stays nan and is not counted.

    Returns
    -------
    array
        Adjusted p-values of the same shape, at most 1. Rejecting those that are not larger than
        a level keeps the family-wise error rate at that level.
    """
    raw = np.asarray(p_values, dtype=np.float64)
    flat = raw.ravel()
    adjusted = np.full(flat.shape, np.nan)
    known = np.flatnonzero(~np.isnan(flat))
    order = known[np.argsort(flat[known], kind="stable")]
    weights = np.arange(order.size, 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(weights * flat[order]), 1.0)
    return adjusted.reshape(raw.shape)
