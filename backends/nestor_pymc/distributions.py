"""nestor's prior families as PyMC distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

# The name of PyMC's distribution and of its parameters, in the order of nestor's. PyMC's Exponential and
# Gamma take rates, its InverseGamma a scale, and it calls the scale of the Cauchy distributions beta.
_DISTRIBUTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Normal": ("Normal", ("mu", "sigma")),
    "StudentT": ("StudentT", ("nu", "mu", "sigma")),
    "Cauchy": ("Cauchy", ("alpha", "beta")),
    "HalfNormal": ("HalfNormal", ("sigma",)),
    "HalfStudentT": ("HalfStudentT", ("nu", "sigma")),
    "HalfCauchy": ("HalfCauchy", ("beta",)),
    "Exponential": ("Exponential", ("lam",)),
    "Gamma": ("Gamma", ("alpha", "beta")),
    "InverseGamma": ("InverseGamma", ("alpha", "beta")),
    "LogNormal": ("LogNormal", ("mu", "sigma")),
    "Uniform": ("Uniform", ("lower", "upper")),
}


def declare(
    family: str,
    name: str,
    args: Sequence[NDArray[np.float64]],
    *,
    shape: tuple[int, ...],
    transformed: bool,
) -> Any:
    """Declare a random variable with a prior of `family` in the current PyMC model.

    Parameters
    ----------
    family : str
        A name from `nestor.model.priors.PRIOR_FAMILIES`.
    name : str
        The random variable's name.
    args : sequence of ndarray
        The family's parameters in its order, broadcastable to `shape`. They must be float64 arrays: PyMC
        folds Python numbers in float32.
    shape : tuple of int
        Its shape.
    transformed : bool
        Whether it is sampled on the unconstrained space, or its density is wanted on the natural scale.
    """
    import pymc as pm

    distribution, parameters = _DISTRIBUTIONS[family]
    options = {} if transformed else {"default_transform": None}
    named = dict(zip(parameters, args, strict=True))
    return getattr(pm, distribution)(name, **named, shape=shape, **options)
