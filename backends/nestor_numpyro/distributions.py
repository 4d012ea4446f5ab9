"""The prior families of nestor as NumPyro distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpyro.distributions as dist

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: From a family's name to a distribution of its parameters, in the order of `nestor.model.priors`.
#: NumPyro calls InverseGamma's scale "rate". It has no half Student-t: folding the symmetric one at zero
#: doubles its density.
DISTRIBUTIONS: Mapping[str, Callable[..., Any]] = {
    "Normal": dist.Normal,
    "StudentT": dist.StudentT,
    "Cauchy": dist.Cauchy,
    "HalfNormal": dist.HalfNormal,
    "HalfStudentT": lambda nu, sigma: dist.FoldedDistribution(dist.StudentT(nu, 0.0, sigma)),
    "HalfCauchy": dist.HalfCauchy,
    "Exponential": dist.Exponential,
    "Gamma": dist.Gamma,
    "InverseGamma": dist.InverseGamma,
    "LogNormal": dist.LogNormal,
    "Uniform": dist.Uniform,
}
