"""The main job: one problem, several engines; do they agree, and what does each cost?"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nestor.agreement.criteria import Criteria
from nestor.agreement.events import Listener, ignore
from nestor.agreement.lineup import Lineup
from nestor.data.problem import check_problem
from nestor.data.propriety import check_sigma
from nestor.engines.contender import Contender
from nestor.engines.protocol import SamplerConfig
from nestor.errors import DataError, SpecError
from nestor.errors.arguments import path as as_path
from nestor.errors.arguments import seconds, shown
from nestor.runner import store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from nestor.agreement.comparison import Comparison
    from nestor.agreement.verdict import PairResult
    from nestor.data.problem import Problem


def compare(
    problem: Problem,
    engines: Sequence[str],
    *,
    config: SamplerConfig | None = None,
    criteria: Criteria | None = None,
    timeout: float | None = None,
    out: str | Path | None = None,
    listener: Listener = ignore,
) -> Comparison:
    """Run the same posterior on several engines and judge every pair.

    Densities are compared with the reference first; an engine that fails there is not sampled. Each
    engine then samples in a process of its own, one after another.

    Parameters
    ----------
    problem : Problem
        Model and data.
    engines : sequence of str
        Contenders, such as ``["pymc", "numpyro@centered"]``; at least two, all different.
    config : SamplerConfig, optional
        How hard each tries; by default 4 chains of 1000 + 1000 with each library's own settings.
    criteria : Criteria, optional
        What is asked of a pair before it is said to agree.
    timeout : float, optional
        Seconds that each engine may take: for its densities, and again to sample.
    out : path, optional
        Run directory: what is finished there under the same data, spec, settings and versions is used
        again. Without it nothing is written.
    listener : callable
        Hears of progress; see `nestor.agreement.events`.

    Raises
    ------
    SpecError, Unsupported, DataError
        If the engines, settings or directory are wrong; nothing has been run then.
    """
    check_problem(problem)
    config = config or SamplerConfig()
    contenders = read_contenders(engines, problem)
    criteria = criteria or Criteria()
    check_criteria(criteria, config)
    check_timeout(timeout)
    check_memory(problem, config, criteria.until_verdict)
    check_sigma(problem)
    with _folder(out, problem) as (folder, logs):
        keep = out is not None
        lineup = Lineup(problem, config, criteria, folder, timeout, listener, keep=keep)
        try:
            pairs = _run(lineup, contenders)
        except KeyboardInterrupt:
            lineup.interrupt(contenders)
            lineup.result(contenders, lineup.judge(contenders)).save()
            raise
        logs.update(lineup.failed_logs)
        result = lineup.result(contenders, pairs)
        result.save()
    return result


def _run(lineup: Lineup, contenders: Sequence[Contender]) -> tuple[PairResult, ...]:
    """Evaluate, sample and judge, again and again while chains go on."""
    with contextlib.closing(lineup):
        for contender in contenders:
            lineup.check_density(contender)
        for contender in contenders:
            lineup.sample(contender)
        pairs = lineup.judge(contenders)
        while lineup.go_on(pairs):
            pairs = lineup.judge(contenders, before=pairs)
    lineup.finish()
    return pairs


def read_contenders(engines: Sequence[str], problem: Problem) -> list[Contender]:
    """Read the contenders of a comparison.

    Raises
    ------
    SpecError
        If there are fewer than two, one is given twice (auto may choose what another names), or one
        cannot sample.
    Unsupported, DataError
        See `read_contender`.
    """
    contenders = [read_contender(text, problem) for text in engine_list(engines)]
    _check_different(contenders)
    if len(contenders) < 2:
        raise SpecError("a comparison takes at least two engines, such as pymc and numpyro.")
    return contenders


def engine_list(engines: object) -> list[Any]:
    """Return the engines of a comparison as a list, each of which is still to be read.

    Raises
    ------
    SpecError
        If it is one text, or nothing that can be gone through.
    """
    if isinstance(engines, Iterable) and not isinstance(engines, str | bytes):
        with contextlib.suppress(TypeError):  # an array of no dimension
            return list(engines)
    raise SpecError(f"engines is a list, such as ['pymc', 'numpyro'], not {shown(engines)}.")


def read_contender(engine: str, problem: Problem) -> Contender:
    """Read a contender that can sample, its formulation chosen for the problem if it is not named.

    Raises
    ------
    SpecError, Unsupported
        See `Contender.parse_sampler`.
    DataError
        If it sums over rows that are not in memory.
    """
    contender = Contender.parse_sampler(engine, problem.spec.level_names).resolve_formulation(
        problem
    )
    formulation = contender.formulation
    by_rows = not formulation.is_marginalized and formulation.likelihood == "rows"
    if by_rows and not problem.has_rows:
        raise DataError(
            f"engine {contender.name!r} sums its likelihood over rows, and the rows of this problem were "
            "read in batches and are not in memory. Let it use the leaves' statistics "
            f"({contender.engine}@marginalized or {contender.name},statistics), or make the problem of the "
            "whole table: Problem(spec, read_table(path))."
        )
    return contender


def _check_different(contenders: Sequence[Contender]) -> None:
    names = [contender.name for contender in contenders]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not repeated:
        return
    asked = {contender.requested_name for contender in contenders if contender.name == repeated[0]}
    chosen = [name for name in sorted(asked) if name != repeated[0]]
    what = f"engine {repeated[0]!r} is given twice"
    if chosen:
        what += f": {chosen[0]!r} is the same one, as auto chose its formulation"
    raise SpecError(f"{what}; name different ones.")


def check_timeout(timeout: object) -> None:
    """Refuse a timeout that is not a number of seconds greater than zero.

    Raises
    ------
    SpecError
        If it is not.
    """
    seconds("timeout", timeout)


def check_memory(problem: Problem, config: SamplerConfig, until_verdict: int | None = None) -> None:
    """Refuse draws that this machine cannot hold.

    Parameters
    ----------
    problem : Problem
        Model and data.
    config : SamplerConfig
        Chains, and draws of each.
    until_verdict : int, optional
        Draws per chain up to which a comparison may go on.

    Raises
    ------
    SpecError
        With how much they take, how much there is, and how many draws would fit.
    """
    from nestor.runner.ending import memory_text
    from nestor.runner.memory import machine_bytes

    draws = max(config.draws, until_verdict or 0)
    quantities = sum(math.prod(v.shape) for v in problem.variables.values())
    one = config.chains * quantities * 8
    there = machine_bytes()
    if draws * one <= there:
        return
    fit = there // one
    what = (
        f"at most {fit:,} draws per chain fit: ask for fewer draws, or fewer chains"
        if fit
        else "not even one draw per chain fits: ask for fewer chains, or a model with fewer groups"
    )
    raise SpecError(
        f"{config.chains:,} chains of {draws:,} draws of {quantities:,} quantities take "
        f"{memory_text(draws * one)} of memory, and this machine has {memory_text(there)}; {what}."
    )


def check_criteria(criteria: Criteria, config: SamplerConfig) -> None:
    """Refuse criteria that cannot be met by so many chains and draws, or need what is not installed.

    Raises
    ------
    SpecError, Unsupported
        With what to do.
    """
    criteria.check(config.chains, config.draws)
    if criteria.joint:
        from nestor.agreement.joint import require_sklearn

        require_sklearn()


@contextlib.contextmanager
def _folder(out: str | Path | None, problem: Problem) -> Iterator[tuple[Path, set[Path]]]:
    """The run directory, or a private one that is removed, but for the logs that are put into the set."""
    if out is None:
        with store.scratch_folder() as found:
            yield found
        return
    folder = as_path("out", out)
    store.claim(folder, problem)
    with store.locked(folder):
        yield folder, set()
