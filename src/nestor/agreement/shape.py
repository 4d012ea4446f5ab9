"""Step 4: do the whole marginal distributions agree, not only their means, sds and quantiles?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.difference import check_pair
from nestor.agreement.holm import holm
from nestor.errors import DataError
from nestor.errors.text import short_repr
from nestor.stats.diagnostics.estimators import as_draws
from nestor.stats.ecdf import two_sample_test
from nestor.stats.plain import as_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from nestor.stats.arrays import FloatArray, IntArray
    from nestor.stats.diagnostics.summaries import Summaries


MIN_COUNT = 20
#: 1,000 draws a side find ECDFs 0.13 apart in a family of 5,000; the time grows with the count^1.5.
MAX_COUNT = 1000
#: Autocorrelation that may be left between neighbouring thinned draws.
RESIDUAL = 0.02

# Few different counts, so that scalars share the tables of the null distribution.
_COUNTS = np.floor(np.geomspace(MIN_COUNT, MAX_COUNT, 12) + 0.5).astype(np.intp)
_BLOCK = 2_000  # scalars thinned together


@dataclass(frozen=True)
class ShapeDifference:
    """A scalar whose distributions differ by more than chance explains.

    Parameters
    ----------
    label
        The scalar.
    p_adjusted
        Holm's adjusted p-value.
    difference
        ECDF of a less that of b where they are furthest apart.
    quantile
        Where that is: share of the pooled draws below.
    n
        Near-independent draws per side.
    """

    label: str
    p_adjusted: float
    difference: float
    quantile: float
    n: int

    def __str__(self) -> str:
        return (
            f"the distributions of {self.label} differ: their ECDFs are {abs(self.difference):.3f} "
            f"apart at the {self.quantile:.0%} point of the pooled draws"
        )


@dataclass(frozen=True, eq=False)
class ShapeResult:
    """The family of tests of shape of a pair.

    Parameters
    ----------
    level
        Family-wise level.
    n_tests
        Number of tests in the family.
    rejected
        Scalars whose distributions differ, smallest adjusted p-value first.
    p_min
        Smallest adjusted p-value; None if no test could be done.
    untested
        Scalars with no test, and why.
    n_smallest, n_median
        Near-independent draws per side, over the scalars tested; None likewise.
    p_values
        Uncorrected, per scalar; nan without a test. Shape (scalar,).
    p_adjusted, difference, quantile
        Per scalar, as in `ShapeDifference`; nan without a test. Shape (scalar,).
    n
        Near-independent draws per side, 0 without a test, shape (scalar,).
    """

    level: float
    n_tests: int
    rejected: tuple[ShapeDifference, ...]
    p_min: float | None
    untested: tuple[str, ...]
    n_smallest: int | None
    n_median: float | None
    p_values: FloatArray = field(repr=False, metadata={"plain": False})
    p_adjusted: FloatArray = field(repr=False, metadata={"plain": False})
    difference: FloatArray = field(repr=False, metadata={"plain": False})
    quantile: FloatArray = field(repr=False, metadata={"plain": False})
    n: IntArray = field(repr=False, metadata={"plain": False})

    __repr__ = short_repr

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, without the arrays per scalar."""
        plain: dict[str, Any] = as_plain(self)
        return plain


def shape_test(
    draws_a: ArrayLike,
    draws_b: ArrayLike,
    summaries_a: Summaries,
    summaries_b: Summaries,
    labels: Sequence[str],
    level: float = 0.01,
) -> ShapeResult:
    """Test every scalar's two distributions for equality by their rank ECDFs.

    Both runs are thinned to the same number of near-independent draws (`near_independent`), and the
    difference of the ECDFs along the pooled order is tested with simultaneous bands
    (`nestor.stats.ecdf.two_sample_test`), corrected by Holm over the scalars.

    Parameters
    ----------
    draws_a, draws_b
        Shape (chain, draw, scalar); chains and draws may differ in number between the runs.
    summaries_a, summaries_b
        Of these draws.
    labels
        Name of each scalar, shape (scalar,).
    level
        Family-wise level.

    Returns
    -------
    ShapeResult

    Raises
    ------
    DataError
        If draws, summaries and labels do not belong together.
    """
    one, other = as_draws(draws_a), as_draws(draws_b)
    check_pair(summaries_a, summaries_b, labels)
    _check_draws(one, summaries_a)
    _check_draws(other, summaries_b)
    n = common_counts(summaries_a, summaries_b)
    p_values, difference, quantile = np.full((3, len(labels)), np.nan)
    for count, columns in _groups(n):
        found = two_sample_test(thin(one, count, columns), thin(other, count, columns))
        p_values[columns] = found.p_values
        difference[columns], quantile[columns] = found.difference, found.at
    p_adjusted = holm(p_values)
    tested = n > 0
    return ShapeResult(
        level=level,
        n_tests=int(tested.sum()),
        rejected=_rejected(p_adjusted, difference, quantile, n, labels, level),
        p_min=float(np.nanmin(p_adjusted)) if tested.any() else None,
        untested=tuple(_untested(summaries_a, summaries_b, n, labels)),
        n_smallest=int(n[tested].min()) if tested.any() else None,
        n_median=float(np.median(n[tested])) if tested.any() else None,
        p_values=p_values,
        p_adjusted=p_adjusted,
        difference=difference,
        quantile=quantile,
        n=n,
    )


