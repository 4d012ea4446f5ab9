"""The result of `sample`: names, shapes, precision, memory, finite values, statistics, timings."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.conformance.check import (
    Check,
    ConformanceFailure,
    Engine,
    NotOffered,
    Subject,
    engines,
    expect,
    for_samplers,
)
from nestor.conformance.problems import contract
from nestor.conformance.session import Build, Run, Session
from nestor.engines.protocol import Draws, SamplerConfig, Timings
from nestor.errors import EngineFailed
from nestor.runner.contract import check_draws, check_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nestor.data.problem import Problem

#: ArviZ's names of the statistics that nestor reads, and the kinds of numbers that they hold.
STATS = {
    "diverging": "b",
    "energy": "f",
    "n_steps": "iu",
    "tree_depth": "iu",
    "acceptance_rate": "f",
    "step_size": "f",
    "lp": "f",
    "log_jacobian": "f",
}
#: Names that libraries use for the same things.
ALIASES = {
    "diverging": ("divergent", "divergence", "divergences", "diverged"),
    "n_steps": ("num_steps", "n_leapfrog", "tree_size", "num_leapfrog_steps"),
    "tree_depth": ("treedepth", "depth"),
    "acceptance_rate": ("accept_prob", "accept_stat", "acceptance_prob", "mean_tree_accept"),
    "step_size": ("stepsize",),
    "lp": ("logp", "log_prob", "model_logp", "lp__"),
}
_PHASES = ("compile", "warmup", "sampling", "postprocess", "transfer")
_SHAPES = "draws_have_every_variable_with_its_shape"


def checks(subject: Subject) -> Iterator[Check]:
    """Yield the checks of a run's draws."""
    by_name: Mapping[str, Callable[[Session, Engine], str | None]] = {
        _SHAPES: _shapes,
        "draws_are_float64_arrays_on_the_host": _host,
        "draws_are_finite_and_inside_the_support": _inside,
        "what_it_hands_over_is_taken": _taken,
        "inherited_and_fixed_entries_are_filled_in": _inherited,
        "statistics_have_the_names_and_shapes_of_arviz": _stats,
        "statistics_are_possible": _possible,
        "timings_are_seconds": _timings,
        "settings_name_what_was_used": _settings,
    }
    yield from for_samplers(subject, by_name, every=True)
    for engine in engines(subject, every=False):
        for chains in (1, 3):
            yield Check(
                "api",
                "any_number_of_chains_runs",
                partial(_chains, chains=chains, engine=engine),
                case=f"{engine}, {chains}",
                words=engine.words,
            )


def build(session: Session, engine: Engine) -> Build:
    """Return the model on which the contract of draws is checked."""
    problem = contract()
    formulation = session.subject.formulation(problem.spec.level_names, engine.coefficients)
    return Build(problem, formulation, engine.sampler)


def config(session: Session, **changes: Any) -> SamplerConfig:
    """Return the configuration of runs that are about something else; chains and draws differ in number."""
    method: Any = session.subject.chain_method
    base = SamplerConfig(chains=2, warmup=50, draws=60, seed=11, chain_method=method)
    return replace(base, **changes)


def first(session: Session, engine: Engine) -> Run:
    """Return the run that most checks look at."""
    return session.run(build(session, engine), config(session))


def misshapen(problem: Problem, run: Run) -> str | None:
    """Say what is wrong with the names and shapes of a run's draws, or None."""
    draws: object = run.draws
    if not isinstance(draws, Draws):
        return f"sample returns a {type(draws).__name__}, not Draws"
    lead = (run.config.chains, run.config.draws)
    if missing := [name for name in problem.variables if name not in run.draws.values]:
        return f"no draws of {', '.join(missing)}"
    if extra := [name for name in run.draws.values if name not in problem.variables]:
        return f"draws of {', '.join(extra)}, which are no variables of the problem"
    for name, variable in problem.variables.items():
        shape = np.shape(run.draws.values[name])
        if shape != (*lead, *variable.shape):
            return f"{name} has shape {shape}, not (chain, draw, ...) = {(*lead, *variable.shape)}"
    return None


def well_formed(session: Session, engine: Engine, run: Run | None = None) -> Run:
    """Return a run whose draws have their names and shapes; else the check has nothing to look at."""
    run = first(session, engine) if run is None else run
    if what := misshapen(contract(), run):
        raise NotOffered(f"not checked, since api.{_SHAPES}[{engine}] fails: {what}")
    return run


def _shapes(session: Session, engine: Engine) -> None:
    what = misshapen(contract(), first(session, engine))
    expect(what is None, str(what))


def _chains(session: Session, engine: Engine, chains: int) -> None:
    well_formed(session, engine)
    run = session.run(build(session, engine), config(session, chains=chains))
    what = misshapen(contract(), run)
    expect(what is None, str(what))


