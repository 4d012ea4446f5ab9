"""The arrays of a problem in the layout that makes the model's gradient fast."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from nestor.problem import Problem
    from nestor_numpyro.place import Place


class ModelData(NamedTuple):
    """Arrays on the device, the model's argument.

    They are an argument rather than constants of the compiled program, so that XLA does not spend time
    on folding them and does not copy them into every program.

    Attributes
    ----------
    y : Array, (N,)
        Outcome.
    X : Array, (p, N)
        Effects, one contiguous row for each.
    Z : Array, (c, N)
        Covariates.
    offset : Array, (N,), or None
        Added to the linear predictor.
    scale_factor : Array, (N,), or None
        1 / sqrt(weight).
    leaf : Array of int32, (N,)
        Leaf of each row, non-decreasing.
    parents : tuple of Array of int32, (n,)
        For each level each node's parent, non-decreasing.
    """

    y: Any
    X: Any
    Z: Any
    offset: Any
    scale_factor: Any
    leaf: Any
    parents: tuple[Any, ...]


def put_data(problem: Problem, place: Place) -> tuple[ModelData, float]:
    """Copy the arrays of a problem to the device, in its precision; returns when they are there.

    Returns
    -------
    data : ModelData
        The arrays there.
    seconds : float
        What bringing them there took.
    """

    def real(array: np.ndarray[Any, Any] | None) -> Any:
        return None if array is None else np.ascontiguousarray(array, dtype=place.dtype)

    weights = problem.weights
    host = ModelData(
        y=real(problem.y),
        X=real(problem.X.T),
        Z=real(problem.Z.T),
        offset=real(problem.offset),
        scale_factor=None if weights is None else real(1.0 / np.sqrt(weights)),
        leaf=problem.leaf.astype(np.int32),
        parents=tuple(level.parent.astype(np.int32) for level in problem.levels),
    )
    return _put(host, place)


def with_outcome(data: ModelData, problem: Problem, place: Place) -> tuple[ModelData, float]:
    """Return `data` with the outcome of `problem`, and the seconds; the other arrays stay where they are."""
    y, seconds = _put(np.ascontiguousarray(problem.y, dtype=place.dtype), place)
    return data._replace(y=y), seconds


def _put(host: Any, place: Place) -> tuple[Any, float]:
    import jax

    begin = time.perf_counter()
    there = jax.block_until_ready(jax.device_put(host, place.device))
    return there, time.perf_counter() - begin
