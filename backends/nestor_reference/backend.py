"""The class ReferenceBackend: what the oracle can do."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from nestor.engines.capability import require
from nestor.engines.protocol import Capabilities, Device, DType, Missing
from nestor.errors import Unsupported
from nestor_reference.model import ReferenceModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nestor.data.problem import Problem
    from nestor.engines.formulation import Formulation
    from nestor_exact.theta import Theta
    from nestor_reference.messages import MessagePassing

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
                Missing(device="gpu"): "never: the oracle is plain NumPy",
                Missing(dtype="float32"): "never: the oracle is exact to double precision",
                Missing(
                    chain_method="vectorized"
                ): "never: its chains are run sequential or parallel",
                Missing(
                    family="student_t", sampling=True
                ): "never: its sampler integrates coefficients "
                "out exactly, which only a gaussian outcome with Normal priors of beta and gamma allows",
                **{Missing(prior=prior, sampling=True): _NORMAL_ONLY for prior in _OTHER_PRIORS},
                Missing(
                    sampler="exact", resuming=True
                ): "never: its draws are nearly independent, so that "
                "a run of more draws (--draws) is as good as going on",
                Missing(option="target_accept"): "never: the exact sampler takes no steps",
                Missing(option="max_tree_depth"): "never: the exact sampler builds no trees",
                Missing(option="metric"): "never: the exact sampler has no metric",
                Missing(
                    option="warmup"
                ): "never: the exact sampler adapts until its proposal is good, "
                "which may be long before warmup is over",
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
        require(self, problem, formulation, sampler=sampler, device=device, dtype=dtype)
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
    from nestor_exact.theta import Theta

    theta = Theta(problem, passing)
    if len(theta) > LARGEST_DIMENSION:
        raise Unsupported(
            f"the exact reference samples up to {LARGEST_DIMENSION} scales (sigma included), and this "
            f"model has {len(theta)}: importance weights in so many dimensions are not to be trusted. "
            "Use one scale per level, not one for each parent node, or a sampler."
        )
    return theta
