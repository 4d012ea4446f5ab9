"""Where draws come from: whether a problem's model, data and priors are the ones that were sampled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nestor.data.problem import check_problem
from nestor.errors import DataError, SpecError
from nestor.errors.text import short_repr
from nestor.model.names import INTERCEPT
from nestor.model.spec import ModelSpec
from nestor.posterior.draws import check_draws
from nestor.runner.datatree import outcome_name, read_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.data.statistics import LeafStatistics
    from nestor.model.priors import Prior
    from nestor.stats.arrays import FloatArray

#: Automatic priors come from variances, which keep fewer digits than the data that were compared.
_ROUNDING = 1e-6


def check_same_posterior(
    problem: Problem, fit: xr.DataTree, *, why: str = "What is left out must have been in"
) -> None:
    """Refuse draws that are known to be of another posterior than the problem's.

    Model, data and priors are compared with the ones that the fit stored. Parts that it did not store, as
    it was made elsewhere or by an older version, are not compared. Rows may stand in another order, and rows
    in memory are compared with leaf statistics of rows that were read in batches: sums to 1e-9.

    Parameters
    ----------
    problem : Problem
        Model and data.
    fit : DataTree
        As `nestor.fit` returns it.
    why : str
        Why the data must be the same, for the message that they are not.

    Raises
    ------
    SpecError
        If `problem` is none.
    DataError
        If they are of another posterior, saying what differs, or are no draws at all.
    """
    check_problem(problem)
    check_draws(fit)
    if fit.attrs.get("fingerprint") == problem.fingerprint:
        return
    own, theirs = problem.resolved_spec, _stored_spec(fit)
    found = None if theirs is None else _models_that_differ(own, theirs)
    if found is None and (data := _data_that_differ(problem, fit)):
        columns = "" if theirs is None else _columns_that_differ(own, theirs)
        found = f"{columns or data}. {why}"
    if found is None and theirs is not None:
        found = _priors_that_differ(problem, theirs)
    if found is not None:
        raise DataError(f"the draws are not of this problem's posterior: {found}.")


def _stored_spec(fit: xr.DataTree) -> ModelSpec | None:
    """The model description that a fit stored; None if it stored none, or none that can be read."""
    try:
        return ModelSpec(**json.loads(fit.attrs["spec"]))
    except (KeyError, TypeError, ValueError, SpecError):
        return None


def _models_that_differ(own: ModelSpec, theirs: ModelSpec) -> str | None:
    """Describe the first difference in family, terms or scales; None if there is none."""
    if own.family != theirs.family:
        return f"their family was {theirs.family}, not {own.family}"
    if _terms(own) != _terms(theirs):
        return f"their formula was {theirs.to_formula()}, not {own.to_formula()}"
    # Nodes of the first level have one parent: its scale is the same either way.
    for ours, other in zip(own.levels[1:], theirs.levels[1:], strict=True):
        if ours.scale != other.scale:
            return (
                f"their scale of level {ours.name!r} was one per {other.scale}, "
                f"not one per {ours.scale}"
            )
    return None


def _terms(spec: ModelSpec) -> tuple[object, ...]:
    """Everything in a formula except columns of data, whose values are compared instead."""
    levels = [(level.name, level.effects, level.correlated) for level in spec.levels]
    return levels, spec.effects, spec.zero_mean, spec.covariates


def _columns_that_differ(own: ModelSpec, theirs: ModelSpec) -> str:
    """Name which of outcome, offset and weights are different columns, or missing on one side."""
    found = []
    for what in ("outcome", "offset", "weights"):
        ours, other = getattr(own, what), getattr(theirs, what)
        if ours != other:
            found.append(f"their {what}: {_column(other)}, here: {_column(ours)}")
    return "; ".join(found)


def _column(name: str | None) -> str:
    return "none" if name is None else repr(name)


def _priors_that_differ(problem: Problem, theirs: ModelSpec) -> str | None:
    for address, prior in problem.resolved_spec.priors.items():
        other = theirs.priors.get(address)
        if other is not None and not _same_prior(prior, other):
            automatic = address in problem.priors.automatic
            source = ", which comes from the data" if automatic else ""
            return f"their prior of {address} was {other}, not {prior}{source}"
    return None


def _same_prior(one: Prior, other: Prior) -> bool:
    """Whether two priors are the same up to rounding: automatic ones are sums over rows."""
    if one.family != other.family:
        return False
    a, b = np.array(one.args), np.array(other.args)
    return bool(np.all(np.abs(a - b) <= _ROUNDING * np.abs(a).max()))


_OFFSET, _WEIGHTS, _LEAVES = "the offset", "the weights", "the leaves"


def _data_that_differ(problem: Problem, fit: xr.DataTree) -> str | None:
    """Describe how a problem's data differ from the data of the draws.

    Parameters
    ----------
    problem : Problem
        With rows or without.
    fit : DataTree
        Draws of the same terms; data that it lacks are not compared.

    Returns
    -------
    str or None
        None if nothing is known to differ.
    """
    counts = _stored_counts(fit)
    if counts is not None and not np.array_equal(counts, problem.index.rows_per_leaf):
        return _other_counts(int(counts.sum()), problem.n_rows)
    theirs = _stored_rows(problem, fit)
    names = []
    if problem.has_rows and theirs:
        n = len(theirs[repr(problem.spec.outcome)])
        if n != problem.n_rows:
            return _other_counts(n, problem.n_rows)
        names = _rows_that_differ(_own_rows(problem), theirs)
    elif problem.spec.family == "gaussian":  # of others there are no sums to compare
        sums = _stored_sums(problem, fit, theirs)
        names = [] if sums is None else _sums_that_differ(problem, sums)
    return f"they were given other values of {', '.join(names)}" if names else None


def _other_counts(theirs: int, own: int) -> str:
    if theirs == own:
        return "they were given other numbers of rows in some leaves"
    return f"they were given {theirs:,} rows, not {own:,}"


def _labels(problem: Problem) -> list[str]:
    """Names of the rows' columns in messages; the leaves and the outcome come first."""
    terms = (problem.spec.outcome, *problem.effects, *problem.spec.covariates)
    return [_LEAVES, *map(repr, terms), _OFFSET, _WEIGHTS]


