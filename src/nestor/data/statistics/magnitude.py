"""Refusal of numbers whose sums of squares double precision cannot hold, or not to its precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nestor.data.statistics.moments import Moments
    from nestor.model.spec import ModelSpec

#: Least mean of squares: those of deviations that are 256 times smaller are still normal numbers, of all
#: digits.
_SMALLEST = float(np.finfo(np.float64).tiny) * 2**16


def refuse_magnitude(
    spec: ModelSpec,
    terms: Sequence[str | None],
    moments: Moments,
    all_zero: Callable[[int], bool],
) -> None:
    """Refuse columns of which moments are infinite, or zero though they are not.

    Parameters
    ----------
    spec : ModelSpec
        The description, for the name of the weights.
    terms : sequence of d str or None
        Names of the columns; None is the outcome.
    moments : Moments
        Of d columns in n leaves.
    all_zero : callable
        Whether a column, by its number, is zero in every row.

    Raises
    ------
    DataError
        If the sum of weights, or of a column's weighted squares, is too large or too small.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        weight = moments.weight.sum()
        about_mean = np.einsum("iin->in", moments.cross)
        squares = (about_mean + moments.weight * moments.mean**2).sum(axis=1)
    smallest = _SMALLEST * int(moments.rows.sum())
    if not smallest <= weight < np.inf:
        raise _refusal(f"weights column {spec.weights!r}", weight, "sum", "column")
    what = "column" if spec.weights is None else "column or the weights"
    for j, term in enumerate(terms):
        if smallest <= squares[j] < np.inf or (squares[j] == 0 and all_zero(j)):
            continue
        name = "the outcome" if term is None else f"predictor {term!r}"
        raise _refusal(name, squares[j], "sum of squares", what)


def _refusal(name: str, found: float, what: str, scaled: str) -> DataError:
    size = "small" if found < 1 else "large"
    return DataError(
        f"{name} is too {size} for its {what} to be held in double precision ({found:g}). "
        f"Rescale the {scaled}."
    )


def refuse_infinite(*arrays: np.ndarray) -> None:
    """Refuse leaf statistics that are not finite, though the sums that they are made of are."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise DataError(
            "a leaf's least-squares coefficients are too large for double precision: there the "
            "outcome is too large for predictors that are too small. Rescale the columns."
        )
