"""The log-likelihood row by row, from canonical draws alone: what leave-one-out of rows is made of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nestor.data.problem import check_problem
from nestor.errors.arguments import whole
from nestor.posterior.draws import drawn, family_drawn
from nestor.posterior.same_posterior import check_same_posterior
from nestor.views.terminal.working import working_bar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import xarray as xr

    from nestor.data.problem import Problem
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
    problem: Problem, fit: xr.DataTree, *, chunk: int | None = None, progress: bool = False
) -> xr.DataTree:
    """Return the draws with a group log_likelihood, from which ArviZ computes what it needs.

    It holds a number for each row and draw: `nestor.loo` needs no such array.

    Parameters
    ----------
    problem, fit, chunk
        See `log_likelihood`, as for errors; but the data must be the fit's own, since the group stands
        beside them.
    progress : bool
        Whether to show progress on standard error.

    Returns
    -------
    DataTree
        A copy that shares the draws of `fit`.

    Raises
    ------
    DataError
        Also if the draws are of another posterior, as for `nestor.loo`.
    """
    import xarray as xr

    from nestor.runner.datatree import outcome_name, row_coords

    check_same_posterior(problem, fit, why=_OWN_DATA)
    parts = log_likelihood(problem, fit, chunk=chunk)
    sizes = fit["posterior"].sizes
    whole = np.empty((sizes["chain"], sizes["draw"], problem.n_rows))
    start = 0
    with working_bar("log-likelihood of rows", problem.n_rows, show=progress) as advance:
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
    """Rows of a problem at the draws of a fit; any of them at any time."""

    def __init__(self, problem: Problem, fit: xr.DataTree) -> None:
        from nestor.runner.datatree import outcome_name, row_coords

        self._problem, self._rows = problem, problem.rows
        covariates = ["gamma"] if problem.spec.covariates else []
        leaf = f"beta_{problem.levels[-1].name}"
        values = drawn(problem, fit, [leaf, *covariates])
        self._leaves, self._gamma = values[leaf], values.get("gamma")
        self._family = family_drawn(problem, fit)
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
        """Outcome less offset and linear predictor, (chain, draw, row)."""
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
    """Log density of a standardized residual, whose array is used up."""
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
