"""The value of a term on every row of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import DataError
from nestor.model.terms.columns import numeric_column, refuse, row_count
from nestor.model.terms.term import Column, Power

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from nestor.model.terms.columns import Table
    from nestor.model.terms.term import Factor, Term, Transform


def evaluate(term: Term, columns: Table) -> NDArray[np.float64]:
    """Evaluate a term on a table.

    `scale` divides by the standard deviation of the population (ddof 0), as formulae and Bambi do.

    Parameters
    ----------
    term : Term
        What to evaluate.
    columns : mapping of str to array, or pandas.DataFrame
        The table of N rows.

    Returns
    -------
    ndarray of float64, shape (N,)

    Raises
    ------
    DataError
        If a column is missing, is not numeric, has missing or infinite values, or values outside
        the domain of a transform; the message counts them and names the first rows (from 0).
    """
    if not term.factors:
        return np.ones(row_count(columns))
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by name
        values = [_evaluate_factor(factor, columns) for factor in term.factors]
    if len({value.shape for value in values}) > 1:
        names = " and ".join(repr(name) for name in term.columns)
        raise DataError(f"columns {names} have different lengths.")
    with np.errstate(over="ignore", invalid="ignore"):
        product = np.prod(values, axis=0)
    refuse(~np.isfinite(product), f"term {term.name} has", "overflowing", "Rescale it.")
    return np.asarray(product, dtype=np.float64)


def is_constant(values: NDArray[np.float64]) -> bool:
    """Whether all of `values`, shape (N,), are the same."""
    return bool(np.all(values == values[:1]))


def _evaluate_factor(factor: Factor, columns: Table) -> NDArray[np.float64]:
    if isinstance(factor, Column):
        return numeric_column(columns, factor.name)
    if isinstance(factor, Power):
        return _power(factor, _evaluate_factor(factor.base, columns))
    values = _evaluate_factor(factor.argument, columns)
    return _APPLY[factor.function](factor, values)


def _power(factor: Power, values: NDArray[np.float64]) -> NDArray[np.float64]:
    subject, advice = f"{factor.text} is not defined: {factor.base.text} has", "Drop or shift them."
    if isinstance(factor.exponent, float):
        refuse(values < 0, subject, "negative", advice)
    if factor.exponent < 0:
        refuse(values == 0, subject, "zero", advice)
    result = values**factor.exponent
    refuse(np.isinf(result), f"{factor.text} overflows: it has", "infinite", "Rescale the column.")
    return result


def _log(factor: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    subject = f"{factor.text} is not defined: {factor.argument.text} has"
    refuse(values <= 0, subject, "zero or negative", "Drop or shift them.")
    return np.log(values)


def _sqrt(factor: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    subject = f"{factor.text} is not defined: {factor.argument.text} has"
    refuse(values < 0, subject, "negative", "Drop or shift them.")
    return np.sqrt(values)


def _exp(factor: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.exp(values)
    refuse(np.isinf(result), f"{factor.text} overflows: it has", "infinite", "Rescale the column.")
    return result


def _center(_: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values - values.mean(), dtype=np.float64)


def _scale(factor: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    if is_constant(values):
        raise DataError(
            f"{factor.text} is not defined: {factor.argument.text} is constant ({values[0]:g})."
        )
    centered = values - values.mean()
    # dividing by the largest first keeps the squares of very large or small values in range
    centered = centered / np.abs(centered).max()
    return np.asarray(centered / np.sqrt(np.mean(centered**2)), dtype=np.float64)


_APPLY: Mapping[str, Callable[[Transform, NDArray[np.float64]], NDArray[np.float64]]] = {
    "scale": _scale,
    "center": _center,
    "log": _log,
    "exp": _exp,
    "sqrt": _sqrt,
}
