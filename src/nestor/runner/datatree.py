"""Draws with names: an xarray DataTree, ready for ArviZ."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.model.names import underscored
from nestor.stats.plain import as_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.data.statistics import LeafStatistics
    from nestor.engines.protocol import Draws

    type _Array = tuple[tuple[str, ...], object]

_NO_ROWS = (
    "read in batches and not kept; the posterior is conditioned on the statistics of each leaf"
)
_STATISTICS = "leaf_statistics"


def to_datatree(problem: Problem, draws: Draws, attrs: Mapping[str, object]) -> xr.DataTree:
    """Label a sampler's bare arrays with the problem's names, dims and coords.

    Parameters
    ----------
    problem : Problem
        Where names come from.
    draws : Draws
        What a backend returned.
    attrs : mapping
        Attributes of the tree; what is not plain is stored as JSON text, as netCDF needs.

    Returns
    -------
    DataTree
        With groups posterior, sample_stats, observed_data and constant_data; labels and ancestors of
        nodes are coordinates of constant_data. Where the problem's rows are not in memory,
        observed_data is empty, constant_data has rows per leaf in their place, the attribute ``rows`` of
        both says so, and the group leaf_statistics has what the posterior is conditioned on.
    """
    import xarray as xr

    chains, length = next(iter(draws.values.values())).shape[:2]
    sampled = {"chain": np.arange(chains), "draw": np.arange(length)}
    posterior = xr.Dataset(
        {n: _labelled(problem, n, draws.values[n]) for n in problem.variables},
        coords=sampled | _dimension_coords(problem),
    )
    stats = xr.Dataset(
        {name: (("chain", "draw"), array) for name, array in draws.stats.items()}, coords=sampled
    )
    groups = {
        "posterior": posterior,
        "sample_stats": stats,
        "observed_data": _observed(problem),
        "constant_data": _constant(problem),
    }
    if not problem.has_rows:
        groups[_STATISTICS] = _statistics(problem)
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {name: plain(value) for name, value in attrs.items()}
    return tree


def plain(value: object) -> str | int | float:
    """Return `value` itself where netCDF can hold it as an attribute, else its JSON text.

    Inside it, numbers that are not finite become null: an engine may report such a setting.
    """
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    return json.dumps(as_plain(value), sort_keys=True, allow_nan=False)


def _labelled(problem: Problem, name: str, values: NDArray[np.float64]) -> xr.Variable:
    """Draws of a variable, effects before nodes: (chain, draw, effect, node).

    ArviZ labels the rows of a summary in the order of each variable's dimensions, and stacks values in
    the order in which dimensions first occur in the whole dataset, where ``beta`` has "effect" before any
    level. The two orders have to be the same, or estimates stand beside the names of others.
    """
    import xarray as xr

    variable = problem.variables[name]
    attrs = {"long_name": variable.description}
    found = xr.Variable(("chain", "draw", *variable.dims), values, attrs)
    return found.transpose(..., *(d for d in variable.dims if d in problem.spec.level_names))


def _dimension_coords(problem: Problem) -> dict[str, tuple[str, object]]:
    """The labels of each dimension."""
    return {n: (n, value) for n, value in problem.coords.items() if problem.coord_dims[n] == n}


def _node_coords(problem: Problem) -> dict[str, tuple[str, object]]:
    """Each node's own label and its ancestors, as netCDF can spell them."""
    dims = problem.coord_dims
    return {
        underscored(name): (dims[name], value)
        for name, value in problem.coords.items()
        if dims[name] != name
    }


def row_coords(problem: Problem) -> dict[str, tuple[str, object]]:
    """Return coordinates of the rows: position in the user's table, and the leaf's path."""
    leaf = problem.index.levels[-1]
    return {
        "row": ("row", problem.order),
        underscored(f"{leaf.name}_of_row"): ("row", np.asarray(leaf.paths)[problem.leaf]),
    }


def outcome_name(problem: Problem) -> str:
    """Name of the outcome in a DataTree, which reads '/' as a path."""
    return problem.spec.outcome.replace("/", "_")


def _observed(problem: Problem) -> xr.Dataset:
    import xarray as xr

    if not problem.has_rows:
        return xr.Dataset(attrs={"rows": _NO_ROWS})
    outcome = ("row", problem.y, {"term": problem.spec.outcome})
    return xr.Dataset({outcome_name(problem): outcome}, coords=row_coords(problem))


def _constant(problem: Problem) -> xr.Dataset:
    """The constant data: effects, covariates, offset, weights, leaves and parents."""
    import xarray as xr

    data = _row_data(problem) if problem.has_rows else _leaf_data(problem)
    for level in problem.levels[1:]:
        data[f"parent_of_{level.name}"] = ((level.name,), level.parent)
    used = {dim for dims, _ in data.values() for dim in dims} | set(problem.spec.level_names)
    coords = {n: value for n, value in _dimension_coords(problem).items() if n in used}
    coords |= _node_coords(problem)
    if not problem.has_rows:
        return xr.Dataset(data, coords=coords, attrs={"rows": _NO_ROWS})
    return xr.Dataset(data, coords=row_coords(problem) | coords)


def _row_data(problem: Problem) -> dict[str, _Array]:
    data: dict[str, _Array] = {"X": (("row", "effect"), problem.X)}
    if problem.spec.covariates:
        data["Z"] = (("row", "covariate"), problem.Z)
    if problem.offset is not None:
        data["offset"] = (("row",), problem.offset)
    if problem.weights is not None:
        data["weights"] = (("row",), problem.weights)
    data["leaf"] = (("row",), problem.leaf)
    return data


def _leaf_data(problem: Problem) -> dict[str, _Array]:
    leaf = problem.levels[-1].name
    return {"rows_per_leaf": ((leaf,), problem.index.rows_per_leaf)}


def _statistics(problem: Problem) -> xr.Dataset:
    """The arrays of `LeafStatistics`; leaves are in the order of the posterior's."""
    import xarray as xr

    found = problem.statistics
    return xr.Dataset(
        {
            "root": (("leaf", "effect", "effect_2"), found.root),
            "fit": (("leaf", "effect", "response"), found.fit),
            "residual": (("response", "response_2"), found.residual),
            "rows_per_leaf": (("leaf",), found.rows_per_leaf),
            "log_weights": (("leaf",), found.log_weights),
        },
        coords={
            "effect": list(problem.effects),
            "response": [problem.spec.outcome, *problem.spec.covariates],
        },
    )


def read_statistics(tree: xr.DataTree) -> LeafStatistics | None:
    """Return the leaf statistics that `to_datatree` stored; None where it stored rows, or nothing."""
    from nestor.data.statistics import LeafStatistics

    names = ("root", "fit", "residual", "rows_per_leaf", "log_weights")
    stored = tree[_STATISTICS].dataset if _STATISTICS in tree.children else {}
    if not all(name in stored for name in names):
        return None
    return LeafStatistics(**{name: np.asarray(stored[name].values) for name in names})


def posterior_of(problem: Problem, tree: xr.DataTree) -> dict[str, NDArray[np.float64]]:
    """Return the draws of every canonical variable, (chain, draw, *shape)."""
    posterior = tree["posterior"].dataset
    return {
        name: np.asarray(posterior[name].variable.transpose("chain", "draw", *variable.dims).data)
        for name, variable in problem.variables.items()
    }


def stats_of(tree: xr.DataTree) -> dict[str, NDArray[Any]]:
    """Return the sampler's statistics that it reports, (chain, draw)."""
    return {str(name): a.to_numpy() for name, a in tree["sample_stats"].data_vars.items()}