def near_independent(summaries: Summaries) -> FloatArray:
    """How many evenly spaced draws of each scalar are nearly independent, shape (scalar,).

    With e the smaller of bulk and tail ESS, at most the number of draws N, a chain whose
    autocorrelation decays geometrically has that of lag one ``rho = (N/e - 1) / (N/e + 1)``. Every
    s-th draw is kept, with ``rho^s`` = `RESIDUAL`. Keeping e draws instead would leave 0.13, and
    reject up to 1.3 times as often as a level of 0.01 says; with 0.02, pairs of AR(1) chains with
    coefficients from -0.4 to 0.9 are rejected in 0.9 to 1.1% of 9,000 tests each.
    """
    n_draws = summaries.n_chain * summaries.n_draw
    with np.errstate(all="ignore"):
        ess = np.minimum(np.minimum(summaries.ess_bulk, summaries.ess_tail), n_draws)
        rho = (n_draws - ess) / (n_draws + ess)
        step = np.where(rho > 0, np.log(RESIDUAL) / np.log(rho), 1.0)
        kept: FloatArray = n_draws / np.maximum(step, 1.0)
    return kept


def common_counts(a: Summaries, b: Summaries) -> IntArray:
    """Draws per side to compare of each scalar, rounded down to few values; 0 for no test."""
    free = np.minimum(near_independent(a), near_independent(b))
    free[~np.isfinite(free) | ~(a.finite & b.finite) | a.constant | b.constant] = 0.0
    at = np.searchsorted(_COUNTS, free, side="right")
    counts: IntArray = np.concatenate([[0], _COUNTS])[at]
    return counts


def thin(draws: ArrayLike, n: int, columns: ArrayLike) -> FloatArray:
    """Take n draws of some scalars, evenly spread over all chains laid end to end.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).
    n
        How many, at most those that there are.
    columns
        Positions of the scalars, shape (column,).

    Returns
    -------
    array
        Shape (n, column).
    """
    array = as_draws(draws)
    n_chain, n_draw, _ = array.shape
    place = ((np.arange(n) + 0.5) * (n_chain * n_draw) / n).astype(np.intp)
    chain, draw = np.divmod(place[:, None], n_draw)
    return np.asarray(array[chain, draw, np.asarray(columns)[None, :]], dtype=np.float64)


def _groups(n: IntArray) -> Iterator[tuple[int, IntArray]]:
    for count in np.unique(n[n > 0]):
        columns = np.flatnonzero(n == count)
        for start in range(0, columns.size, _BLOCK):
            yield int(count), columns[start : start + _BLOCK]


def _rejected(
    p_adjusted: FloatArray,
    difference: FloatArray,
    quantile: FloatArray,
    n: IntArray,
    labels: Sequence[str],
    level: float,
) -> tuple[ShapeDifference, ...]:
    found = [
        ShapeDifference(
            label=labels[i],
            p_adjusted=float(p_adjusted[i]),
            difference=float(difference[i]),
            quantile=float(quantile[i]),
            n=int(n[i]),
        )
        for i in np.flatnonzero(p_adjusted <= level).tolist()
    ]
    return tuple(sorted(found, key=lambda one: (one.p_adjusted, -abs(one.difference))))


def _untested(a: Summaries, b: Summaries, n: IntArray, labels: Sequence[str]) -> Iterator[str]:
    free = np.minimum(near_independent(a), near_independent(b))
    for i in np.flatnonzero(n == 0).tolist():
        if not (a.finite[i] and b.finite[i]):
            why = "its draws are not finite"
        elif a.constant[i] or b.constant[i]:
            why = "its draws are all the same"
        elif not np.isfinite(free[i]):
            why = "its effective sample size is not defined"
        else:
            why = f"only {int(free[i])} near-independent draws, fewer than {MIN_COUNT}"
        yield f"{labels[i]}: {why}"


def _check_draws(draws: NDArray[Any], summaries: Summaries) -> None:
    expected = (summaries.n_chain, summaries.n_draw, summaries.n_scalar)
    if draws.shape != expected:
        raise DataError(f"draws of shape {draws.shape} with summaries of draws of shape {expected}")
