"""Summaries of draws by ArviZ, with the names that all of nestor's tables use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from nestor.errors import DataError, SpecError
from nestor.errors.arguments import flag, number, one_of, shown, whole
from nestor.errors.text import did_you_mean
from nestor.posterior.draws import check_draws

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_KINDS: Final = (
    "all",
    "stats",
    "diagnostics",
    "all_median",
    "stats_median",
    "diagnostics_median",
    "mc_diagnostics",
)


def summary(
    fit: xr.DataTree,
    var_names: Sequence[str] | str | None = None,
    *,
    group: str = "posterior",
    coords: Mapping[str, Any] | None = None,
    kind: str = "all",
    fmt: str = "wide",
    ci_prob: float | None = None,
    ci_kind: str | None = None,
    round_to: int | str | None = "auto",
    skipna: bool = False,
) -> pd.DataFrame:
    """Summarize the posterior by `arviz.summary`, with the names that all of nestor's tables use.

    `arviz.summary` itself works as well, and names effects before nodes:
    ``beta_county[month, CA/Lake]`` where this says ``beta_county[CA/Lake, month]``.

    Parameters
    ----------
    fit : DataTree
        As `fit` returns it.
    var_names : sequence of str, optional
        Variables, by default all.
    group : {"posterior"}
        Of other groups `arviz.summary` makes summaries.
    coords : mapping, optional
        Labels to select by dimension, such as ``{"county": ["CA/Lake"]}``; one label, several or a slice.
        Variables without the dimension stay whole.
    kind, fmt, ci_prob, ci_kind, round_to, skipna
        As of `arviz_stats.summary`, in whose place `fmt` is "wide" or "long".

    Raises
    ------
    SpecError
        If an option is not one of those.
    DataError
        If the posterior has no variable, dimension or label of a given name.
    """
    import pandas as pd
    from arviz_stats import summary as arviz_summary

    check_draws(fit)
    _check_options(group, kind, fmt, ci_prob, ci_kind, round_to)
    posterior = fit["posterior"].to_dataset()
    posterior = posterior[_variables(var_names, [str(name) for name in posterior.data_vars])]
    if coords is not None:
        posterior = _selected(posterior, coords)
    tables: list[pd.DataFrame] = []
    for (
        name
    ) in posterior.data_vars:  # one by one: ArviZ mixes up names of variables with nodes first
        effects = [d for d in posterior[name].dims if str(d).split("_", 1)[0] == "effect"]
        table = arviz_summary(
            posterior[[name]].transpose(..., *effects),
            kind=kind,
            fmt=fmt,
            ci_prob=ci_prob,
            ci_kind=ci_kind,
            round_to=round_to,
            skipna=flag("skipna", skipna),
        )
        tables.append(table)
    return pd.concat(tables)


def _check_options(
    group: object,
    kind: object,
    fmt: object,
    ci_prob: object,
    ci_kind: object,
    round_to: object,
) -> None:
    if group != "posterior":
        raise SpecError(
            f"nestor.summary summarizes the group posterior, not {shown(group)}: "
            "for another group call arviz.summary(fit, group=...)."
        )
    if isinstance(fmt, str) and fmt == "xarray":
        raise SpecError(
            "fmt must be wide or long, not 'xarray': for a Dataset call arviz.summary(fit, fmt='xarray')."
        )
    one_of("kind", kind, _KINDS)
    one_of("fmt", fmt, ("wide", "long"))
    if ci_prob is not None:
        number("ci_prob", ci_prob, above=0.0, below=1.0)
    if ci_kind is not None:
        one_of("ci_kind", ci_kind, ("hdi", "eti"))
    if isinstance(round_to, str):
        one_of("round_to", round_to, ("auto", "none", "None"))
    elif round_to is not None:
        whole("round_to", round_to, least=0)


def _variables(var_names: Sequence[str] | str | None, known: Sequence[str]) -> list[str]:
    """Return the requested variables; a single one may be given by its name, as in ArviZ."""
    if var_names is None:
        return list(known)
    names = [var_names] if isinstance(var_names, str) else var_names
    if not isinstance(names, Sequence) or not names:
        raise DataError(f"var_names is a list of variables, not {shown(var_names)}.")
    if unknown := [name for name in names if name not in known]:
        meant = did_you_mean(unknown[0], known)
        raise DataError(
            f"the posterior has no {', '.join(map(str, unknown))}; it has {', '.join(known)}.{meant}"
        )
    return list(names)


def _selected(posterior: xr.Dataset, coords: Mapping[str, Any]) -> xr.Dataset:
    """Select labels; a dimension with one label left is kept, so that names of scalars stay complete."""
    if not isinstance(coords, Mapping):
        raise SpecError(
            "coords must be a mapping of dimensions to labels, such as {'effect': ['Intercept']}, "
            f"not {shown(coords)}."
        )
    for dim, labels in coords.items():
        if dim not in posterior.dims:
            known = [str(name) for name in posterior.dims]
            raise DataError(
                f"coords: no variable asked for has a dimension {shown(dim)}; there are "
                f"{', '.join(known)}.{did_you_mean(dim, known)}"
            )
        posterior = _of_labels(posterior, dim, labels)
    return posterior


def _of_labels(posterior: xr.Dataset, dim: str, labels: Any) -> xr.Dataset:
    import numpy as np

    if not isinstance(labels, slice):
        labels = np.atleast_1d(np.asarray(labels, dtype=object)).tolist()
        there = posterior[dim].values.tolist()
        if unknown := [label for label in labels if label not in there]:
            raise DataError(
                f"coords: {shown(unknown[0])} is no {dim} of these draws."
                f"{did_you_mean(unknown[0], there)}"
            )
    try:
        found = posterior.sel({dim: labels})
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"coords: cannot select {dim} by {shown(labels)}; give a list of labels."
        ) from None
    if not found.sizes[dim]:
        raise DataError(f"coords: {shown(labels)} selects no {dim}; name at least one.")
    return found
