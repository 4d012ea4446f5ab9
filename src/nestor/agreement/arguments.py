"""The arguments of a comparison, checked before anything runs: contenders, seconds, memory."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nestor.engines.contender import Contender
from nestor.errors import DataError, SpecError
from nestor.errors.arguments import seconds, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.data.problem import Problem
    from nestor.engines.protocol import SamplerConfig


def read_contenders(engines: Sequence[str | Contender], problem: Problem) -> list[Contender]:
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
    """Return the engines of a comparison as a list of texts that are not read yet.

    Raises
    ------
    SpecError
        If it is one text, or nothing that can be gone through.
    """
    if isinstance(engines, Iterable) and not isinstance(engines, str | bytes):
        with contextlib.suppress(TypeError):  # an array of no dimension
            return list(engines)
    raise SpecError(f"engines is a list, such as ['pymc', 'numpyro'], not {shown(engines)}.")


def read_contender(engine: str | Contender, problem: Problem) -> Contender:
    """Read a contender that can sample, its formulation chosen for the problem if it is not named.

    Raises
    ------
    SpecError, Unsupported
        See `Contender.parse_sampler`.
    DataError
        If it sums over rows that are not in memory.
    """
    if not isinstance(engine, Contender):
        engine = Contender.parse_sampler(engine, problem.spec.level_names)
    contender = engine.resolve_formulation(problem)
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
    from nestor.runner.memory import machine_bytes, memory_text

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
