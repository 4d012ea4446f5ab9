"""What a backend's draws must look like, so that its mistake is named where it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.errors import EngineFailed

if TYPE_CHECKING:
    from nestor.backend import Draws
    from nestor.problem import Problem


def check_draws(problem: Problem, draws: Draws, n_chain: int, n_draw: int) -> None:
    """Hold draws to the contract: every canonical variable, (chain, draw, *shape).

    Raises
    ------
    EngineFailed
        If a variable is missing or has another shape.
    """
    shapes = {name: array.shape for name, array in draws.values.items()}
    if draws.deferred is not None:
        shapes |= draws.deferred.shapes
    for variable in problem.variables.values():
        expected = (n_chain, n_draw, *variable.shape)
        found = shapes.get(variable.name)
        if found is None:
            raise EngineFailed(f"the backend returned no draws of {variable.name}.")
        if found != expected:
            raise EngineFailed(
                f"the backend returned {variable.name} with shape {found}, not {expected}."
            )
