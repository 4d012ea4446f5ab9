"""The hierarchy in draws: labels and ancestors, deviations from parents, population coefficients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from nestor.errors import DataError
from nestor.errors.arguments import shown
from nestor.model.names import INTERCEPT, underscored
from nestor.posterior.draws import check_draws

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr


@overload
def with_labels(fit: xr.DataTree, data: None = None) -> xr.DataTree: ...
@overload
def with_labels(fit: xr.DataTree, data: xr.Dataset) -> xr.Dataset: ...
@overload
def with_labels(fit: xr.DataTree, data: xr.DataArray) -> xr.DataArray: ...
def with_labels(
    fit: xr.DataTree, data: xr.Dataset | xr.DataArray | None = None
) -> xr.DataTree | xr.Dataset | xr.DataArray:
    """Give draws each node's own label and its ancestors as coordinates, to select and group by.

    `fit` keeps them in its group constant_data: in the posterior itself, `arviz.summary` refuses
    coordinates that some variables only have.

    Parameters
    ----------
    fit : DataTree
        As `fit` returns it, or read back from its file.
    data : Dataset or DataArray, optional
        What to label: anything with nodes of `fit` along a level's dimension, such as `deviations`, or
        a mean over draws. By default the fit's posterior.

    Returns
    -------
    DataTree, Dataset or DataArray
        A copy of `fit`, which shares its draws, or of `data`, with the coordinates ``<level>_label`` and
        ``<ancestor>_of_<level>``.

    Raises
    ------
    DataError
        If `fit` has no such labels, or `data` has other nodes or is neither Dataset nor DataArray.

    Examples
    --------
    >>> labelled = nestor.with_labels(fit)["posterior"]
    >>> labelled["beta_county"].groupby("state_of_county").mean()
    >>> labelled["beta_county"].where(labelled["county_label"] == "Lake", drop=True)
    """
    import xarray as xr

    check_draws(fit)
    if data is not None:
        if not isinstance(data, xr.Dataset | xr.DataArray):
            raise DataError(
                "data must be a Dataset or DataArray with nodes of these draws, such as "
                f"nestor.deviations(fit) or a variable of fit['posterior'], not {shown(data)}."
            )
        return data.assign_coords(_node_coords(fit, data))
    posterior = fit["posterior"].dataset
    found = fit.copy()
    found["posterior"] = xr.DataTree(posterior.assign_coords(_node_coords(fit, posterior)))
    return found


def deviations(fit: xr.DataTree) -> xr.Dataset:
    """Return each node's deviation from its parent, as lme4's ``ranef()`` does.

    ``beta_<level>`` of the draws is a node's total (``coef()``): the population's coefficients and the
    deviations on the node's path, added up.

    Parameters
    ----------
    fit : DataTree
        As `fit` returns it, or read back from its file.

    Returns
    -------
    Dataset
        ``deviation_<level>`` for each level from the top down, with the dims and coords of
        ``beta_<level>``: chain, draw, effect and the level. Where an effect does not vary at a level, its
        deviation is exactly 0. `with_labels` adds labels and ancestors.

    Raises
    ------
    DataError
        If `fit` is not what `fit` returns, or a selection of it that lacks the parent of a node: what it
        lacks is named.

    Examples
    --------
    >>> nestor.deviations(fit)["deviation_county"].sel(county="CA/Lake", effect="month")
    """
    import xarray as xr

    spec = _spec(fit)
    posterior = fit["posterior"].dataset
    above = _variable(posterior, "beta")
    found, up = {}, "population"
    for k, level in enumerate(spec["levels"]):
        name = level["name"]
        own = _variable(posterior, f"beta_{name}")
        if k > 0:
            above = above.isel({up: xr.Variable((name,), _parents(fit, name, up))})
        varies = np.isin(posterior["effect"].values, level["effects"])
        difference = (own - above).transpose(..., "effect")
        difference = difference.copy(data=np.where(varies, difference.values, 0.0))
        difference.attrs = {"long_name": f"deviation of each {name}'s coefficients from its {up}'s"}
        found[f"deviation_{name}"] = difference.transpose(*own.dims)
        above, up = own, name
    coords = {n: c for n, c in posterior.coords.items() if n in posterior.dims}
    used = {dim for array in found.values() for dim in array.dims}
    return xr.Dataset(found, coords={n: c for n, c in coords.items() if n in used})


def population(fit: xr.DataTree) -> xr.DataArray:
    """Return the population's coefficients under one name, as lme4's ``fixef()`` does.

    The draws hold them in two variables: ``beta`` of effects that vary by group, and ``gamma`` of terms
    that do not.

    Parameters
    ----------
    fit : DataTree
        As `fit` returns it, or read back from its file.

    Returns
    -------
    DataArray, (chain, draw, term)
        Every term of the formula's population part, the intercept first; effects whose population
        coefficient is fixed at zero are left out.

    Raises
    ------
    DataError
        If `fit` is not the result of `nestor.fit`: the message names what is missing. Or if its model has
        no such term.

    Examples
    --------
    >>> nestor.population(fit).sel(term="month").mean()
    """
    import xarray as xr

    spec = _spec(fit)
    posterior = fit["posterior"].dataset
    free = [effect for effect in spec["effects"] if effect not in spec["zero_mean"]]
    parts = [posterior["beta"].sel(effect=free).rename(effect="term")] if free else []
    if spec["covariates"]:
        parts.append(posterior["gamma"].rename(covariate="term"))
    if not parts:
        raise DataError(
            "this model has no population coefficients: all effects stand in the group part alone, so "
            "that they are 0 in the population."
        )
    found = xr.concat(parts, "term").transpose("chain", "draw", "term").rename("population")
    terms = sorted(found["term"].values.tolist(), key=lambda term: term != INTERCEPT)
    return found.sel(term=terms).assign_attrs(long_name="population coefficients")


def _node_coords(fit: xr.DataTree, data: xr.Dataset | xr.DataArray) -> dict[str, xr.DataArray]:
    """Return labels and ancestors of the nodes that `data` has, in its order."""
    stored = fit["constant_data"].dataset if "constant_data" in fit.children else {}
    found, known = {}, False
    for name, coord in getattr(stored, "coords", {}).items():
        dim = coord.dims[0] if coord.ndim == 1 else None
        if dim is None or name == dim or dim not in fit["posterior"].dims:
            continue
        known = True
        if dim not in data.dims:
            continue
        nodes = data[dim].values
        missing = set(nodes.tolist()) - set(stored[dim].values.tolist())
        if missing:
            raise DataError(f"{min(map(str, missing))!r} is no {dim} of these draws.")
        found[str(name)] = coord.sel({dim: nodes})
    if not known:
        raise DataError(
            "these draws have no labels of nodes in a group constant_data: pass what nestor.fit "
            "returned, whole."
        )
    return found


def _spec(fit: xr.DataTree) -> Mapping[str, Any]:
    check_draws(fit)
    if "spec" not in fit.attrs:
        raise DataError(
            "these draws do not say of which model they are (the attribute 'spec'): pass what "
            "nestor.fit returned, whole."
        )
    found: Mapping[str, Any] = json.loads(fit.attrs["spec"])
    return found


def _variable(posterior: xr.Dataset, name: str) -> xr.Variable:
    if name not in posterior:
        raise DataError(f"the draws lack {name}, which their model has.")
    return posterior[name].variable


def _parents(fit: xr.DataTree, level: str, above: str) -> np.ndarray[Any, Any]:
    """Position of each node's parent among the draws, found by path because draws may be a selection."""
    posterior, name = fit["posterior"].dataset, underscored(f"{above}_of_{level}")
    stored = fit["constant_data"].dataset if "constant_data" in fit.children else {}
    if name not in stored:
        raise DataError(f"the draws lack {name} in constant_data: pass what nestor.fit returned.")
    if missing := [dim for dim in (above, level) if dim not in posterior.dims]:
        raise DataError(
            f"the draws have no dimension {missing[0]}: of one node, select a list, "
            f"fit.sel({missing[0]}=[...])."
        )
    parent_of = dict(zip(stored[level].values.tolist(), stored[name].values.tolist(), strict=True))
    places = {path: i for i, path in enumerate(posterior[above].values.tolist())}
    paths = [parent_of.get(path) for path in posterior[level].values.tolist()]
    for node, path in zip(posterior[level].values.tolist(), paths, strict=True):
        if path not in places:
            raise DataError(
                f"the draws lack the {above} {path!r}, the parent of the {level} {node!r}: select "
                "nodes together with their parents, or take deviations of the whole fit first."
            )
    return np.array([places[path] for path in paths], dtype=np.intp)
