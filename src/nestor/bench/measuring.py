"""From a cell's draws to its diagnostics: effective draws, gates, gradients, and whose they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.measure import check_density_of_draws, diagnose, posterior_of, stats_of
from nestor.bench.record import DiagnosticsDocument
from nestor.posterior.quantities import ComparedQuantities

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from nestor.agreement.density import DensityCheck
    from nestor.agreement.oracle import Oracle
    from nestor.agreement.recovery import RecoveryCheck
    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.stats.diagnostics import Gates, Summaries


@dataclass(frozen=True)
class Measured:
    """What the draws of one run say.

    Parameters
    ----------
    summaries : Summaries
        Of every random scalar and, last, of the log-likelihood, as `nestor compare` compares them.
    labels : tuple of str
        Their names.
    diagnostics : DiagnosticsDocument
        Gates, smallest effective sizes of the scalars, and gradients.
    sampled_density : DensityCheck or None
        The density that was sampled, against the reference's; None if the sampler does not report it.
    recovery : RecoveryCheck or None
        Whether marginalized coefficients were recovered exactly; None where that cannot be seen.
    wrong : str
        What is wrong with the density that was sampled, or with the recovery; empty if nothing is.
    """

    summaries: Summaries
    labels: tuple[str, ...]
    diagnostics: DiagnosticsDocument
    sampled_density: DensityCheck | None
    recovery: RecoveryCheck | None
    wrong: str


def measure_draws(
    problem: Problem,
    name: str,
    contender: Contender,
    tree: xr.DataTree,
    settings: dict[str, Any],
    oracle: Oracle,
) -> Measured:
    """Measure one run by the checks of `nestor compare`.

    Parameters
    ----------
    name : str
        The contender's, as it was asked for.
    contender : Contender
        What was run.
    tree : DataTree
        Its draws.
    settings : dict
        What the sampler really used.
    oracle : Oracle
        The reference's densities of the same problem.
    """
    values, stats = posterior_of(problem, tree), stats_of(tree)
    density, recovery, wrong = check_density_of_draws(
        problem, name, contender, values, stats, oracle
    )
    found = diagnose(problem, values, stats, settings, contender.dtype)
    steps = stats.get("n_steps")
    gradients = None if steps is None else int(steps.sum())
    quantities = ComparedQuantities(problem)
    own = found.summaries.first(quantities.n_scalars)
    diagnostics = _diagnostics(found.gates, own, problem.scalars.labels, gradients)
    return Measured(found.summaries, quantities.labels, diagnostics, density, recovery, wrong)


def _diagnostics(
    checked: Gates, found: Summaries, labels: tuple[str, ...], gradients: int | None
) -> DiagnosticsDocument:
    largest = [r for r in (checked.rhat_max, checked.rhat_node_max) if r is not None]
    bulk, bulk_quantity = _smallest(found.ess_bulk, labels)
    tail, tail_quantity = _smallest(found.ess_tail, labels)
    return DiagnosticsDocument(
        passed=checked.passed,
        failures=list(checked.failures),
        ess_bulk_min=bulk,
        ess_bulk_quantity=bulk_quantity,
        ess_tail_min=tail,
        ess_tail_quantity=tail_quantity,
        rhat_max=_finite(max(largest)) if largest else None,
        ebfmi_min=_finite(checked.ebfmi_min),
        divergences=checked.n_divergent,
        treedepth_hits=checked.n_saturated,
        gradients=gradients,
    )


def _smallest(values: NDArray[np.float64], labels: tuple[str, ...]) -> tuple[float | None, str]:
    """Smallest value and whose it is; where one cannot be computed there is no smallest."""
    if values.size == 0 or not np.isfinite(values).all():
        return None, ""
    at = int(np.argmin(values))
    return float(values[at]), labels[at]


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
