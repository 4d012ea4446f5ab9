"""Functions of a problem and its scales: the marginal density, and coefficients given the scales."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nestor_reference.gaussian import read_scales
from nestor_reference.messages import MessagePassing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import ArrayLike

    from nestor.data.problem import Problem
    from nestor.stats.arrays import FloatArray
    from nestor_reference.steps import Noise


def log_marginal(problem: Problem, scales: Mapping[str, ArrayLike]) -> FloatArray:
    """Log density of the outcome given the scales, coefficients integrated out: log p(y | tau, sigma).

    It equals log p(y, coefficients | tau, sigma) - log p(coefficients | y, tau, sigma) at any coefficients.
    See `nestor_reference.messages` for the method and its sources.

    Parameters
    ----------
    problem : Problem
        A gaussian outcome and Normal priors of population coefficients.
    scales : mapping of str to array_like, (..., *shape)
        Every tau_<level>, and sigma unless it is fixed, in canonical shapes, with leading axes or without.

    Returns
    -------
    ndarray, (...)
        All constants included; the priors of the scales are not.

    Raises
    ------
    Unsupported
        If the problem is not of that kind.
    SpecError
        If the scales do not fit the problem.
    """
    passing = MessagePassing(problem)
    values, batch = read_scales(problem, scales)
    parts = [passing.up(chunk).log_marginal for chunk in _chunks(values, batch, passing.batch)]
    return np.concatenate(parts).reshape(batch)


def conditional_mean(problem: Problem, scales: Mapping[str, ArrayLike]) -> dict[str, FloatArray]:
    """Exact means of all coefficients given the outcome and the scales.

    Parameters and errors are those of `log_marginal`.

    Returns
    -------
    dict of str to ndarray, (..., *shape)
        beta, every beta_<level> and gamma; inherited and fixed entries are filled in.
    """
    return _coefficients(problem, scales, np.zeros)


def conditional_draws(
    problem: Problem, scales: Mapping[str, ArrayLike], rng: np.random.Generator
) -> dict[str, FloatArray]:
    """Draw all coefficients jointly and exactly given the outcome and the scales, once per set of scales.

    Parameters, values and errors are those of `conditional_mean`.
    """
    return _coefficients(problem, scales, rng.standard_normal)


def _coefficients(
    problem: Problem, scales: Mapping[str, ArrayLike], noise: Noise
) -> dict[str, FloatArray]:
    passing = MessagePassing(problem)
    values, batch = read_scales(problem, scales)
    parts = [
        passing.down(passing.up(chunk), noise).values
        for chunk in _chunks(values, batch, passing.batch)
    ]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {name: array.reshape(*batch, *array.shape[1:]) for name, array in joined.items()}


def _chunks(
    values: Mapping[str, FloatArray], batch: tuple[int, ...], size: int
) -> Iterator[dict[str, FloatArray]]:
    """Flatten the leading axes and cut them into parts of at most `size`; at least one part."""
    total = int(np.prod(batch))
    flat = {n: a.reshape(total, *a.shape[len(batch) :]) for n, a in values.items()}
    for begin in range(0, max(total, 1), size):
        yield {name: array[begin : begin + size] for name, array in flat.items()}
