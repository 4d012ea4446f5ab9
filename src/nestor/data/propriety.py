"""Whether the posterior is proper: does the outcome leave any residual for sigma?

Let sigma and some of the group-level standard deviations, the set S, go to zero together, at the pace r.
The coefficients that stay free have a design of rank k; if they fit all N rows exactly, the posterior
density is of the order r^-(N - k), in a volume of the order r^m dr, where m is the number of scales in S;
under priors of the order r^a at zero the integral over r diverges if

    N - k >= sum over sigma and all scales in S of (a + 1).

The posterior then is not proper: every sampler follows it to sigma = 0, or to wherever rounding stops it.
Examples: with S empty, an outcome that is constant within every group, or an exact line in each. With a scale
of the last level in S, an exact line through leaves of one row each, for which S empty shows nothing (N = k).
For a Student-t outcome the same holds, because its density is a mixture of normal ones.

For the case without group-level scales see Fernandez and Steel (1999), "Multivariate Student-t regression
models: pitfalls and inference", Biometrika 86(1), section 3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nestor.errors import DataError
from nestor.model.names import INTERCEPT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.model.priors import Prior
    from nestor.stats.arrays import FloatArray


_EPS = float(np.finfo(np.float64).eps)
#: Residuals below so many roundings of a row's terms count as zero: one for each product and sum, and the
#: error of least squares, which grows with the number of columns.
_ROUNDINGS = 50
#: Singular values below this part of the largest are zero.
_SINGULAR = 1e-11
#: Rows that are looked at first, in each of a few places: where they are not fitted exactly, all are not.
_FIRST = 300

#: Sets of scales that are tried at most, of data so few that one set after another fits them exactly.
_MOST_SETS = 500

#: A level's group-level standard deviations of one effect: positions of the level and of the effect.
type Scale = tuple[int, int]


class _Fit(NamedTuple):
    """A least-squares fit: residual sum of squares, rank of the design, and the size of a row's terms."""

    left: float
    rank: int
    size: float


def check_sigma(problem: Problem) -> None:
    """Refuse data that leave no residual for sigma, so that the posterior is improper.

    Raises
    ------
    DataError
        With why.
    """
    if why := problem.why_improper:
        raise DataError(why)


def why_improper(problem: Problem) -> str:
    """Return why the posterior of sigma is improper; empty if it is proper.

    If a few rows do not fit exactly, no others are read. Otherwise all rows are read, for each set of scales
    without which they might still fit exactly.
    """
    with np.errstate(
        over="ignore", under="ignore", invalid="ignore"
    ):  # a reason that cannot be computed is none
        found = _improper_set(problem)
    return "" if found is None else _explanation(problem, found)


def fits_exactly(problem: Problem) -> bool:
    """Whether the coefficients, all of them free, fit all rows exactly and number as many as the rows."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return _rank_of_exact_fit(problem, frozenset()) == problem.n_rows


def _improper_set(problem: Problem) -> frozenset[Scale] | None:
    """A set S of scales that makes the posterior improper; None if there is none."""
    sigma = _prior_order(problem.priors.family["sigma"])
    if math.isinf(sigma):
        return None
    scales = [(k, int(j)) for k, level in enumerate(problem.levels) for j in level.varying]
    spare = {scale: _prior_order_of(problem, scale) for scale in scales}
    seen: set[frozenset[Scale]] = set()
    waiting: list[frozenset[Scale]] = [frozenset()]
    while waiting and len(seen) < _MOST_SETS:
        # Fewer free coefficients leave no less: only what fits exactly can do so with one scale less.
        gone = waiting.pop(0)
        if gone in seen:
            continue
        seen.add(gone)
        rank = _rank_of_exact_fit(problem, gone)
        if rank is None:
            continue
        if problem.n_rows - rank >= sigma + sum(spare[scale] for scale in gone):
            return gone
        waiting += [gone | {s} for s in scales if s not in gone and math.isfinite(spare[s])]
    return None


def _prior_order(prior: Prior) -> float:
    """The a + 1 of the module's formula, for a prior of order r^a at zero; infinite if it vanishes faster."""
    if prior.is_fixed or prior.family in ("InverseGamma", "LogNormal"):
        return math.inf
    if prior.family == "Gamma":
        return prior.args[0]
    return math.inf if prior.family == "Uniform" and prior.args[0] > 0 else 1.0


