"""A formulation in this backend: the model, the arrays that it reads, and what is recovered afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nestor_numpyro.data import merged_arrays, rows_arrays, statistics_arrays
from nestor_numpyro.marginal import build_marginal_model
from nestor_numpyro.model import build_model
from nestor_numpyro.recovery import Recovery
from nestor_numpyro.tree import build_tree, tree_arrays

if TYPE_CHECKING:
    from collections.abc import Callable

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor_numpyro.model import Model


@dataclass(frozen=True, eq=False)
class Form:
    """What a formulation comes down to.

    Parameters
    ----------
    model : callable
        The NumPyro model, a function of its arrays.
    arrays : callable
        From a problem, which may differ in its outcome from the one that the form was made for, to those
        arrays, on the host.
    variables : tuple of str
        The canonical variables that the model has, in order.
    recovery : Recovery or None
        How the others are drawn; None where there are none.
    keeps_shapes : bool
        Whether the arrays of another outcome have the same shapes, so that programs serve both.
    """

    model: Model
    arrays: Callable[[Problem], Any]
    variables: tuple[str, ...]
    recovery: Recovery | None = None
    keeps_shapes: bool = True


def form_of(problem: Problem, formulation: Formulation) -> Form:
    """Bring a formulation of a problem into its form.

    Raises
    ------
    Unsupported
        If coefficients cannot be integrated out, or there is nothing to be saved by statistics.
    """
    if formulation.is_marginalized:
        tree, places = build_tree(problem)
        return Form(
            build_marginal_model(problem, tree),
            lambda of: tree_arrays(of, places),
            tuple(v.name for v in problem.variables.values() if v.role in ("scale", "family")),
            Recovery(problem, tree),
        )
    model, variables = build_model(problem, formulation), tuple(problem.variables)
    if formulation.likelihood == "rows":
        return Form(model, rows_arrays, variables)
    if problem.spec.family == "gaussian":
        return Form(model, statistics_arrays, variables)
    return Form(model, merged_arrays, variables, keeps_shapes=False)
