"""From an engine's draws to its row: gates, summaries, seconds and effective draws per second."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.comparison import TIMINGS, EngineRow
from nestor.diagnostics import gates, summaries
from nestor.likelihood import log_likelihood
from nestor.quantities import Quantities
from nestor.runner.engine import read_attr

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from nestor.problem import Problem


def measure(problem: Problem, row: EngineRow, tree: xr.DataTree) -> EngineRow:
    """Return `row` with everything that its draws say filled in.

    The status becomes gates_failed where the draws do not pass the gates.
    """
    quantities = Quantities(problem)
    values = posterior_of(problem, tree)
    likelihood = log_likelihood(problem, values)
    draws = quantities.flatten(values, likelihood)
    settings, timings = read_attr(tree, "settings"), read_attr(tree, "timings")
    found = summaries(draws)
    scalars = quantities.n_scalars
    checked = gates(
        draws[..., :scalars],
        problem.scalars.labels,
        problem.scalars.is_node,
        energy=stat(tree, "energy"),
        diverging=stat(tree, "diverging"),
        saturated=saturated(tree, settings),
        summary=found.first(scalars),
    )
    seconds = {name: timings.get(name) for name in TIMINGS}
    worst = _worst_ess(checked.ess_bulk_min, checked.ess_tail_min)
    return replace(
        row,
        status="ok" if checked.passed else "gates_failed",
        message="; ".join(checked.failures),
        timings=seconds,
        efficiency={
            "ess_per_s_sampling": _rate(worst, seconds["sampling_s"]),
            "ess_per_s_total": _rate(worst, seconds["total_s"]),
        },
        gates=checked,
        summaries=found,
        tree=tree,
        log_likelihood=likelihood,
        peak_bytes=int(tree.attrs["peak_bytes"]) or None,
        settings=settings,
        versions=read_attr(tree, "versions"),
        seed=read_attr(tree, "config")["seed"],
    )


def posterior_of(problem: Problem, tree: xr.DataTree) -> dict[str, NDArray[np.float64]]:
    """Return the draws of every canonical variable, (chain, draw, *shape)."""
    posterior = tree["posterior"].dataset
    return {
        name: np.asarray(posterior[name].variable.transpose("chain", "draw", *variable.dims).data)
        for name, variable in problem.variables.items()
    }


def stat(tree: xr.DataTree, name: str) -> NDArray[Any] | None:
    """Return a sampler's statistic, (chain, draw); None where it does not report it."""
    stats = tree["sample_stats"]
    return np.asarray(stats[name].values) if name in stats else None


def saturated(tree: xr.DataTree, settings: dict[str, Any]) -> NDArray[np.bool_] | None:
    """Whether each trajectory was cut at the largest tree depth; None where that is not known."""
    depth, bound = stat(tree, "tree_depth"), settings.get("max_tree_depth")
    return None if depth is None or bound is None else np.asarray(depth >= bound)


def _worst_ess(*found: float | None) -> float | None:
    known = [value for value in found if value is not None and np.isfinite(value)]
    return min(known) if len(known) == len(found) else None


def _rate(effective: float | None, seconds: float | None) -> float | None:
    return effective / seconds if effective is not None and seconds else None
