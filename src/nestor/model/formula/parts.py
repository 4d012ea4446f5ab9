"""The parts of a formula as data, and levels written as group terms."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from nestor.model.terms import INTERCEPT, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class GroupTerm:
    """Effects that vary over the groups of one path: one of a, a:b and a:b:c of `(1 + x || a/b/c)`.

    Parameters
    ----------
    effects : tuple of str
        Term names, "Intercept" included.
    groups : tuple of str
        Column names of the grouping factor, ("a", "b") for a:b.
    correlated : bool
        Written with a single bar, and more than one effect.
    text : str
        The whole group term as written.
    """

    effects: tuple[str, ...]
    groups: tuple[str, ...]
    correlated: bool
    text: str


@dataclass(frozen=True)
class ParsedLevel:
    """One level of the hierarchy and what varies on it.

    Parameters
    ----------
    name : str
        Column name.
    effects : tuple of str
        Term names; empty where nothing varies on this level.
    correlated : bool
        Whether the effects are correlated; never with fewer than two.
    """

    name: str
    effects: tuple[str, ...]
    correlated: bool


@dataclass(frozen=True)
class ParsedFormula:
    """The parts of a formula.

    Parameters
    ----------
    outcome : str
        Term name, such as "y" or "log(y)".
    population : tuple of str
        Term names of the fixed part; "Intercept" first, if it is there.
    levels : tuple of ParsedLevel
        From the top down.
    offset : str, optional
        Column name.
    text : str
        As written; plays no part in comparisons.
    names_constant : bool
        Whether the constant is written as the bare word Intercept; plays no part in comparisons either.
    """

    outcome: str
    population: tuple[str, ...]
    levels: tuple[ParsedLevel, ...]
    offset: str | None = None
    text: str = field(default="", compare=False)
    names_constant: bool = field(default=False, compare=False)


def intercept_first(effects: Iterable[str]) -> tuple[str, ...]:
    """Return effects once each, as first mentioned, but the intercept first."""
    return tuple(sorted(dict.fromkeys(effects), key=lambda effect: effect != INTERCEPT))


def summed(effects: Sequence[str]) -> str:
    """Write effects as a sum, with 1 or 0 for the intercept."""
    slopes = [effect for effect in effects if effect != INTERCEPT]
    return " + ".join(("1" if INTERCEPT in effects else "0", *slopes))


def bar(
    effects: Sequence[str],
    levels: Sequence[ParsedLevel],
    start: int,
    stop: int,
    *,
    correlated: bool,
) -> str:
    """Write the effects of levels start to stop - 1 as one group term."""
    names = [quoted(level.name) for level in levels]
    groups = "/".join((":".join(names[: start + 1]), *names[start + 1 : stop]))
    return f"({summed(effects)} {'|' if correlated else '||'} {groups})"


def bars_by_level(levels: Sequence[ParsedLevel]) -> list[str]:
    """One group term for each run of levels with the same effects."""
    bars = []
    runs = groupby(enumerate(levels), key=lambda item: (item[1].effects, item[1].correlated))
    for (effects, correlated), run in runs:
        depths = [depth for depth, _ in run]
        if effects:
            bars.append(bar(effects, levels, depths[0], depths[-1] + 1, correlated=correlated))
    return bars


def bars_by_effect(levels: Sequence[ParsedLevel], order: Sequence[str]) -> list[str]:
    """One group term for each set of effects that start and stop together; independent ones."""
    if any(level.correlated for level in levels):
        return bars_by_level(levels)
    spans: dict[tuple[int, int], list[str]] = {}
    for effect in order:
        runs = groupby(range(len(levels)), key=lambda depth: effect in levels[depth].effects)
        for varies, run in runs:
            depths = list(run)
            if varies:
                spans.setdefault((depths[0], depths[-1] + 1), []).append(effect)
    # by the first slope: the intercept comes first wherever it is mentioned
    slopes = {span: [e for e in effects if e != INTERCEPT] for span, effects in spans.items()}
    ranked = sorted(spans, key=lambda span: order.index(slopes[span][0]) if slopes[span] else -1)
    return [bar(spans[span], levels, *span, correlated=False) for span in ranked]
