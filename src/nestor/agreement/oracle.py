"""The reference's densities of one problem: the joint one, and that of the scales alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nestor.agreement.density import N_POINTS, density_points
from nestor.agreement.stand_in import rounding_of_sums
from nestor.engines import registry
from nestor.engines.formulation import Formulation

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.engines.protocol import CompiledModel


class Oracle:
    """What contenders' densities are compared with: the reference's density of what each formulation samples.

    Parameters
    ----------
    problem : Problem
        Model and data.
    n : int
        Number of points.

    Attributes
    ----------
    points : list of dict of str to ndarray
        Where densities are compared; all canonical variables.
    """

    def __init__(self, problem: Problem, n: int = N_POINTS) -> None:
        self._problem = problem
        self.points = density_points(problem, n)
        self._models: dict[bool, CompiledModel] = {}
        self._log_densities: dict[bool, list[float]] = {}

    def model(self, formulation: Formulation) -> CompiledModel:
        """Return the reference's density: the joint one, or without coefficients that are marginalized.

        Raises
        ------
        Unsupported
            If coefficients are to be marginalized that cannot be.
        """
        key = formulation.is_marginalized
        if key not in self._models:
            levels = self._problem.spec.level_names
            words = ["marginalized"] if key else []
            if not key and not self._problem.has_rows:
                words = ["statistics"]
            self._models[key] = registry.get("reference").backend.compile(
                self._problem,
                Formulation.parse(words, levels),
                sampler=None,
                device="cpu",
                dtype="float64",
            )
        return self._models[key]

    def whitened(self, values: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        """Return the noise of coefficients, (chain, draw, *shape); see `nestor.agreement.recovery`."""
        levels = self._problem.spec.level_names
        model: Any = self.model(Formulation.marginalized(levels))
        found: dict[str, NDArray[np.float64]] = model.whitened(values)
        return found

    def log_densities(self, formulation: Formulation) -> list[float]:
        """Its values at the points; errors are those of `model`."""
        key = formulation.is_marginalized
        if key not in self._log_densities:
            model = self.model(formulation)
            self._log_densities[key] = [model.log_density(point) for point in self.points]
        return self._log_densities[key]

    def rounding(self, formulation: Formulation) -> list[float]:
        """How far right densities at the points may be apart where sums stand for rows."""
        marginalized = formulation.is_marginalized
        return [rounding_of_sums(self._problem, p, marginalized=marginalized) for p in self.points]
