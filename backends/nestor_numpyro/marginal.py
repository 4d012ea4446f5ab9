"""The model in NumPyro with coefficients integrated out: sites for the scales, one factor for the outcome.

Cost. Value and gradient for Chem97 (31,022 rows, 2,410 schools of 131 areas, 2 effects), one core, float64,
inside a loop as NUTS runs it. Expected: 2,410 nodes of some 60 multiplications, a division and a logarithm
each, forth and back, at a multiplication or two a nanosecond 50 to 100 us.
Found, the best of several on two cores that other work kept busy: 105 us in a loop; 320 us called from
Python, most of it for two dozen arguments and a hundred small operations. The same program with `segment_sum`
in place of the slots' sums took 277 us in the loop. 100,000 leaves of 1,000 parents took 7 to 18 ms, twice to
four times what their number would make of it: their arrays do not fit in a cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpyro

from nestor_numpyro.messages import pass_up
from nestor_numpyro.sites import sample_family, sample_scales

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nestor.data.problem import Problem
    from nestor_numpyro.messages import Variances
    from nestor_numpyro.model import Model
    from nestor_numpyro.tree import Tree


def build_marginal_model(problem: Problem, tree: Tree) -> Model:
    """Write a problem as a NumPyro model of its scales.

    Parameters
    ----------
    problem : Problem
        Levels and priors.
    tree : Tree
        Its layout; the arrays come as the model's argument.

    Returns
    -------
    callable
        The model, a function of `TreeData`.
    """

    def model(data: Any) -> None:
        variances: list[Variances] = []
        for level in problem.levels:
            tau: list[Any] = []
            if len(level.varying):
                tau = sample_scales(level, problem.priors.tau[level.name])
            pairs = zip(level.varying.tolist(), tau, strict=True)
            variances.append({j: values**2 for j, values in pairs})
        sigma = sample_family(problem)["sigma"]
        numpyro.factor("y", pass_up(tree, data, sigma, variances).log_marginal)

    return model


def scales_of(problem: Problem, values: Mapping[str, Any]) -> tuple[Any, list[Variances]]:
    """Read sigma and every level's variances, as `pass_up` takes them, from one draw's canonical scales."""
    variances: list[Variances] = []
    for level in problem.levels:
        tau = values.get(f"tau_{level.name}")
        varying = enumerate(level.varying.tolist())
        variances.append({j: tau[..., i] ** 2 for i, j in varying} if tau is not None else {})
    prior = problem.priors.family["sigma"]
    return (prior.value if prior.is_fixed else values["sigma"]), variances
