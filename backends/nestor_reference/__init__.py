"""The reference backend: densities and, for gaussian outcomes, exact posteriors by NumPy and SciPy.

Slow and obvious on purpose. It shares no model code with any sampler's backend.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from nestor.engines.protocol import Capabilities, Device, DType
from nestor.errors import Unsupported
from nestor_reference.dense import DenseConditional, conditional_dense, log_marginal_dense
from nestor_reference.marginal import conditional_draws, conditional_mean, log_marginal
from nestor_reference.model import ReferenceModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor_reference.messages import MessagePassing
    from nestor_reference.theta import Theta

__all__ = [
    "LARGEST_DIMENSION",
    "DenseConditional",
    "ReferenceBackend",
    "ReferenceModel",
    "conditional_dense",
    "conditional_draws",
    "conditional_mean",
    "log_marginal",
    "log_marginal_dense",
]

#: Scales, sigma included, beyond which no mixture of a few t distributions fits a posterior well.
LARGEST_DIMENSION = 30

_NORMAL_ONLY = (
    "never: coefficients of the population integrate out exactly under Normal priors alone"
)
_OTHER_PRIORS = ("StudentT", "Cauchy", "Uniform")


class ReferenceBackend:
    """What every other backend is checked against: log densities, and exact draws for gaussian outcomes."""

    name = "reference"
    requires: tuple[str, ...] = ("scipy",)
    samplers: tuple[str, ...] = ("exact",)
    implementation = "reference"

    def capabilities(self) -> Capabilities:
        """What this backend can do."""
        return Capabilities(
            families=frozenset({"gaussian", "student_t"}),
            centering=frozenset({"centered", "noncentered"}),
            devices=frozenset({"cpu"}),
            dtypes=frozenset({"float64"}),
            chain_methods=frozenset({"sequential", "parallel"}),
            likelihoods=frozenset({"rows", "statistics"}),
            coefficients=frozenset({"sampled", "marginalized"}),
            reasons={
                "gpu": "never: the oracle is plain NumPy",
                "float32": "never: the oracle is exact to double precision",
                "vectorized": "never: its chains are run sequential or parallel",
                "student_t sampling": "never: its sampler integrates coefficients out exactly, which "
                "only a gaussian outcome with Normal priors of beta and gamma allows",
                **{f"{family} sampling": _NORMAL_ONLY for family in _OTHER_PRIORS},
                "exact extend": "never: its draws are nearly independent, so that a run of more draws "
                "(--draws) is as good as going on",
                "target_accept": "never: the exact sampler takes no steps",
                "max_tree_depth": "never: the exact sampler builds no trees",
                "metric": "never: the exact sampler has no metric",
                "warmup": "never: the exact sampler adapts until its proposal is good, which may be long "
                "before warmup is over",
            },
        )

    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries that decide its results."""
        return {"numpy": version("numpy"), "scipy": version("scipy")}

    def compile(
        self,
        problem: Problem,
        formulation: Formulation,
        *,
        sampler: str | None,
        device: Device,
        dtype: DType,
    ) -> ReferenceModel:
        """Return the density of `problem`, and its sampler if asked for.

        The joint density is the same one for every way of centring, and a sum over rows; over leaves only
        where their statistics are all that is in memory. The marginal one is exact for scales of any size.

        Raises
        ------
        Unsupported
            For another sampler, device or precision; with ``sampler="exact"`` or marginalized coefficients
            also for an outcome that is not gaussian, or population coefficients without Normal priors; with
            ``sampler="exact"`` also for more than 30 scales.
        DataError
            If the likelihood is to be a sum over rows that are not in memory.
        """
        if sampler not in (None, *self.samplers):
            raise Unsupported(
                f"the reference has no sampler {sampler!r}; it has: {', '.join(self.samplers)}."
            )
        if problem.spec.family not in (families := self.capabilities().families):
            raise Unsupported(
                f"the reference does not have family {problem.spec.family!r} (not yet ours); "
                f"it has {', '.join(sorted(families))}."
            )
        if (device, dtype) != ("cpu", "float64"):
            raise Unsupported(
                f"the reference runs on cpu in float64 only, not {device} in {dtype}."
            )
        if not formulation.is_marginalized and formulation.likelihood == "rows":
            _ = problem.rows  # refuses where they are not in memory
        if sampler is None and not formulation.is_marginalized:
            return ReferenceModel(problem)
        from nestor_reference.messages import MessagePassing

        passing = MessagePassing(problem)
        return ReferenceModel(
            problem,
            None if sampler is None else _theta(problem, passing),
            passing if formulation.is_marginalized else None,
        )


def _theta(problem: Problem, passing: MessagePassing) -> Theta:
    from nestor_reference.theta import Theta

    theta = Theta(problem, passing)
    if len(theta) > LARGEST_DIMENSION:
        raise Unsupported(
            f"the exact reference samples up to {LARGEST_DIMENSION} scales (sigma included), and this "
            f"model has {len(theta)}: importance weights in so many dimensions are not to be trusted. "
            "Use one scale per level, not one for each parent node, or a sampler."
        )
    return theta
