"""Leaf statistics: the sufficient statistics of a gaussian likelihood, leaf by leaf.

With X, y and Z the effects, the outcome minus its offset and the covariates of one leaf, W its weights, let
m_y and M_z be weighted least-squares coefficients of y and of Z on X in that leaf, and U a square root,
U'U = X'WX. What remains of y and Z is orthogonal to X, so that for any coefficients

    sum_i w_i (y_i - x_i' beta - z_i' gamma)^2
        = (1, -gamma)' S (1, -gamma) + sum over leaves |U (m_y - M_z gamma - beta)|^2,

where S are the cross-products of the remainders, summed over leaves. This is the textbook decomposition of
a residual sum of squares; unlike the equivalent A = X'WX, b = X'Wy, c = y'Wy it has no differences of large
numbers, and stays exact where sigma is small beside the outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nestor.data.statistics.least_squares import negligible, semidefinite_root, solve_root
from nestor.data.statistics.moments import cut_leaves, sorted_moments
from nestor.errors import DataError, Unsupported
from nestor.errors.text import short_repr
from nestor.model.names import INTERCEPT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.data.statistics.moments import Moments
    from nestor.model.spec import ModelSpec
    from nestor.stats.arrays import FloatArray


@dataclass(frozen=True)
class LeafStatistics:
    """Sufficient statistics of N rows in n leaves for a gaussian likelihood; p effects, c covariates.

    Parameters
    ----------
    root : ndarray, (n, p, p)
        U of the module's formulas: ``root[v].T @ root[v]`` is X'WX. A row of zeros for each direction in
        which a leaf has no information (fewer rows than effects, a constant predictor). It is triangular if
        the intercept comes first or there is none.
    fit : ndarray, (n, p, 1 + c)
        Least-squares coefficients of the outcome minus its offset, m_y, then of each covariate, M_z. In a
        direction in which a leaf has no information, the coefficients of all rows together.
    residual : ndarray, (1 + c, 1 + c)
        S: cross-products of what remains, the outcome first.
    rows_per_leaf : ndarray of int64, (n,)
        Numbers of rows.
    log_weights : ndarray, (n,)
        Sum of the logarithms of each leaf's weights; zeros where there are none.
    residual_by_leaf : ndarray, (n, 1 + c, 1 + c), or None
        Each leaf's share of S, where rows are not in memory.
    """

    root: FloatArray
    fit: FloatArray
    residual: FloatArray
    rows_per_leaf: NDArray[np.int64]
    log_weights: FloatArray
    residual_by_leaf: FloatArray | None = None

    __repr__ = short_repr

    @property
    def sum_log_weights(self) -> float:
        """Sum of the logarithms of all weights, zero where there are none."""
        return float(self.log_weights.sum())

    @property
    def n_rows(self) -> int:
        """N."""
        return int(self.rows_per_leaf.sum())

    @property
    def n_leaves(self) -> int:
        """Number of leaves, n."""
        return len(self.root)

    @property
    def n_effects(self) -> int:
        """Number of effects, p."""
        return int(self.root.shape[1])

    @property
    def n_covariates(self) -> int:
        """Number of covariates, c."""
        return int(self.fit.shape[2]) - 1

    @cached_property
    def gram(self) -> FloatArray:
        """A = X'WX of each leaf, (n, p, p)."""
        return np.swapaxes(self.root, 1, 2) @ self.root

    @cached_property
    def pooled(self) -> FloatArray:
        """Least-squares coefficients of all rows together, (p, 1 + c)."""
        return pooled_fit(self.gram, self.gram @ self.fit)


def pooled_fit(gram: FloatArray, linear: FloatArray) -> FloatArray:
    """Least-squares coefficients from the sums over leaves of (n, p, p) and (n, p, m): (p, m)."""
    A, b = gram.sum(axis=0), linear.sum(axis=0)
    scale = np.sqrt(np.where(np.diag(A) > 0, np.diag(A), 1.0))
    found, *_ = np.linalg.lstsq(A / np.outer(scale, scale), b / scale[:, None], rcond=None)
    return np.asarray(found / scale[:, None])


def leaf_statistics(problem: Problem) -> LeafStatistics:
    """Compute the leaf statistics of a problem's rows, reading them from memory once.

    Rows are read in blocks that stay in the cache, where all else is done. With one slope that is some
    25 vector operations at 0.2 to 0.3 ns a number, so that 6 ns a row are to be expected, where adding up
    the same two columns takes 0.5 (what memory allows). Measured on a core of an AMD EPYC are 6 to 7 ns
    with 10,000 rows in a leaf (2.4 GB/s), 7 with 100, and 23 with 10, where each of a leaf's seven sums
    begins anew, which costs 8 ns, and as many least squares are solved: `benchmarks/test_statistics.py`.

    Raises
    ------
    Unsupported
        If the outcome is not gaussian.
    DataError
        If double precision cannot hold the sums: see `refuse_magnitude`.
    """
    if problem.spec.family != "gaussian":
        raise Unsupported(
            f"leaf statistics hold all that there is to know of gaussian outcomes only, and the outcome "
            f"{problem.spec.outcome!r} is {problem.spec.family}. Use rows."
        )
    rows, effects = problem.rows, problem.effects
    y = rows.y if rows.offset is None else rows.y - rows.offset
    slopes = _slopes(effects)
    columns = [*(rows.X[:, j] for j in slopes), y, *rows.Z.T]
    pieces, owner = cut_leaves(problem.index.starts)
    found = sorted_moments(
        columns,
        rows.weights,
        pieces,
        centred=len(slopes) < len(effects),
        outcomes=len(columns) - len(slopes),
    )
    moments = found.moments.grouped(owner)
    terms = (*(effects[j] for j in slopes), None, *problem.spec.covariates)
    refuse_magnitude(problem.spec, terms, moments, lambda j: not columns[j].any())
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        root, fit = solve(moments, effects)
        residual = found.residual
        if len(pieces) > len(problem.index.starts):
            residual = residual + _between_pieces(
                *solve(found.moments, effects), fit[_leaf_of(owner)]
            )
    refuse_infinite(root, fit, residual)
    return LeafStatistics(root, fit, residual, moments.rows, moments.log_weights)


