"""Options: each is honoured and appears in the settings, or is refused with a reason."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

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
from nestor.conformance.drawing import build, config, first, misshapen, well_formed
from nestor.conformance.problems import contract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nestor.conformance.session import Run, Session
    from nestor.engines.protocol import Progress

#: Far from any library's default, so that a run that ignores them differs from one that does not.
TARGET_ACCEPT = 0.97
MAX_TREE_DEPTH = 2
#: As many as by default, where the usual run of this kit has too few to adapt in.
WARMUP = 1000


def checks(subject: Subject) -> Iterator[Check]:
    """Yield the checks of options, chain methods, progress and silence."""
    options = {
        "target_accept": _target_accept,
        "max_tree_depth": _max_tree_depth,
        "metric": _metric,
        "warmup": _warmup,
    }
    for name, option in options.items():
        yield from for_samplers(subject, {f"{name}_is_honoured": option}, name)
    by_name = {
        "progress_rises_to_the_total_for_every_chain": _progress,
        "what_a_callback_raises_ends_the_run": _callback,
        "it_prints_nothing": _silent,
    }
    yield from for_samplers(subject, by_name)
    for engine in engines(subject, every=False):
        for method in subject.offers("chain_methods"):
            yield Check(
                "api",
                "every_chain_method_runs",
                partial(_method, engine=engine, method=method),
                case=f"{engine}, {method}",
                words=engine.words | {method},
            )


def _honoured(session: Session, engine: Engine, name: str, value: float) -> Run:
    """Run with an option; fail unless the settings say so and the draws are not the default's."""
    default = well_formed(session, engine)
    run = session.run(build(session, engine), config(session, **{name: value}))
    found = run.draws.settings.get(name)
    expect(found == value, f"settings[{name!r}] is {found!r}; {value!r} was asked for")
    expect(
        any(not np.array_equal(a, run.draws.values[n]) for n, a in default.draws.values.items()),
        f"{name}={value} gives the very draws of the default, {default.draws.settings.get(name)!r}",
    )
    return run


def _target_accept(session: Session, engine: Engine) -> None:
    _honoured(session, engine, "target_accept", TARGET_ACCEPT)


def _max_tree_depth(session: Session, engine: Engine) -> None:
    stats = _honoured(session, engine, "max_tree_depth", MAX_TREE_DEPTH).draws.stats
    if "tree_depth" in stats:
        deepest = int(stats["tree_depth"].max())
        expect(deepest <= MAX_TREE_DEPTH, f"a tree of depth {deepest}, with at most 2 allowed")
    if "n_steps" in stats:
        most = int(stats["n_steps"].max())
        expect(most < 2**MAX_TREE_DEPTH, f"{most} steps in a tree of at most 2 doublings")


def _metric(session: Session, engine: Engine) -> None:
    """An engine whose default this is already gives the same draws; any other one must give others."""
    default = well_formed(session, engine)
    run = session.run(build(session, engine), config(session, metric="diagonal_draws"))
    found = run.draws.settings.get("metric_estimate")
    expect(found == "draws", f"settings['metric_estimate'] is {found!r}, not 'draws'")
    same = all(np.array_equal(a, run.draws.values[n]) for n, a in default.draws.values.items())
    usual = default.draws.settings.get("metric_estimate")
    expect(
        usual == "draws" or not same,
        f"metric=diagonal_draws gives the very draws of the default, {usual!r}",
    )
    expect(
        usual != "draws" or same,
        "metric=diagonal_draws is said to be the default and gives other draws",
    )


def _warmup(session: Session, engine: Engine) -> None:
    """An engine that adapts keeps other draws after a short warmup than after a long one."""
    usual = well_formed(session, engine)
    run = session.run(build(session, engine), config(session, warmup=WARMUP))
    what = misshapen(contract(), run)
    expect(what is None, str(what))
    short, long = usual.draws.values, run.draws.values
    names = [variable.name for variable in contract().random_variables]
    same = [name for name in names if np.array_equal(short[name], long[name])]
    if not same:
        return
    if reason := session.subject.reason(engine.words | {"warmup"}):
        raise NotOffered(reason)
    raise ConformanceFailure(
        f"warmup={usual.config.warmup} and warmup={WARMUP} give the very same draws of "
        f"{', '.join(same)}: is it ignored? (Where there is nothing to adapt, Capabilities.reasons "
        "says so under 'warmup'.)"
    )


def _method(session: Session, engine: Engine, method: str) -> None:
    well_formed(session, engine)
    run = session.run(build(session, engine), config(session, chain_method=method))
    what = misshapen(contract(), run)
    expect(what is None, str(what))
    found = run.draws.settings.get("chain_method")
    expect(found == method, f"settings['chain_method'] is {found!r}; {method!r} was asked for")
    beta = run.draws.values["beta"]
    expect(not np.array_equal(beta[0], beta[1]), "both chains have the same draws")


def _progress(session: Session, engine: Engine) -> None:
    run = first(session, engine)
    total = run.config.warmup + run.config.draws
    for report in run.progress:
        expect(0 <= report.chain < run.config.chains, f"a report of chain {report.chain}")
        expect(report.total == total, f"a report of {report.total} iterations; they are {total}")
        expect(report.divergences >= 0, f"a report of {report.divergences} divergences")
    for chain in range(run.config.chains):
        _progress_of_chain([r for r in run.progress if r.chain == chain], chain, total)


def _progress_of_chain(mine: list[Progress], chain: int, total: int) -> None:
    expect(mine, f"no report of chain {chain}")
    done = [report.done for report in mine]
    expect(done == sorted(done), f"chain {chain} goes back: {done}")
    expect(done[0] >= 0 and done[-1] == total, f"chain {chain} ends at {done[-1]} of {total}")
    order = ["compile", "warmup", "sampling", "postprocess"]
    unknown = sorted({str(r.phase) for r in mine} - set(order))
    expect(not unknown, f"reports of unknown phases {unknown}")
    phases = [order.index(report.phase) for report in mine]
    expect(phases == sorted(phases), f"phases of chain {chain} go back")


class _Enough(Exception):  # noqa: N818 - it stands for Ctrl-C
    """What the callback of this check raises."""


def _callback(session: Session, engine: Engine) -> None:
    model = session.model(build(session, engine))

    def stop(_: Progress) -> None:
        raise _Enough

    try:
        model.sample(config(session), stop)
    except _Enough:
        return
    raise ConformanceFailure(
        "the run goes on though its callback has raised: Ctrl-C would not end it"
    )


def _silent(session: Session, engine: Engine) -> None:
    first(session, engine)  # what compilers say, they have said
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _output() as printed:
            session.run_again(build(session, engine), config(session))
    expect(not printed, f"sample prints: {b''.join(printed)[:200].decode(errors='replace')!r}")


@contextmanager
def _output() -> Iterator[list[bytes]]:
    """Collect what the process writes to its standard output and error, from Python and below it."""
    found: list[bytes] = []
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    streams = sys.stdout, sys.stderr
    with tempfile.TemporaryFile() as into:
        text = open(os.dup(into.fileno()), "w", buffering=1, encoding="utf-8")  # noqa: SIM115, PTH123
        try:
            os.dup2(into.fileno(), 1)
            os.dup2(into.fileno(), 2)
            sys.stdout = sys.stderr = text
            yield found
        finally:
            text.close()
            sys.stdout, sys.stderr = streams
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)
            into.seek(0)
            if printed := into.read():
                found.append(printed)