def _prior_order_of(problem: Problem, scale: Scale) -> float:
    level = problem.levels[scale[0]]
    one = _prior_order(problem.priors.tau[level.name][problem.effects[scale[1]]])
    return one * (level.n_parents if level.per_parent else 1)


def _rank_of_exact_fit(problem: Problem, gone: frozenset[Scale]) -> int | None:
    """Rank of the design with some scales at zero if it fits all rows exactly, else None."""
    if problem.index.n_leaves == problem.n_rows:
        last = len(problem.levels) - 1
        own = [e for j, e in enumerate(problem.effects) if _lowest_free(problem, gone)[j] == last]
        if INTERCEPT in own:
            return problem.n_rows  # each row has a coefficient of its own
    if problem.has_rows:
        size = 0.0
        for here in _probe_slices(problem):
            few = _fit_dense(problem, gone, here)
            if not _is_exact(few, here.stop - here.start):
                return None
            size = max(size, few.size)
        found = _fit_tree(problem, gone, size)
        return found.rank if _is_exact(found, problem.n_rows) else None
    found = _fit_statistics(problem, gone)
    # In batches remainders are differences of sums, which rounding makes inexact.
    lost = _ROUNDINGS * _EPS * _explained(problem)
    exact = _is_exact(found, problem.n_rows) or found.left <= lost
    return found.rank if exact else None


def _is_exact(fit: _Fit, n_rows: int) -> bool:
    return math.sqrt(fit.left) <= _ROUNDINGS * _EPS * fit.size * math.sqrt(n_rows)


def _lowest_free(problem: Problem, gone: frozenset[Scale]) -> list[int | None]:
    """Where each effect has coefficients of its own: a level, -1 for the population, None for nowhere."""
    found: list[int | None] = []
    for j, in_population in enumerate(problem.population_mask):
        free = [k for k, v in enumerate(problem.levels) if j in v.varying and (k, j) not in gone]
        found.append(max(free) if free else -1 if in_population else None)
    return found


# --- a few rows -------------------------------------------------------------------------------