def _own_rows(problem: Problem) -> dict[str, FloatArray]:
    rows = problem.rows
    given = (rows.leaf, rows.y, *rows.X.T, *rows.Z.T)
    return _labelled(problem, given, rows.offset, rows.weights)


def _labelled(
    problem: Problem,
    columns: Sequence[NDArray[Any]],
    offset: FloatArray | None,
    weights: FloatArray | None,
) -> dict[str, FloatArray]:
    """Label columns; a missing offset is zeros, and missing weights are ones."""
    n = len(columns[0])
    offset = np.zeros(n) if offset is None else offset
    weights = np.ones(n) if weights is None else weights
    return dict(zip(_labels(problem), (*columns, offset, weights), strict=True))


def _stored_rows(problem: Problem, fit: xr.DataTree) -> dict[str, FloatArray]:
    """The rows' columns that a fit stored: all of them, the outcome alone, or none."""
    observed, constant = (_group(fit, name) for name in ("observed_data", "constant_data"))
    y = next(
        (
            np.asarray(array.values)
            for name, array in observed.items()
            if name == outcome_name(problem) or "term" in array.attrs
        ),
        None,
    )
    if y is None or y.ndim != 1:
        return {}
    shapes = {"leaf": y.shape, "X": (*y.shape, len(problem.effects))}
    if problem.spec.covariates:
        shapes["Z"] = (*y.shape, len(problem.spec.covariates))
    shapes |= {name: y.shape for name in ("offset", "weights") if name in constant}
    if any(name not in constant or constant[name].shape != s for name, s in shapes.items()):
        return {repr(problem.spec.outcome): y}
    values = {name: np.asarray(array.values) for name, array in constant.items()}
    Z = values["Z"].T if problem.spec.covariates else ()
    columns = (values["leaf"], y, *values["X"].T, *Z)
    return _labelled(problem, columns, values.get("offset"), values.get("weights"))


def _group(fit: xr.DataTree, name: str) -> Mapping[str, xr.DataArray]:
    """Numeric variables of a group, without a variable `leaf` that does not hold positions."""
    if name not in fit.children:
        return {}
    arrays = {str(n): array for n, array in fit[name].dataset.data_vars.items()}
    found = {n: array for n, array in arrays.items() if array.dtype.kind in "iuf" and array.size}
    if (leaf := found.get("leaf")) is not None and (
        leaf.dtype.kind == "f" or leaf.ndim != 1 or leaf.values.min() < 0
    ):
        del found["leaf"]
    return found


def _stored_counts(fit: xr.DataTree) -> NDArray[np.intp] | None:
    """Number of rows of each leaf, as a fit stored it."""
    constant = _group(fit, "constant_data")
    if "rows_per_leaf" in constant:
        return np.asarray(constant["rows_per_leaf"].values)
    return np.bincount(constant["leaf"].values) if "leaf" in constant else None


