"""From an engine's draws to its row: gates, summaries, seconds and effective draws per second."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.comparison import TIMINGS, EngineRow
from nestor.agreement.recovery import RecoveryCheck, check_recovery
from nestor.agreement.sampled import check_sampled_density
from nestor.data.notes import gate_hint
from nestor.engines.clock import all_in, void_speed
from nestor.posterior.log_likelihood import total_log_likelihood
from nestor.posterior.quantities import ComparedQuantities
from nestor.runner.datatree import plain
from nestor.runner.engine import read_attr
from nestor.stats.diagnostics import gates, summaries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr
    from numpy.typing import NDArray

    from nestor.agreement.density import DensityCheck
    from nestor.agreement.oracle import Oracle
    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.stats.diagnostics import Gates, Summaries

    type FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What a run's draws say by themselves.

    Parameters
    ----------
    summaries : Summaries
        Of every random scalar and, last, of the log-likelihood (see `nestor.posterior.quantities`).
    gates : Gates
        Convergence checks.
    log_likelihood : ndarray, (chain, draw)
        Of the whole outcome, computed by the core.
    draws : ndarray, (chain, draw, quantity)
        Of the same quantities.
    """

    summaries: Summaries
    gates: Gates
    log_likelihood: FloatArray
    draws: FloatArray


def diagnose(
    problem: Problem,
    values: Mapping[str, FloatArray],
    stats: Mapping[str, NDArray[Any]],
    settings: Mapping[str, Any],
    dtype: str,
) -> Diagnosis:
    """Summarize draws and check them by the gates.

    Parameters
    ----------
    problem : Problem
        Model and data.
    values : mapping of str to ndarray, (chain, draw, *shape)
        The canonical variables.
    stats : mapping of str to ndarray, (chain, draw)
        What the sampler reports of each draw (see `nestor.engines.protocol.Draws`).
    settings : mapping
        What the sampler really used.
    dtype : {"float64", "float32"}
        In which it computed.
    """
    quantities, scalars = ComparedQuantities(problem), problem.scalars
    likelihood = total_log_likelihood(problem, values)
    draws = quantities.flatten(values, likelihood)
    found, n = summaries(draws), quantities.n_scalars
    checked = gates(
        draws[..., :n],
        scalars.labels,
        scalars.is_node,
        energy=stats.get("energy"),
        diverging=stats.get("diverging"),
        saturated=saturated(stats, settings),
        summary=found.first(n),
        is_scale=scalars.is_scale,
        lp=stats.get("lp"),
        step_size=stats.get("step_size"),
        settings=settings,
        dtype=dtype,
    )
    return Diagnosis(found, checked, likelihood, draws)


def check_density_of_draws(
    problem: Problem,
    name: str,
    contender: Contender,
    values: Mapping[str, FloatArray],
    stats: Mapping[str, NDArray[Any]],
    oracle: Oracle,
) -> tuple[DensityCheck | None, RecoveryCheck | None, str]:
    """Hold draws to the density that they claim to be of: the sampler's own, and exact coefficients.

    Parameters
    ----------
    name : str
        The contender's, as the checks shall name it.
    contender : Contender
        What was run.
    values, stats
        As for `diagnose`.
    oracle : Oracle
        The reference's densities of the same problem.

    Returns
    -------
    sampled_density : DensityCheck or None
        None if the sampler does not report what it sampled.
    recovery : RecoveryCheck or None
        None where coefficients were sampled, or are in single precision, whose rounding hides their noise.
    message : str
        What is wrong; empty if nothing is.
    """
    how = contender.formulation
    density = check_sampled_density(
        problem,
        name,
        contender.dtype,
        values,
        stats,
        oracle.model(how).log_density,
        marginalized=how.is_marginalized,
    )
    recovery = None
    if how.is_marginalized and contender.dtype == "float64":
        recovery = check_recovery(problem, name, values, oracle.whitened)
    message = ""
    if density is not None and not density.same:
        message = (
            f"the log density that it sampled differs from the reference's by "
            f"{density.largest:.2g} relative (bound {density.tolerance:g})"
        )
    elif recovery is not None and not recovery.exact:
        message = f"its coefficients are no exact draws given its scales: {recovery.message}"
    return density, recovery, message


def measure(problem: Problem, row: EngineRow, tree: xr.DataTree) -> EngineRow:
    """Return `row` with everything that its draws say filled in.

    The status becomes gates_failed where the draws do not pass the gates. The gates are kept as an
    attribute of the draws too, so that a file of them says whether they converged.
    """
    settings, timings = read_attr(tree, "settings"), read_attr(tree, "timings")
    values = posterior_of(problem, tree)
    found = diagnose(problem, values, stats_of(tree), settings, row.contender.dtype)
    checked = found.gates
    tree.attrs["gates"] = plain(checked.to_dict())
    seconds = {name: timings.get(name) for name in TIMINGS}
    seconds["all_in_s"] = all_in(seconds["total_s"], seconds["import_s"])
    why_void = void_speed(seconds)
    worst = _worst_ess(checked.ess_bulk_min, checked.ess_tail_min)
    return replace(
        row,
        status="ok" if checked.passed else "gates_failed",
        message="" if checked.passed else _why(problem, row, checked.failures),
        timings=seconds,
        efficiency={
            "ess_per_s_sampling": None if why_void else _rate(worst, seconds["sampling_s"]),
            "ess_per_s": None if why_void else _rate(worst, seconds["warmup_and_sampling_s"]),
            "ess_per_s_total": _rate(worst, seconds["all_in_s"]),
        },
        speed_void=why_void,
        gates=checked,
        summaries=found.summaries,
        tree=tree,
        log_likelihood=found.log_likelihood,
        peak_bytes=int(tree.attrs["peak_bytes"]) or None,
        settings=settings,
        versions=read_attr(tree, "versions"),
        seed=read_attr(tree, "config")["seed"],
    )


def _why(problem: Problem, row: EngineRow, failures: Sequence[str]) -> str:
    """Which gates failed, and what may be the reason."""
    hint = gate_hint(problem, row.contender.formulation)
    return "; ".join([*failures, *([hint] if hint else [])])


def posterior_of(problem: Problem, tree: xr.DataTree) -> dict[str, NDArray[np.float64]]:
    """Return the draws of every canonical variable, (chain, draw, *shape)."""
    posterior = tree["posterior"].dataset
    return {
        name: np.asarray(posterior[name].variable.transpose("chain", "draw", *variable.dims).data)
        for name, variable in problem.variables.items()
    }


def stats_of(tree: xr.DataTree) -> dict[str, NDArray[Any]]:
    """Return the sampler's statistics that it reports, (chain, draw)."""
    return {str(name): a.to_numpy() for name, a in tree["sample_stats"].data_vars.items()}


def saturated(
    stats: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]
) -> NDArray[np.bool_] | None:
    """Whether each trajectory was cut at the largest tree depth; None where that is not known."""
    depth, bound = stats.get("tree_depth"), settings.get("max_tree_depth")
    return None if depth is None or bound is None else np.asarray(depth >= bound)


def _worst_ess(*found: float | None) -> float | None:
    known = [value for value in found if value is not None and np.isfinite(value)]
    return min(known) if len(known) == len(found) else None


def _rate(effective: float | None, seconds: float | None) -> float | None:
    return effective / seconds if effective is not None and seconds else None
