"""The log-likelihood of draws, by row and in total, from canonical variables alone, never by an engine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nestor.data.problem import check_problem
from nestor.errors.arguments import whole
from nestor.posterior.draws import read_draws, read_family_draws
from nestor.posterior.progress import no_progress
from nestor.posterior.provenance import check_same_posterior

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import xarray as xr

    from nestor.data.problem import Problem
    from nestor.posterior.progress import Progress
    from nestor.stats.arrays import FloatArray

#: Numbers in a chunk, so that it and three arrays of its size on the way to it take 64 MB.
_NUMBERS = 64 * 2**20 // (4 * 8)
_OWN_DATA = (
    "A group of the fit is of the data that it was given; for new data take nestor.log_likelihood"
)


def log_likelihood(
    problem: Problem, fit: xr.DataTree, *, chunk: int | None = None
) -> Iterator[xr.DataArray]:
    """Log density of each row's outcome at each draw, some rows at a time.

    With eta_i = offset_i + x_i' beta_leaf(i) + z_i' gamma and scale sigma / sqrt(weight_i), a row is
    Normal or Student-t about eta_i; all constants are included. Only canonical draws enter, so that it
    is the same whatever the engine and its formulation, coefficients that were integrated out included.

    Parameters
    ----------
    problem : Problem
        Model and data, with rows. Other rows or another outcome than those of the fit may stand for new
        data, as long as the nodes are the same.
    fit : DataTree
        As `nestor.fit` returns it.
    chunk : int, optional
        Rows at a time; by default as many as 64 MB hold.

    Yields
    ------
    DataArray, (chain, draw, row)
        ``row`` is the position in the user's table; rows are sorted by leaf, as in the fit's
        observed_data.

    Raises
    ------
    DataError
        If draws of a variable are missing or belong to other nodes, or the rows are not in memory.
    SpecError
        If `problem` is none, or `chunk` is not a positive whole number.
    """
    check_problem(problem)
    rows = _Rows(problem, fit)
    size = rows.chunk if chunk is None else whole("chunk", chunk, least=1)
    return (
        rows.labelled(slice(start, min(start + size, problem.n_rows)))
        for start in range(0, problem.n_rows, size)
    )


def with_log_likelihood(
    problem: Problem,
    fit: xr.DataTree,
    *,
    chunk: int | None = None,
    progress: Progress = no_progress,
) -> xr.DataTree:
    """Return the draws with a group log_likelihood.

    Parameters
    ----------
    problem, fit, chunk
        See `nestor.with_log_likelihood`, as for errors.
    progress : Progress
        Shows how many rows are done.
    """
    import xarray as xr

    from nestor.runner.datatree import outcome_name, row_coords

    check_same_posterior(problem, fit, why=_OWN_DATA)
    parts = log_likelihood(problem, fit, chunk=chunk)
    sizes = fit["posterior"].sizes
    whole = np.empty((sizes["chain"], sizes["draw"], problem.n_rows))
    start = 0
    with progress("log-likelihood of rows", problem.n_rows) as advance:
        for part in parts:
            stop = start + part.sizes["row"]
            whole[:, :, start:stop] = part.values
            start = stop
            advance(stop)
    sampled = {name: fit["posterior"][name].values for name in ("chain", "draw")}
    found = fit.copy()
    found["log_likelihood"] = xr.DataTree(
        xr.Dataset(
            {outcome_name(problem): (("chain", "draw", "row"), whole)},
            coords=sampled | row_coords(problem),
        )
    )
    return found


class _Rows:
    """The log-likelihood of any slice of a problem's rows at the draws of a fit."""

    def __init__(self, problem: Problem, fit: xr.DataTree) -> None:
        from nestor.runner.datatree import outcome_name, row_coords

        self._problem, self._rows = problem, problem.rows
        covariates = ["gamma"] if problem.spec.covariates else []
        leaf = f"beta_{problem.levels[-1].name}"
        values = read_draws(problem, fit, [leaf, *covariates])
        self._leaves, self._gamma = values[leaf], values.get("gamma")
        self._family = read_family_draws(problem, fit)
        self._sampled = {n: fit["posterior"][n].values for n in ("chain", "draw")}
        self._coords, self._name = row_coords(problem), outcome_name(problem)
        self.chunk = max(1, _NUMBERS // self._family["sigma"].size)

    def labelled(self, part: slice) -> xr.DataArray:
        """Log-likelihood of some rows, (chain, draw, row)."""
        import xarray as xr

        coords = {n: (dim, np.asarray(v)[part]) for n, (dim, v) in self._coords.items()}
        return xr.DataArray(
            self._log_density(part),
            dims=("chain", "draw", "row"),
            coords=self._sampled | coords,
            name=self._name,
        )

    def _log_density(self, part: slice) -> FloatArray:
        log_weight = np.zeros(1)
        z = self._residual(part) / self._family["sigma"][..., None]
        if self._rows.weights is not None:
            weights = self._rows.weights[part]
            z *= np.sqrt(weights)
            log_weight = np.log(weights)
        found = _log_kernel(self._problem.spec.family, z, self._family)
        found -= np.log(self._family["sigma"])[..., None]
        found += 0.5 * log_weight
        return found

    def _residual(self, part: slice) -> FloatArray:
        """Outcome minus offset and linear predictor, (chain, draw, row)."""
        rows, leaf = self._rows, self._rows.leaf[part]
        target = rows.y[part] if rows.offset is None else rows.y[part] - rows.offset[part]
        residual = np.broadcast_to(target, (*self._family["sigma"].shape, len(leaf))).copy()
        # Rows are sorted by leaf: the leaves of a chunk are neighbours, and a view of the draws.
        leaves = self._leaves[:, :, leaf[0] : leaf[-1] + 1]
        for j in range(leaves.shape[-1]):
            residual -= leaves[:, :, leaf - leaf[0], j] * rows.X[part, j]
        if self._gamma is not None:
            residual -= self._gamma @ rows.Z[part].T
        return residual


def _log_kernel(name: str, z: FloatArray, family: Mapping[str, FloatArray]) -> FloatArray:
    """Log density of standardized residuals; overwrites their array."""
    np.square(z, out=z)
    if name == "gaussian":
        z *= -0.5
        z -= 0.5 * math.log(2.0 * math.pi)
        return z
    from scipy.special import gammaln

    nu = family["nu"][..., None]
    z /= nu
    np.log1p(z, out=z)
    z *= -0.5 * (nu + 1.0)
    z += gammaln((nu + 1.0) / 2.0) - gammaln(nu / 2.0) - 0.5 * np.log(nu * math.pi)
    return z


#: Numbers in an intermediate array, rows times draws: 16 MB.
_CHUNK = 2_000_000
#: Draws at a time, so that the leaves' coefficients are never copied as a whole.
_DRAWS = 1000


def total_log_likelihood(problem: Problem, values: Mapping[str, FloatArray]) -> FloatArray:
    """Log density of the whole outcome at each draw.

    With eta_i = offset_i + x_i' beta_leaf(i) + z_i' gamma and scale sigma / sqrt(weight_i), rows are
    independent Normal or Student-t; all constants are included. Of a problem whose rows are not in
    memory it is computed from the statistics of the leaves.

    Parameters
    ----------
    problem : Problem
        Model and data.
    values : mapping of str to ndarray, (chain, draw, *shape)
        Every canonical variable.

    Returns
    -------
    ndarray, (chain, draw)
        Minus infinity or nan where a draw is not inside the family's support.
    """
    some = next(iter(values.values()))
    lead = some.shape[:2]
    flat = {name: np.asarray(v).reshape(-1, *v.shape[2:]) for name, v in values.items()}
    family = {
        name: np.full(lead, prior.value).ravel() if prior.is_fixed else flat[name]
        for name, prior in problem.priors.family.items()
    }
    some_draws = _by_rows if problem.has_rows else _by_leaves
    parts = [
        some_draws(
            problem, {n: v[s] for n, v in flat.items()}, {n: v[s] for n, v in family.items()}
        )
        for s in _slices(math.prod(lead), _DRAWS)
    ]
    return np.concatenate(parts).reshape(lead)


def _slices(n: int, size: int) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def _by_rows(
    problem: Problem, values: Mapping[str, FloatArray], family: Mapping[str, FloatArray]
) -> FloatArray:
    """Log-likelihood of draws (draw, *shape), from chunks of rows that fit in memory beside them."""
    sigma = family["sigma"]
    # Nodes first, so that the rows of one leaf copy one contiguous run of draws.
    leaves = np.ascontiguousarray(np.moveaxis(values[f"beta_{problem.levels[-1].name}"], 0, -1))
    gamma = values["gamma"].T if problem.spec.covariates else None
    total = np.zeros(len(sigma))
    with np.errstate(all="ignore"):
        for rows in _slices(problem.n_rows, max(1, _CHUNK // len(sigma))):
            squared = _squared_residuals(problem, rows, leaves, gamma)
            total += _kernel(problem.spec.family, squared, family)
        return total + _constants(problem, family)


def _by_leaves(
    problem: Problem, values: Mapping[str, FloatArray], family: Mapping[str, FloatArray]
) -> FloatArray:
    """Log-likelihood of draws (draw, *shape) of a gaussian outcome from the leaves' statistics.

    With S, U, m_y and M_z as in `nestor.data.statistics.leaf` the sum of squares is
    (1, -gamma') S (1, -gamma) + sum over leaves |U (m_y - M_z gamma - beta)|^2.
    """
    found = problem.statistics
    beta = values[f"beta_{problem.levels[-1].name}"]
    draws = len(beta)
    gamma = values["gamma"] if problem.spec.covariates else np.zeros((draws, 0))
    signed = np.column_stack([np.ones(draws), -gamma])
    total = np.zeros(draws)
    with np.errstate(all="ignore"):
        width = max(1, _CHUNK // (draws * found.n_effects))
        for leaves in _slices(found.n_leaves, width):
            apart = np.einsum("npm,dm->dnp", found.fit[leaves], signed) - beta[:, leaves]
            total += np.square(np.einsum("npq,dnq->dnp", found.root[leaves], apart)).sum((1, 2))
        total += np.einsum("dm,mk,dk->d", signed, found.residual, signed)
        kernel: FloatArray = -0.5 * total / family["sigma"] ** 2
        return kernel + _constants(problem, family)


def _squared_residuals(
    problem: Problem, rows: slice, leaves: FloatArray, gamma: FloatArray | None
) -> FloatArray:
    """Weighted squared residuals of some rows at every draw, (rows, draw)."""
    target = problem.y[rows] if problem.offset is None else problem.y[rows] - problem.offset[rows]
    residual = np.repeat(target[:, None], leaves.shape[-1], axis=1)
    leaf = problem.leaf[rows]
    for j in range(leaves.shape[1]):
        residual -= problem.X[rows, j, None] * leaves[leaf, j]
    if gamma is not None:
        residual -= problem.Z[rows] @ gamma
    np.square(residual, out=residual)
    if problem.weights is not None:
        residual *= problem.weights[rows, None]
    return residual


def _kernel(name: str, squared: FloatArray, family: Mapping[str, FloatArray]) -> FloatArray:
    """Sum over rows of the terms that depend on the residuals, (draw,)."""
    variance = family["sigma"] ** 2
    if name == "gaussian":
        total: FloatArray = -0.5 * squared.sum(axis=0) / variance
        return total
    nu = family["nu"]
    squared /= nu * variance
    found: FloatArray = -0.5 * (nu + 1.0) * np.log1p(squared, out=squared).sum(axis=0)
    return found


def _constants(problem: Problem, family: Mapping[str, FloatArray]) -> FloatArray:
    """Sum over rows of the terms that do not depend on the residuals, (draw,)."""
    from scipy.special import gammaln

    n = problem.n_rows
    constants: FloatArray = 0.5 * _sum_log_weights(problem) - n * np.log(family["sigma"])
    if problem.spec.family == "gaussian":
        return constants - 0.5 * n * math.log(2.0 * math.pi)
    nu = family["nu"]
    of_t = gammaln((nu + 1.0) / 2.0) - gammaln(nu / 2.0) - 0.5 * np.log(nu * math.pi)
    total: FloatArray = constants + n * of_t
    return total


def _sum_log_weights(problem: Problem) -> float:
    if not problem.has_rows:
        return problem.statistics.sum_log_weights
    return 0.0 if problem.weights is None else float(np.log(problem.weights).sum())
