"""Whether draws are of a problem's posterior: of its model, its data and its priors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from nestor.data.problem import check_problem
from nestor.errors import DataError, SpecError
from nestor.model.spec import ModelSpec
from nestor.posterior.draws import check_draws
from nestor.posterior.same_data import data_that_differ

if TYPE_CHECKING:
    import xarray as xr

    from nestor.data.problem import Problem
    from nestor.model.priors import Prior

#: Automatic priors come from variances, which keep fewer digits than the data that were compared.
_ROUNDING = 1e-6


def check_same_posterior(
    problem: Problem, fit: xr.DataTree, *, why: str = "What is left out must have been in"
) -> None:
    """Refuse draws that are known to be of another posterior than the problem's.

    Model, data and priors are compared with what the fit stored of them. What it did not store, as it
    was made elsewhere or by an older version, is not compared. Rows may stand in another order, and rows
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
    if found is None and (data := data_that_differ(problem, fit)):
        columns = "" if theirs is None else _columns_that_differ(own, theirs)
        found = f"{columns or data}. {why}"
    if found is None and theirs is not None:
        found = _priors_that_differ(problem, theirs)
    if found is not None:
        raise DataError(f"the draws are not of this problem's posterior: {found}.")


def _stored_spec(fit: xr.DataTree) -> ModelSpec | None:
    """The description that a fit stored; None if there is none that can be read."""
    try:
        return ModelSpec(**json.loads(fit.attrs["spec"]))
    except (KeyError, TypeError, ValueError, SpecError):
        return None


def _models_that_differ(own: ModelSpec, theirs: ModelSpec) -> str | None:
    """What differs in family, terms or scales."""
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
    """All that a formula says, but for columns of data: their values are compared."""
    levels = [(level.name, level.effects, level.correlated) for level in spec.levels]
    return levels, spec.effects, spec.zero_mean, spec.covariates


def _columns_that_differ(own: ModelSpec, theirs: ModelSpec) -> str:
    """Which of outcome, offset and weights are other columns, or missing on one side."""
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