def _host(session: Session, engine: Engine) -> None:
    draws = first(session, engine).draws
    for name, array in (*draws.values.items(), *draws.stats.items()):
        expect(type(array) is np.ndarray, f"{name} is a {type(array).__name__}, not a NumPy array")
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        on_device = hasattr(base, "__dlpack_device__") or hasattr(base, "__cuda_array_interface__")
        expect(not on_device, f"{name} is a view of a {type(base).__name__}: copy it to the host")
    for name, array in draws.values.items():
        expect(array.dtype == np.float64, f"{name} is {array.dtype}, not float64")
        expect(array.flags.c_contiguous, f"{name} is not contiguous in memory")


def _taken(session: Session, engine: Engine) -> None:
    """Hold all of it to the contract as every run does, where an engine's process hands it over."""
    run = well_formed(session, engine)
    try:
        check_draws(contract(), run.draws, run.config.chains, run.config.draws)
        for report in run.progress:
            check_progress(report)
    except EngineFailed as failure:
        raise ConformanceFailure(str(failure)) from failure


def _inside(session: Session, engine: Engine) -> None:
    values = first(session, engine).draws.values
    for name, array in values.items():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        expect(not bad, f"{name} has {bad} draws that are not finite")
    for variable in contract().variables.values():
        if variable.role in ("scale", "family") and variable.name in values:
            least = float(values[variable.name].min())
            expect(least > 0, f"{variable.name} has a draw of {least}, and is positive")


def _inherited(session: Session, engine: Engine) -> None:
    values = well_formed(session, engine).draws.values
    filled = contract().with_inherited(values)
    for name, array in values.items():
        same = (array == filled[name]) | (np.isnan(array) & np.isnan(filled[name]))
        wrong = int(np.count_nonzero(~same))
        expect(not wrong, f"{name} has {wrong} entries that are not their parent's value, or zero")


def _stats(session: Session, engine: Engine) -> str:
    run = first(session, engine)
    lead = (run.config.chains, run.config.draws)
    for name, array in run.draws.stats.items():
        for right, wrong in ALIASES.items():
            expect(name not in wrong, f"the statistic {name!r} is called {right!r}")
        expect(np.shape(array) == lead, f"{name} has shape {np.shape(array)}, not {lead}")
        kinds = STATS.get(name)
        expect(
            kinds is None or array.dtype.kind in kinds, f"{name} has the wrong type {array.dtype}"
        )
    return f"has {', '.join(run.draws.stats)}"


def _possible(session: Session, engine: Engine) -> None:
    stats = first(session, engine).draws.stats
    for name in STATS:
        if name in stats:
            expect(np.isfinite(stats[name]).all(), f"{name} is not finite everywhere")
    ranges = {
        "acceptance_rate": (0.0, 1.0),
        "step_size": (np.finfo(np.float64).tiny, math.inf),
        "n_steps": (1, math.inf),
        "tree_depth": (0, math.inf),
    }
    for name, (low, high) in ranges.items():
        if name in stats:
            numbers = stats[name].astype(np.float64)
            outside = (numbers < low) | (numbers > high)
            expect(not outside.any(), f"{name} leaves [{low:g}, {high:g}]")
    if {"n_steps", "tree_depth"} <= set(stats):
        most = 2.0 ** (stats["tree_depth"].astype(float) + 1)
        expect(
            (stats["n_steps"].astype(float) < most).all(), "more steps than so many doublings allow"
        )


def _timings(session: Session, engine: Engine) -> None:
    run = first(session, engine)
    timings = run.draws.timings
    expect(isinstance(timings, Timings), f"timings are a {type(timings).__name__}")
    for name in (*_PHASES, "warmup_and_sampling"):
        seconds = getattr(timings, name)
        plain = seconds is None or (isinstance(seconds, float | int) and 0 <= seconds < math.inf)
        expect(plain, f"{name} must be seconds or None, not {seconds!r}")
    for name in ("warmup_per_chain", "sampling_per_chain"):
        seconds = getattr(timings, name)
        expect(len(seconds) in (0, run.config.chains), f"{name} has {len(seconds)} entries")
        expect(
            all(0 <= s < math.inf for s in seconds), f"{name} has an impossible entry: {seconds}"
        )
    # All of these happen inside the call; the slack covers clocks that are read one after another.
    apart = (timings.warmup or 0.0) + (timings.sampling or 0.0)
    known = [max(apart, timings.warmup_and_sampling or 0.0)]
    known += [timings.postprocess or 0.0, timings.transfer or 0.0]
    expect(
        sum(known) <= 1.05 * run.seconds + 0.1,
        f"phases take {sum(known):.2f} s together, the whole run {run.seconds:.2f} s",
    )


def _settings(session: Session, engine: Engine) -> None:
    settings = dict(first(session, engine).draws.settings)
    method = session.subject.chain_method
    expect(
        settings.get("chain_method") == method,
        f"settings['chain_method'] is {settings.get('chain_method')!r}; {method!r} was asked for",
    )
    known = [name for name in ("target_accept", "max_tree_depth") if settings.get(name) is None]
    expect(
        len(known) < 2 or len(settings) > 1,
        "settings say nothing about the sampler beside its chain method",
    )
