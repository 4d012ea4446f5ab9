"""A problem compiled with PyMC: ready to be evaluated and sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.errors import Unsupported
from nestor_pymc.density import LogDensity
from nestor_pymc.variables import Variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from nestor.backend import Draws, ProgressCallback, SamplerConfig
    from nestor.formulation import Formulation
    from nestor.problem import Problem
    from nestor_pymc.nutpie_sampler import NutpieSampler
    from nestor_pymc.pymc_sampler import PyMCSampler


class PyMCModel:
    """The compiled model.

    Parameters
    ----------
    problem : Problem
        Model and data.
    formulation : Formulation
        Which levels are centred.
    sampler : {"nutpie", "pymc"} or None
        What to compile for; None compiles the density only.
    """

    def __init__(self, problem: Problem, formulation: Formulation, sampler: str | None) -> None:
        variables = Variables(problem, formulation)
        self._density = LogDensity(variables)
        self._sampler = _compile(variables, sampler)
        if sampler is None:
            self._density.compile()

    def log_density(self, point: Mapping[str, NDArray[np.float64]]) -> float:
        """Log joint density with respect to the canonical variables.

        Parameters
        ----------
        point : mapping of str to ndarray
            Every variable of `Problem.variables`, natural scale. With a sampler, the first call compiles.
        """
        return self._density(point)

    def sample(self, config: SamplerConfig, on_progress: ProgressCallback | None = None) -> Draws:
        """Run all chains; every draw is a NumPy array on return.

        Raises
        ------
        Unsupported
            For vectorized chains, or if the model was compiled for densities only.
        EngineFailed
            If the sampler stops.
        """
        if self._sampler is None:
            raise Unsupported(
                "this model was compiled for densities only: compile it with a sampler."
            )
        return self._sampler.sample(config, on_progress)


def _compile(variables: Variables, sampler: str | None) -> NutpieSampler | PyMCSampler | None:
    if sampler is None:
        return None
    if sampler == "nutpie":
        from nestor_pymc.nutpie_sampler import NutpieSampler

        return NutpieSampler(variables)
    from nestor_pymc.pymc_sampler import PyMCSampler

    return PyMCSampler(variables)
