"""From a cell's draws to its diagnostics: effective draws, gates, gradients, and whose they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.sampled import check_sampled_density
from nestor.bench.record import DiagnosticsDocument
from nestor.diagnostics import gates, summaries
from nestor.measure import posterior_of, saturated, stat

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from nestor.agreement.density import DensityCheck
    from nestor.agreement.oracle import Oracle
    from nestor.contender import Contender
    from nestor.diagnostics import Gates, Summaries
    from nestor.problem import Problem


@dataclass(frozen=True)
class Measured:
    """What the draws of one run say.

    Parameters
    ----------
    summaries : Summaries
        Of every random scalar.
    diagnostics : DiagnosticsDocument
        Gates, smallest effective sizes and gradients.
    sampled_density : DensityCheck or None
        The density that was sampled, against the reference's; None if the sampler does not report it.
    """

    summaries: Summaries
    diagnostics: DiagnosticsDocument
    sampled_density: DensityCheck | None


def measure_draws(
    problem: Problem,
    name: str,
    contender: Contender,
    tree: xr.DataTree,
    settings: dict[str, Any],
    oracle: Oracle,
) -> Measured:
    """Measure one run; the shared quantities are the random scalars of the problem.

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
    values = posterior_of(problem, tree)
    stats = {str(n): a.to_numpy() for n, a in tree["sample_stats"].data_vars.items()}
    how = contender.formulation
    check = check_sampled_density(
        problem,
        name,
        contender.dtype,
        values,
        stats,
        oracle.model(how).log_density,
        marginalized=how.is_marginalized,
    )
    draws = problem.scalars.flatten(values)
    found = summaries(draws)
    checked = gates(
        draws,
        problem.scalars.labels,
        problem.scalars.is_node,
        energy=stat(tree, "energy"),
        diverging=stat(tree, "diverging"),
        saturated=saturated(tree, settings),
        summary=found,
    )
    steps = stat(tree, "n_steps")
    gradients = None if steps is None else int(steps.sum())
    labels = problem.scalars.labels
    return Measured(found, _diagnostics(checked, found, labels, gradients), check)


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
