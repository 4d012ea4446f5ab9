"""Run one engine on one problem: compare its densities, sample, check its draws.

`compare`, `verify`, `bench`, `fit` and the makers of reference posteriors all run and judge an engine by
`run_engine`, or by its steps: `check_density`, sampling (`nestor.runner.engine`), `engine_result`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.density import DensityCheck, compare_densities
from nestor.agreement.engine_result import (
    TIMINGS,
    EngineFailure,
    EngineResult,
    EngineRow,
    ResultStatus,
)
from nestor.agreement.events import (
    DensityFinished,
    EngineFinished,
    Listener,
    WorkerEvent,
    ignore,
)
from nestor.agreement.recovery import RecoveryCheck, check_recovery
from nestor.agreement.sampled_density import check_sampled_density
from nestor.data.notes import gate_hint
from nestor.engines.clock import all_in, void_speed
from nestor.posterior.log_likelihood import total_log_likelihood
from nestor.posterior.quantities import ComparedQuantities
from nestor.runner import engine
from nestor.runner.datatree import plain, posterior_of, stats_of
from nestor.runner.engine import read_attr
from nestor.runner.limits import Limits
from nestor.stats.diagnostics import gates, summaries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    from nestor.agreement.density import ReferenceDensity
    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.engines.protocol import SamplerConfig
    from nestor.stats.arrays import FloatArray
    from nestor.stats.diagnostics import Gates, Summaries


_NO_LIMITS = Limits()


def run_engine(
    problem: Problem,
    contender: Contender,
    config: SamplerConfig,
    log: Path,
    *,
    reference: ReferenceDensity | None = None,
    density: DensityCheck | EngineFailure | None = None,
    timeout: float | None = None,
    limits: Limits = _NO_LIMITS,
    listener: Listener = ignore,
) -> EngineRow:
    """Run one engine, each task in a process of its own, and check what it returns.

    Its log densities are compared with the reference's first; an engine that fails there is not sampled.
    Its draws are then checked by the gates, and held to the density that they claim to be of.

    Parameters
    ----------
    problem : Problem
        Model and data.
    contender : Contender
        Who, how and where.
    config : SamplerConfig
        Used as it is: its seed is the engine's seed (see `Contender.config`).
    log : Path
        File that receives whatever the engine prints; appended to.
    reference : ReferenceDensity, optional
        What densities are compared with; without it no density is, and coefficients are not checked.
    density : DensityCheck or EngineFailure, optional
        What `check_density` returned, where that has been done.
    timeout : float, optional
        Seconds for the densities, and again to sample.
    limits : Limits
        What its processes may use.
    listener : callable
        Hears of progress; see `nestor.agreement.events`.

    Returns
    -------
    EngineResult or EngineFailure
        Never raises for what the engine does.
    """
    found = _run(
        problem,
        contender,
        config,
        log,
        reference=reference,
        density=density,
        timeout=timeout,
        limits=limits,
        listener=listener,
    )
    listener(EngineFinished(found))
    return found


def _run(
    problem: Problem,
    contender: Contender,
    config: SamplerConfig,
    log: Path,
    *,
    reference: ReferenceDensity | None,
    density: DensityCheck | EngineFailure | None,
    timeout: float | None,
    limits: Limits,
    listener: Listener,
) -> EngineRow:
    if reference is not None and density is None:
        density = check_density(
            problem, contender, reference, log, timeout=timeout, limits=limits, listener=listener
        )
    if isinstance(density, EngineFailure):
        return density

    def listen(event: dict[str, Any]) -> None:
        listener(WorkerEvent(contender.name, "sample", event))

    outcome, tree = engine.sample(
        problem, contender, config, log, timeout=timeout, listener=listen, limits=limits
    )
    if tree is None:
        return EngineFailure.of_process(contender, outcome, density)
    listen({"event": "phase", "phase": "summarizing"})
    return engine_result(
        problem,
        contender,
        tree,
        reference=reference,
        density=density,
        elapsed_s=outcome.seconds,
    )


def check_density(
    problem: Problem,
    contender: Contender,
    reference: ReferenceDensity,
    log: Path,
    *,
    timeout: float | None = None,
    limits: Limits = _NO_LIMITS,
    listener: Listener = ignore,
) -> DensityCheck | EngineFailure:
    """Compare an engine's log densities with the reference's, before any sampling.

    Parameters
    ----------
    problem, contender, reference, log, timeout, limits, listener
        As for `run_engine`.

    Returns
    -------
    DensityCheck or EngineFailure
        A failure if the process did not end well, or the densities differ.
    """
    outcome, found = engine.evaluate(
        problem,
        contender,
        reference.points,
        log,
        timeout=timeout,
        listener=lambda event: listener(WorkerEvent(contender.name, "density", event)),
        limits=limits,
    )
    if found is None:
        return EngineFailure.of_process(contender, outcome, where="log density: ")
    return judge_density(contender, reference, found, listener)


def judge_density(
    contender: Contender,
    reference: ReferenceDensity,
    found: Sequence[float],
    listener: Listener = ignore,
) -> DensityCheck | EngineFailure:
    """Compare log densities that an engine has evaluated at the reference's points."""
    # Only now: if coefficients cannot be marginalized here, the engine's own process has refused first.
    expected = reference.log_densities(contender.formulation)
    rounding = reference.rounding(contender.formulation)
    check = compare_densities(contender.name, contender.dtype, expected, found, rounding)
    listener(DensityFinished(check))
    if check.same:
        return check
    message = (
        f"its log density differs from the reference's by {check.largest:.2g} relative "
        f"(bound {check.tolerance:g}); it was not sampled"
    )
    return EngineFailure(contender, "density_failed", message, check)