def _probe_slices(problem: Problem) -> Iterator[slice]:
    """Runs of rows to look at first: in the largest leaf, and in a few places all over the data."""
    N = problem.n_rows
    last = max(0, N - _FIRST)
    largest = int(problem.index.starts[int(np.argmax(problem.index.rows_per_leaf))])
    for first in dict.fromkeys((min(largest, last), 0, last // 3, 2 * last // 3, last)):
        yield slice(first, min(first + _FIRST, N))


def _fit_dense(problem: Problem, gone: frozenset[Scale], here: slice) -> _Fit:
    """Fit some rows by dense least squares."""
    rows = problem.rows
    y, size = _outcome(problem, here)
    root = np.ones(len(y)) if rows.weights is None else np.sqrt(rows.weights[here])
    columns = [rows.Z[here]]
    names = problem.index.names
    for j, k in enumerate(_lowest_free(problem, gone)):
        if k is None:
            continue
        node = np.zeros(problem.index.n_leaves, np.intp)
        if k >= 0:
            node = problem.index.ancestor(names[k], of=names[-1])
        _, node_of_row = np.unique(node[rows.leaf[here]], return_inverse=True)
        own = np.zeros((len(y), node_of_row.max() + 1))
        own[np.arange(len(y)), node_of_row] = rows.X[here, j]
        columns.append(own)
    design = _scaled(np.column_stack(columns) * root[:, None])
    outcome = root * y
    beta, _, rank, _ = np.linalg.lstsq(design, outcome, rcond=_SINGULAR)
    left = outcome - design @ beta
    terms = root * size + np.abs(design) @ np.abs(beta)
    return _Fit(float(left @ left), int(rank), float(np.sqrt(np.mean(terms**2))))


def _outcome(problem: Problem, here: slice) -> tuple[FloatArray, FloatArray]:
    """The outcome minus the offset, and the sizes of both, in units in which no square overflows."""
    rows = problem.rows
    unit = float(np.abs(rows.y).max())
    if rows.offset is not None:
        unit = max(unit, float(np.abs(rows.offset).max()))
    y = rows.y[here] / (unit or 1.0)
    if rows.offset is None:
        return y, np.abs(y)
    offset = rows.offset[here] / (unit or 1.0)
    return y - offset, np.abs(y) + np.abs(offset)


def _scaled(columns: FloatArray) -> FloatArray:
    """Columns, (..., k), scaled so that each one's largest number is 1."""
    largest = np.abs(columns).max(axis=tuple(range(columns.ndim - 1)))
    return np.asarray(columns / np.where(largest > 0, largest, 1.0))


# --- all rows, from the leaves up -------------------------------------------------------------


def _fit_tree(problem: Problem, gone: frozenset[Scale], size: float) -> _Fit:
    rows = problem.rows
    y, _ = _outcome(problem, slice(None))
    table = np.column_stack([_scaled(np.hstack([rows.X, rows.Z])), y])
    if rows.weights is not None:
        table *= np.sqrt(rows.weights)[:, None]
    left, rank = _up_the_tree(problem, gone, table[:, None, :], rows.leaf)
    return _Fit(left, rank, size)


def _fit_statistics(problem: Problem, gone: frozenset[Scale]) -> _Fit:
    """Fit leaf statistics: the leaves' roots serve as rows, their residuals as further rows."""
    found = problem.statistics
    U, m = found.root, found.fit
    table = np.concatenate([U, U @ m[:, :, 1:], U @ m[:, :, :1]], axis=2)
    order = [*range(1, found.n_covariates + 1), 0]
    S = found.residual[np.ix_(order, order)]
    values, vectors = np.linalg.eigh(S)
    rest = np.zeros((len(S), table.shape[2]))
    rest[:, found.n_effects :] = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    left, rank = _up_the_tree(problem, gone, table, np.arange(found.n_leaves), rest)
    outcome = U @ m[:, :, :1]
    terms = [math.sqrt(float(np.sum(outcome**2)) + float(S[-1, -1]))]
    gram = np.einsum("nij,nij->nj", U, U)
    terms += list(np.sqrt((gram * m[:, :, 0] ** 2).sum(axis=0)))
    return _Fit(left, rank, sum(terms) / math.sqrt(problem.n_rows))


def _explained(problem: Problem) -> float:
    """Sum of squares that slopes and covariates explain within leaves."""
    found = problem.statistics
    slopes = [j for j, effect in enumerate(problem.effects) if effect != INTERCEPT]
    apart = found.root[:, slopes][:, :, slopes] @ found.fit[:, slopes, :1]
    by_covariates = float(found.residual[0, 0]) if found.n_covariates else 0.0
    return float(np.sum(apart**2)) + by_covariates


def _up_the_tree(
    problem: Problem,
    gone: frozenset[Scale],
    table: FloatArray,
    leaf: NDArray[np.intp],
    rest: FloatArray | None = None,
) -> tuple[float, int]:
    """Residual sum of squares of the last column, and the rank of all others, by orthogonal elimination.

    Parameters
    ----------
    table : ndarray, (n, m, p + c + 1)
        Blocks of rows: effects, covariates, outcome.
    leaf : ndarray of intp, (n,)
        Their leaves, non-decreasing.
    rest : ndarray, (m, p + c + 1), optional
        Rows that belong to no leaf.
    """
    p = len(problem.effects)
    scale = np.abs(table).max(axis=(0, 1))
    if rest is not None:
        scale = np.maximum(scale, np.abs(rest).max(axis=0))
    scale[-1] = 1.0
    scale[scale == 0] = 1.0
    lowest = _lowest_free(problem, gone)
    kept = [j for j, k in enumerate(lowest) if k is not None]
    columns = [*kept, *range(p, table.shape[2])]
    block, owner, rank = (table / scale)[:, :, columns], leaf, 0
    place = [lowest[j] for j in kept]
    for k in reversed(range(len(problem.levels))):
        block = _combine(block, owner, problem.levels[k].n)
        here = [i for i, level in enumerate(place) if level == k]
        block, found = _project_out(block, here)
        rank += found
        place = [level for level in place if level != k]
        owner = problem.levels[k].parent
    block = _combine(block, owner, 1)
    if rest is not None:
        tail = (rest / scale)[:, columns][None, :, len(columns) - block.shape[2] :]
        block = np.concatenate([block, tail], axis=1)
    block, found = _project_out(block, list(range(block.shape[2] - 1)))
    return float(np.sum(block**2)), rank + found


def _combine(block: FloatArray, owner: NDArray[np.intp], n: int) -> FloatArray:
    """Combine blocks into one for each owner, with the same cross-products: (n, <= k, k)."""
    k = block.shape[2]
    while len(block) > n:
        first = np.searchsorted(owner, np.arange(n))
        at = np.arange(len(owner)) - first[owner]
        even = np.flatnonzero(at % 2 == 0)
        paired = np.zeros((len(even), block.shape[1], k))
        has = np.flatnonzero(even + 1 < len(owner))
        has = has[owner[even[has] + 1] == owner[even[has]]]
        paired[has] = block[even[has] + 1]
        both = np.concatenate([block[even], paired], axis=1)
        block = np.linalg.qr(both, mode="r") if both.shape[1] > k else both
        owner = owner[even]
    return block


def _project_out(block: FloatArray, columns: list[int]) -> tuple[FloatArray, int]:
    """Project some columns out of the blocks; return these, and the sum of the columns' ranks."""
    others = [j for j in range(block.shape[2]) if j not in columns]
    if not columns:
        return block, 0
    left, values, _ = np.linalg.svd(block[:, :, columns], full_matrices=True)
    ranks = np.count_nonzero(values > _SINGULAR * values[:, :1], axis=1)
    turned = np.swapaxes(left, 1, 2) @ block[:, :, others]
    turned[np.arange(block.shape[1])[None, :] < ranks[:, None]] = 0.0
    return turned, int(ranks.sum())


# --- words ------------------------------------------------------------------------------------


def _explanation(problem: Problem, gone: frozenset[Scale]) -> str:
    outcome = problem.spec.outcome
    what = f"of the outcome {outcome!r} nothing is left for sigma, so that it cannot be estimated"
    last = problem.levels[-1]
    if problem.has_rows and not gone and _constant_in_leaves(problem):
        why = f"it has one value in all rows of each {last.name}"
        do = f"take one row of each {last.name}" if len(problem.levels) > 1 else "it needs no model"
        do += f" and leave {last.name} out" if len(problem.levels) > 1 else ""
    else:
        vary = _effects_without_variation(problem, gone)
        seen = (
            ""
            if problem.has_rows
            else ", as far as sums of rows that were read in batches can tell"
        )
        why = f"the model fits every row exactly{seen}" + (f", even if {vary}" if vary else "")
        do = "look whether it was computed from the predictors"
    return (
        f"{what}: {why}. If that is right, {do}; or give sigma a value, or a prior that keeps away from "
        "zero, such as InverseGamma(3, 1)."
    )


def _constant_in_leaves(problem: Problem) -> bool:
    y = problem.y if problem.offset is None else problem.y - problem.offset
    starts = problem.index.starts[:-1]
    spread = np.maximum.reduceat(y, starts) - np.minimum.reduceat(y, starts)
    return bool((spread <= _ROUNDINGS * _EPS * np.abs(y).max()).all())


def _effects_without_variation(problem: Problem, gone: frozenset[Scale]) -> str:
    """List the effects that do not need to vary for an exact fit."""
    parts = []
    for k, level in enumerate(problem.levels):
        effects = [problem.effects[j] for j in level.varying if (k, int(j)) in gone]
        if effects:
            verb = "varies" if len(effects) == 1 else "vary"
            parts.append(f"{' and '.join(effects)} {verb} between no {level.name}")
    return " and ".join(parts)
