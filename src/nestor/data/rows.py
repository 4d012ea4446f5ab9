"""The rows of a table as arrays, sorted by leaf."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nestor.errors import DataError, SpecError
from nestor.errors.text import short_repr
from nestor.model.names import INTERCEPT
from nestor.model.spec import ModelSpec
from nestor.model.terms import evaluate, numeric_column, parse_term

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from nestor.data.index import NestedIndex
    from nestor.model.terms.evaluation import Table
    from nestor.stats.arrays import FloatArray


@dataclass(frozen=True, eq=False)
class Rows:
    """N rows in the order of their leaves; p effects, c covariates.

    Parameters
    ----------
    order : ndarray of intp, (N,)
        Position of each row in the table.
    leaf : ndarray of intp, (N,)
        Leaf of each row, non-decreasing.
    y : ndarray, (N,)
        Outcome.
    X : ndarray, (N, p)
        Effects.
    Z : ndarray, (N, c)
        Covariates that do not vary by group.
    offset, weights : ndarray, (N,), or None
        As the description names them.
    """

    order: NDArray[np.intp]
    leaf: NDArray[np.intp]
    y: FloatArray
    X: FloatArray
    Z: FloatArray
    offset: FloatArray | None
    weights: FloatArray | None

    __repr__ = short_repr

    @classmethod
    def of_table(cls, spec: ModelSpec, table: pd.DataFrame, index: NestedIndex) -> Self:
        """Read the columns that a description names.

        Raises
        ------
        DataError
            If a column is missing or not numeric, has missing or infinite values, is a constant
            predictor, or has weights that are not positive.
        """
        order = index.order
        offset = None if spec.offset is None else numeric_column(table, spec.offset)[order]
        weights = None if spec.weights is None else weight_column(table, spec.weights)[order]
        return cls(
            order=order,
            leaf=index.leaf,
            y=_column(spec.outcome, table, order),
            X=_columns(spec.effects, table, order),
            Z=_columns(spec.covariates, table, order),
            offset=offset,
            weights=weights,
        )

    def with_outcome(self, y: FloatArray) -> Self:
        """Return the rows with another outcome, finite and of the same shape."""
        array = np.array(y, dtype=np.float64)
        if array.shape != self.y.shape or not np.isfinite(array).all():
            raise DataError(
                f"the outcome must be {len(self.y)} finite numbers; found shape {array.shape}, "
                f"{int(np.count_nonzero(~np.isfinite(array)))} not finite."
            )
        return replace(self, y=array)

    def repeated(self, times: int) -> Self:
        """Return each row `times` times in a row."""
        arrays = {name: getattr(self, name) for name in type(self).__dataclass_fields__}
        more: dict[str, Any] = {
            n: None if a is None else np.repeat(a, times, axis=0) for n, a in arrays.items()
        }
        return replace(self, **more)


def check_spec(spec: object) -> None:
    """Refuse anything that is not a `ModelSpec`."""
    if not isinstance(spec, ModelSpec):
        raise SpecError(
            f"a problem takes a ModelSpec, not {type(spec).__name__}: "
            "make one by nestor.ModelSpec.from_formula(...)."
        )


def refuse_two_intercepts(spec: ModelSpec, columns: Iterable[object]) -> None:
    """Refuse a formula that may mean either the constant or a column of the table by Intercept."""
    if spec.names_constant and INTERCEPT in columns:
        raise DataError(
            f"the formula says {INTERCEPT}, which is the constant, and the table has a column of that name, "
            f"too: write 1 for the constant, or `{INTERCEPT}`, in backquotes, for the column."
        )


def check_table(table: object) -> None:
    """Refuse anything that is not a table with rows."""
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        raise DataError(
            f"the table must be a pandas DataFrame, not {type(table).__name__}: "
            "pandas.DataFrame(...) makes one of most things, and .to_pandas() of other tables."
        )
    if len(table) == 0:
        raise DataError("the table has no rows.")


def weight_column(table: Table, name: str) -> FloatArray:
    """Read weights, shape (N,), which must be positive."""
    weights = numeric_column(table, name)
    if bad := int(np.count_nonzero(weights <= 0)):
        raise DataError(
            f"weights column {name!r} has {bad} value(s) <= 0; weights must be positive."
        )
    return weights


def constant_predictor(text: str, value: float) -> DataError:
    """Make the error for a predictor with only one value."""
    return DataError(
        f"predictor {text!r} is constant ({value:g} in every row), "
        "so its coefficient cannot be told from the intercept. Remove it."
    )


def _column(text: str, table: pd.DataFrame, order: NDArray[np.intp]) -> FloatArray:
    return np.ascontiguousarray(evaluate(parse_term(text), table)[order])


def _columns(terms: Sequence[str], table: pd.DataFrame, order: NDArray[np.intp]) -> FloatArray:
    """Evaluate terms into the columns of one (N, len(terms)) matrix."""
    matrix = np.empty((len(order), len(terms)))
    for j, text in enumerate(terms):
        column = np.ones(len(order)) if text == INTERCEPT else _column(text, table, order)
        if text != INTERCEPT and np.all(column == column[0]):
            raise constant_predictor(text, column[0])
        matrix[:, j] = column
    return matrix