def _stored_sums(
    problem: Problem, fit: xr.DataTree, rows: Mapping[str, FloatArray]
) -> _LeafSums | None:
    """Sums over leaves, from statistics or all columns of the rows that a fit stored."""
    statistics = read_statistics(fit)
    if statistics is not None:
        return _LeafSums.of_statistics(statistics, problem.effects)
    return _sums_of_rows(problem, rows) if len(rows) > 1 else None


def _rows_that_differ(own: Mapping[str, FloatArray], theirs: Mapping[str, FloatArray]) -> list[str]:
    """Name the columns that differ: in the rows' own order or after sorting, whichever are fewer."""
    own = {name: own[name] for name in theirs}
    in_order = _that_differ(own, theirs)
    if not in_order:
        return []
    return min(in_order, _that_differ(_sorted(own), _sorted(theirs)), key=len)


def _sorted(columns: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Rows in the order of leaves, then of the outcome, then of the other columns."""
    order = np.lexsort([*columns.values()][::-1])  # the last key counts first
    return {name: column[order] for name, column in columns.items()}


def _that_differ(one: Mapping[str, FloatArray], other: Mapping[str, FloatArray]) -> list[str]:
    return [name for name in one if not _same_column(one[name], other[name])]


def _same_column(own: FloatArray, theirs: FloatArray) -> bool:
    """Whether columns are equal up to rounding, relative to each number and to the column's range."""
    size = np.abs(own)
    allowed = _TOLERANCE * np.minimum(size, np.ptp(own)) + _SUM_ROUNDING * size.max()
    return bool(np.all(np.abs(own - theirs) <= allowed))


def _sums_of_rows(problem: Problem, rows: Mapping[str, FloatArray]) -> _LeafSums:
    """Sums over the leaves of columns that `_labels` names."""
    leaf, y, *others, offset, weights = rows.values()
    p, n = len(problem.effects), problem.index.levels[-1].n
    columns = [*(others[j] for j in _slope_positions(problem.effects)), y - offset, *others[p:]]
    return _LeafSums.of_rows(leaf.astype(np.intp), n, columns, weights, problem.effects)


def _sums_that_differ(problem: Problem, theirs: _LeafSums) -> list[str]:
    own = _LeafSums.of_statistics(problem.statistics, problem.effects)
    if own.cross.shape != theirs.cross.shape or own.total.shape != theirs.total.shape:
        return [_LEAVES]
    if not own.same_weights(theirs):
        return [_WEIGHTS]
    terms = [problem.effects[j] for j in _slope_positions(problem.effects)]
    names = (*terms, problem.spec.outcome, *problem.spec.covariates)
    return [repr(name) for name, bad in zip(names, own.differ(theirs), strict=True) if bad]


#: Relative differences up to it are rounding.
_TOLERANCE = 1e-9
#: Rounding of a number that was made of numbers of size 1.
_SUM_ROUNDING = 64 * float(np.finfo(np.float64).eps)


def _slope_positions(effects: Sequence[str]) -> list[int]:
    """Positions of the effects other than the intercept."""
    return [j for j, effect in enumerate(effects) if effect != INTERCEPT]


@dataclass(frozen=True, eq=False)
class _LeafSums:
    """Sums over the rows of n leaves: of q slopes, then m others (outcome minus offset, covariates).

    Root and fit of leaf statistics are badly determined where a leaf has little information in a direction.
    These sums are always well determined, so that they can be compared. Without an intercept among the
    effects nothing is centred: means are zero.

    Parameters
    ----------
    log_weights : ndarray, (n,)
        Sums of logarithms of weights.
    weight : ndarray, (n,)
        Sums of weights; of rows where there is no intercept.
    mean : ndarray, (n, q + m)
        Weighted means.
    size : ndarray, (n, q + m)
        Of the numbers that a mean was computed from.
    cross : ndarray, (n, q, q + m)
        Weighted cross-products of slopes with all columns, about the means.
    total, total_size : ndarray, (m, m)
        Cross-products of the others, summed over leaves, and the size of the numbers behind them.
    """

    log_weights: FloatArray
    weight: FloatArray
    mean: FloatArray
    size: FloatArray
    cross: FloatArray
    total: FloatArray
    total_size: FloatArray

    __repr__ = short_repr

    @classmethod
    def of_statistics(cls, found: LeafStatistics, effects: Sequence[str]) -> Self:
        """Compute them from root and fit: X'X = root' root, and X'y = X'X fit.

        Where slopes are nearly collinear, a residual that was computed as a difference is one of numbers
        far larger than the outcome's squares.
        """
        one = len(effects) - len(_slope_positions(effects))  # the intercept comes first
        root, fit = found.root[:, one:, one:], found.fit[:, one:]
        half, gram = root @ fit, np.swapaxes(root, 1, 2) @ root
        cross = np.concatenate([gram, np.swapaxes(root, 1, 2) @ half], axis=2)
        total = found.residual + np.einsum("nqi,nqj->ij", half, half)
        total_size = np.einsum("nqi,nqj->ij", np.abs(fit), np.abs(gram) @ np.abs(fit))
        if not one:
            rows, none = found.rows_per_leaf.astype(np.float64), np.zeros(cross.shape[::2])
            return cls(found.log_weights, rows, none, none, cross, total, total_size)
        first, at_zero = found.root[:, 0], found.fit[:, 0]
        x = first[:, 1:] / first[:, :1]
        moved = np.einsum("nq,nqm->nm", x, fit)
        mean = np.concatenate([x, at_zero + moved], axis=1)
        sizes = np.einsum("nq,nqm->nm", np.abs(x), np.abs(fit))
        size = np.concatenate([np.abs(x), np.abs(at_zero) + sizes], axis=1)
        weight = first[:, 0] ** 2
        return cls(found.log_weights, weight, mean, size, cross, total, total_size)

    @classmethod
    def of_rows(
        cls,
        leaf: NDArray[np.intp],
        n: int,
        columns: Sequence[FloatArray],
        weights: FloatArray,
        effects: Sequence[str],
    ) -> Self:
        """From rows, by two passes.

        Parameters
        ----------
        leaf : ndarray, (N,)
            Leaf of each row.
        n : int
            Leaves.
        columns : sequence of ndarray, (N,)
            The slopes, then the others.
        weights : ndarray, (N,)
            Weights.
        effects : sequence of str
            Names of the effects.
        """

        def sums(values: FloatArray) -> FloatArray:
            return np.bincount(leaf, weights * values, minlength=n)

        q, k = len(_slope_positions(effects)), len(columns)
        weight = np.bincount(leaf, minlength=n).astype(np.float64)
        mean = np.zeros((n, k))
        if q < len(effects):
            weight = np.bincount(leaf, weights, minlength=n)
            mean = np.stack([sums(column) for column in columns], axis=1) / weight[:, None]
        left = [column - mean[leaf, j] for j, column in enumerate(columns)]
        cross = np.empty((n, q, k))
        for i in range(q):
            for j in range(k):
                cross[:, i, j] = sums(left[i] * left[j])
        total = np.array([[np.sum(weights * a * b) for b in left[q:]] for a in left[q:]])
        logs = np.bincount(leaf, np.log(weights), minlength=n)
        return cls(logs, weight, mean, np.abs(mean), cross, total, np.abs(total))

    def same_weights(self, other: Self) -> bool:
        """Whether sums of weights, and of their logarithms, are equal up to rounding."""
        logs = np.abs(self.log_weights - other.log_weights)
        return bool(
            np.all(np.abs(self.weight - other.weight) <= _TOLERANCE * self.weight)
            and np.all(logs <= _TOLERANCE * (np.abs(self.log_weights) + 1.0))
        )

    def differ(self, other: Self) -> NDArray[np.bool_]:
        """Mark the columns whose sums differ by more than rounding, (q + m,).

        By their own means and squares; if none does, by products with another column. What counts is
        the difference beside the standard deviation within leaves.
        """
        q, k = self.cross.shape[1:]
        squares = np.concatenate([np.einsum("njj->j", self.cross[:, :, :q]), np.diag(self.total)])
        within = np.sqrt(np.maximum(squares, 0.0) / self.weight.sum())
        error = _SUM_ROUNDING * np.abs(self.mean).max(axis=0)
        means = np.abs(self.mean - other.mean) > (
            _TOLERANCE * within + _SUM_ROUNDING * (self.size.max(axis=0) + self.size + other.size)
        )
        # (s + e)(s' + e') - s s', plus the tolerance of s s'.
        allowed = np.outer(within, within) * _TOLERANCE + np.outer(error, error + within)
        allowed += np.outer(within, error)
        crossed = np.abs(self.cross - other.cross) > (
            _TOLERANCE * np.abs(self.cross) + self.weight[:, None, None] * allowed[:q]
        )
        products = np.zeros((k, k), dtype=bool)
        products[:q] = crossed.any(axis=0)
        products[q:, q:] = np.abs(self.total - other.total) > (
            self.weight.sum() * allowed[q:, q:]
            + _SUM_ROUNDING * (self.total_size + other.total_size)
        )
        single = means.any(axis=0) | np.diag(products)
        return single if single.any() else products.any(axis=0) | products.any(axis=1)
