"""The quantities compared between contenders: every random scalar of a problem, and the log-likelihood."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.stats.arrays import FloatArray

LOG_LIKELIHOOD = "log_likelihood"
_GROUPS = {"population": "population", "scale": "scales", "family": "family"}


class ComparedQuantities:
    """The compared quantities of a problem: its scalars in their order, then the log-likelihood.

    The log-likelihood sees joint errors that every marginal hides (Modrak et al. 2023, "Simulation-based
    calibration checking for Bayesian computation: The choice of test quantities shapes sensitivity").

    Parameters
    ----------
    problem : Problem
        Model and data.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def __len__(self) -> int:
        return len(self._problem.scalars) + 1

    @property
    def n_scalars(self) -> int:
        """Number of scalars of the posterior; they come first."""
        return len(self._problem.scalars)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Readable names."""
        return (*self._problem.scalars.labels, LOG_LIKELIHOOD)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The group of each: population, scales, family, a level's name, or log_likelihood."""
        scalars = self._problem.scalars
        names = [_GROUPS.get(v.role, v.name.removeprefix("beta_")) for v in scalars.variables]
        return (*(names[i] for i in scalars.variable.tolist()), LOG_LIKELIHOOD)

    @cached_property
    def is_node(self) -> NDArray[np.bool_]:
        """Which are node coefficients, (n,)."""
        return np.append(self._problem.scalars.is_node, False)

    def flatten(
        self,
        values: Mapping[str, FloatArray],
        log_likelihood: FloatArray,
    ) -> FloatArray:
        """Draws of all quantities, (chain, draw, n).

        Parameters
        ----------
        values : mapping of str to ndarray, (chain, draw, *shape)
            The canonical variables.
        log_likelihood : ndarray, (chain, draw)
            See `nestor.posterior.log_likelihood.total_log_likelihood`.
        """
        scalars = self._problem.scalars.flatten(values)
        return np.concatenate([scalars, log_likelihood[..., None]], axis=2)
