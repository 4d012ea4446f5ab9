"""Canonical draws of a problem, read back from the DataTree that a fit returned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import xarray as xr

    from nestor.data.problem import Problem
    from nestor.stats.arrays import FloatArray


def check_draws(fit: object) -> None:
    """Refuse anything that is not a tree of draws.

    Raises
    ------
    DataError
        With what to pass.
    """
    if "posterior" not in getattr(fit, "children", {}):
        raise DataError(
            "draws are wanted as the DataTree that nestor.fit returns, with a group posterior, or as "
            f"xarray.open_datatree reads it from a file; this is a {type(fit).__name__} without one."
        )


def read_draws(problem: Problem, fit: xr.DataTree, names: Iterable[str]) -> dict[str, FloatArray]:
    """Return the draws of some canonical variables.

    Parameters
    ----------
    problem : Problem
        Model and data.
    fit : DataTree
        As `nestor.fit` returns it, of any engine.
    names : iterable of str
        Canonical variables.

    Returns
    -------
    dict of str to ndarray, (chain, draw, *shape)

    Raises
    ------
    DataError
        If draws of a variable are missing, or belong to another model or other nodes.
    """
    check_draws(fit)
    posterior = fit["posterior"].dataset
    found = {}
    for name in names:
        variable = problem.variables[name]
        if name not in posterior:
            raise DataError(
                f"the draws lack {name}, which the model has; they have "
                f"{', '.join(map(str, posterior.data_vars))}. Were they of another model?"
            )
        array = posterior[name]
        dims = ("chain", "draw", *variable.dims)
        if set(array.dims) != set(dims):
            raise DataError(
                f"{name} has the dimensions {', '.join(map(str, array.dims))}; "
                f"the model's are {', '.join(dims)}, in any order."
            )
        array = array.transpose(*dims)
        for dim in variable.dims:
            _check_labels(problem, array, dim)
        found[name] = np.asarray(array.values, dtype=np.float64)
    return found


def read_family_draws(problem: Problem, fit: xr.DataTree) -> dict[str, FloatArray]:
    """Return the draws of the family's parameters, (chain, draw); known values are repeated."""
    fixed = {n: p.value for n, p in problem.priors.family.items() if p.is_fixed}
    found = read_draws(problem, fit, [n for n in problem.priors.family if n not in fixed])
    sizes = fit["posterior"].sizes
    lead = sizes["chain"], sizes["draw"]
    return found | {name: np.full(lead, value) for name, value in fixed.items()}


def _check_labels(problem: Problem, array: xr.DataArray, dim: str) -> None:
    own = np.asarray(problem.coords[dim], dtype=object)
    theirs = np.asarray(array[dim].values, dtype=object)
    if not np.array_equal(own, theirs):
        known = set(theirs)
        missing = [str(label) for label in own if label not in known]
        what = f"lack {missing[0]!r}" if missing else "are in another order or more"
        raise DataError(
            f"the draws of {array.name} belong to other data: their labels of {dim!r} {what}."
        )
