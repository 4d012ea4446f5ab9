"""Rows of a simulated table: predictors, weights, trials, exposures, offsets and the outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.data.datasets.outcomes import COUNTS, OUTCOMES, Given, draw_outcome
from nestor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor.data.datasets.plan import Plan

    Array = NDArray[np.float64]

_OFFSET_SD = 0.5
_LOG_EXPOSURE_SD = 0.5
_WEIGHTS = (0.5, 2.0)


def draw_rows(
    plan: Plan,
    coefficients: Array,
    leaf: NDArray[np.intp],
    extras: Mapping[str, int],
    family: str,
    parameters: Mapping[str, float],
    random: np.random.Generator,
) -> dict[str, Any]:
    """Draw the table's columns other than the levels: predictors, extra columns and y, each (N,).

    Parameters
    ----------
    plan : Plan
        What to simulate.
    coefficients : ndarray, (n_leaves, p)
        Of the leaves.
    leaf : ndarray of intp, (N,)
        The leaf of each row.
    extras : mapping of str to int
        Names of the extra columns: weight, trials, exposure, offset. The value for trials is their
        largest number.
    family : str
        A name from `OUTCOMES`.
    parameters : mapping of str to float
        The family's parameters.
    random : numpy.random.Generator
        Source of randomness.

    Raises
    ------
    DataError
        If the outcomes are too large to draw.
    """
    n, c = len(leaf), len(plan.gamma)
    columns: dict[str, Any] = {}
    eta = np.zeros(n)
    for j, effect in enumerate(plan.effects):
        x = np.ones(n) if effect == "Intercept" else random.standard_normal(n)
        eta += x * coefficients[leaf, j]
        columns[effect] = x
    columns.pop("Intercept", None)
    for j in range(c):
        columns[f"z{j + 1}"] = random.standard_normal(n)
        eta += plan.gamma[j] * columns[f"z{j + 1}"]
    columns |= {name: _extra(name, most, n, random) for name, most in extras.items()}
    eta += columns.get("offset", 0.0)
    size = columns.get(OUTCOMES[family].extra or "", np.ones(n))
    y = draw_outcome(family, Given(eta, np.asarray(size, dtype=np.float64), parameters), random)
    if not np.isfinite(y).all():
        raise DataError(f"the outcomes of {family} are not all finite: make beta or tau smaller.")
    columns["y"] = y.astype(np.int64) if family in COUNTS else y
    return columns


def _extra(name: str, most: int, n: int, random: np.random.Generator) -> NDArray[Any]:
    if name == "weight":
        return random.uniform(*_WEIGHTS, n)
    if name == "trials":
        return random.integers(1, most, n, endpoint=True)
    if name == "exposure":
        return np.exp(_LOG_EXPOSURE_SD * random.standard_normal(n))
    return _OFFSET_SD * random.standard_normal(n)