def engine_result(
    problem: Problem,
    contender: Contender,
    tree: xr.DataTree,
    *,
    reference: ReferenceDensity | None = None,
    density: DensityCheck | None = None,
    elapsed_s: float | None = None,
    reused: bool = False,
    looks: tuple[int, ...] = (),
    cannot_extend: str = "",
    restarts: int = 0,
) -> EngineResult:
    """Check draws and say what they cost.

    The gates are kept as an attribute of the draws too, so that a file of them says whether they converged.

    Parameters
    ----------
    problem, contender
        What was run.
    tree : DataTree
        The draws, with the attributes that `nestor.runner.engine.sample` gives them.
    reference : ReferenceDensity, optional
        What the sampled density, and recovered coefficients, are compared with.
    density, elapsed_s, reused, looks, cannot_extend, restarts
        As in `EngineResult`.
    """
    settings, recorded = read_attr(tree, "settings"), read_attr(tree, "timings")
    values, stats = posterior_of(problem, tree), stats_of(tree)
    found = diagnose(problem, values, stats, settings, contender.dtype)
    tree.attrs["gates"] = plain(found.gates.to_dict())
    sampled, recovery = None, None
    if reference is not None:
        sampled = _check_sampled(problem, contender, values, stats, reference)
        recovery = _check_recovery(problem, contender, values, reference)
    status, message = _status(problem, contender, found.gates, sampled, recovery)
    timings = {name: recorded.get(name) for name in TIMINGS}
    timings["all_in_s"] = all_in(timings["total_s"], timings["import_s"])
    speed_void = void_speed(timings)
    return EngineResult(
        contender=contender,
        status=status,
        message=message,
        tree=tree,
        gates=found.gates,
        summaries=found.summaries,
        log_likelihood=found.log_likelihood,
        timings=timings,
        efficiency=_efficiency(found.gates, timings, speed_void),
        speed_void=speed_void,
        settings=settings,
        versions=read_attr(tree, "versions"),
        seed=read_attr(tree, "config")["seed"],
        peak_bytes=int(tree.attrs["peak_bytes"]) or None,
        elapsed_s=elapsed_s,
        density=density,
        sampled_density=sampled,
        recovery=recovery,
        reused=reused,
        looks=looks,
        cannot_extend=cannot_extend,
        restarts=restarts,
    )


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Summaries and convergence checks of a run's draws.

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
        saturated=_saturated(stats, settings),
        summary=found.first(n),
        is_scale=scalars.is_scale,
        lp=stats.get("lp"),
        step_size=stats.get("step_size"),
        settings=settings,
        dtype=dtype,
    )
    return Diagnosis(found, checked, likelihood, draws)


def _saturated(
    stats: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]
) -> NDArray[np.bool_] | None:
    """Whether each trajectory was cut at the largest tree depth; None where that is not known."""
    depth, bound = stats.get("tree_depth"), settings.get("max_tree_depth")
    return None if depth is None or bound is None else np.asarray(depth >= bound)


def _check_sampled(
    problem: Problem,
    contender: Contender,
    values: Mapping[str, FloatArray],
    stats: Mapping[str, NDArray[Any]],
    reference: ReferenceDensity,
) -> DensityCheck | None:
    """Compare the density that was sampled with the reference's; None if it is not reported."""
    formulation = contender.formulation
    return check_sampled_density(
        problem,
        contender.name,
        contender.dtype,
        values,
        stats,
        reference.model(formulation).log_density,
        marginalized=formulation.is_marginalized,
    )


def _check_recovery(
    problem: Problem,
    contender: Contender,
    values: Mapping[str, FloatArray],
    reference: ReferenceDensity,
) -> RecoveryCheck | None:
    """Test recovered coefficients; None where there are none, or single precision hides their noise."""
    if not contender.formulation.is_marginalized or contender.dtype != "float64":
        return None
    return check_recovery(problem, contender.name, values, reference.whitened)


def _status(
    problem: Problem,
    contender: Contender,
    checked: Gates,
    sampled: DensityCheck | None,
    recovery: RecoveryCheck | None,
) -> tuple[ResultStatus, str]:
    """Return the status and its reason; a wrong density comes before draws that have not converged."""
    if sampled is not None and not sampled.same:
        return "density_failed", (
            f"the log density that it sampled differs from the reference's by "
            f"{sampled.largest:.2g} relative (bound {sampled.tolerance:g})"
        )
    if recovery is not None and not recovery.exact:
        what = f"its coefficients are no exact draws given its scales: {recovery.message}"
        return "density_failed", what
    if checked.passed:
        return "ok", ""
    hint = gate_hint(problem, contender.formulation)
    return "gates_failed", "; ".join([*checked.failures, *([hint] if hint else [])])


def _efficiency(
    checked: Gates, timings: Mapping[str, float | None], speed_void: str
) -> dict[str, float | None]:
    """Effective draws per second; see `EngineResult`."""
    worst = _worst_ess(checked.ess_bulk_min, checked.ess_tail_min)
    return {
        "ess_per_s_sampling": None if speed_void else _rate(worst, timings["sampling_s"]),
        "ess_per_s": None if speed_void else _rate(worst, timings["warmup_and_sampling_s"]),
        "ess_per_s_total": _rate(worst, timings["all_in_s"]),
    }


def _worst_ess(*found: float | None) -> float | None:
    known = [value for value in found if value is not None and np.isfinite(value)]
    return min(known) if len(known) == len(found) else None


def _rate(effective: float | None, seconds: float | None) -> float | None:
    return effective / seconds if effective is not None and seconds else None