def _between_pieces(root: FloatArray, fit: FloatArray, of_leaf: FloatArray) -> FloatArray:
    """Between-piece sum of squares, (m, m), added to the pooled within-piece residual.

    It is the module's formula for the rows of a piece, and needs no difference of large sums.
    """
    apart = root @ (fit - of_leaf)
    return np.asarray(np.einsum("npi,npj->ij", apart, apart))


def _leaf_of(owner: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.repeat(np.arange(len(owner) - 1), np.diff(owner))


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def from_moments(moments: Moments, effects: tuple[str, ...]) -> LeafStatistics:
    """Leaf statistics from moments of the columns (slopes, outcome minus offset, covariates).

    Residuals are a difference here. Their relative rounding error is 2^-53 times the outcome's variance
    within leaves over the residual variance: negligible unless residuals are a millionth of the outcome.
    """
    root, fit = solve(moments, effects)
    q = len(_slopes(effects))
    beta = fit[:, _slopes(effects), :]
    left = np.moveaxis(moments.cross[q:, q:], -1, 0)
    # S_vv - B' S_xv, where B solves S_xx B = S_xv up to directions without information.
    Sxx = np.moveaxis(moments.cross[:q, :q], -1, 0)
    Sxv = np.moveaxis(moments.cross[:q, q:], -1, 0)
    explained = np.swapaxes(beta, 1, 2) @ (2 * Sxv - Sxx @ beta)
    by_leaf = left - 0.5 * (explained + np.swapaxes(explained, 1, 2))
    residual = by_leaf.sum(axis=0)
    for found in (residual, by_leaf):
        diagonal = np.einsum("...ii->...i", found)
        np.maximum(diagonal, 0.0, out=diagonal)
    refuse_infinite(root, fit, residual)
    return LeafStatistics(root, fit, residual, moments.rows, moments.log_weights, by_leaf)


def _slopes(effects: tuple[str, ...]) -> list[int]:
    return [j for j, effect in enumerate(effects) if effect != INTERCEPT]


def solve(moments: Moments, effects: tuple[str, ...]) -> tuple[FloatArray, FloatArray]:
    """Square roots and least-squares coefficients of all leaves, (n, p, p) and (n, p, 1 + c)."""
    slopes, p = _slopes(effects), len(effects)
    q, n = len(slopes), moments.cross.shape[-1]
    U = semidefinite_root(moments.cross[:q, :q], negligible(moments.weight, moments.mean[:q]))
    root = np.zeros((n, p, p))
    for row, j in enumerate(slopes):
        for column, k in enumerate(slopes):
            root[:, j, k] = U[row, column]
    if q < p:
        one = effects.index(INTERCEPT)
        root[:, one, one] = np.sqrt(moments.weight)
        for row, j in enumerate(slopes):
            root[:, one, j] = root[:, one, one] * moments.mean[row]
    pooled = _pooled_slopes(moments, q)
    fit = np.empty((n, p, moments.cross.shape[0] - q))
    right = moments.cross[:q, q:] - np.einsum("qkn,km->qmn", moments.cross[:q, :q], pooled)
    beta = pooled[..., None] + solve_root(U, right)
    for row, j in enumerate(slopes):
        fit[:, j] = beta[row].T
    if q < p:
        fit[:, one] = (moments.mean[q:] - np.einsum("qn,qmn->mn", moments.mean[:q], beta)).T
    return root, fit


def _pooled_slopes(moments: Moments, q: int) -> FloatArray:
    """Slopes from the cross-products within leaves, all leaves together, (q, m)."""
    within = np.moveaxis(moments.cross, -1, 0)
    if q == 0:
        return np.zeros((0, moments.cross.shape[0]))
    return pooled_fit(within[:, :q, :q], within[:, :q, q:])


#: Smallest mean of squares: squares of deviations 256 times smaller are still normal numbers.
_SMALLEST = float(np.finfo(np.float64).tiny) * 2**16


def refuse_magnitude(
    spec: ModelSpec,
    terms: Sequence[str | None],
    moments: Moments,
    all_zero: Callable[[int], bool],
) -> None:
    """Refuse columns whose moments overflow, or underflow to zero.

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
    """Refuse leaf statistics that are not finite although the sums behind them are."""
    if not all(np.isfinite(array).all() for array in arrays):
        raise DataError(
            "a leaf's least-squares coefficients are too large for double precision: there the "
            "outcome is too large for predictors that are too small. Rescale the columns."
        )
