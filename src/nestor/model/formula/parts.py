"""What a formula says, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nestor.model.terms import INTERCEPT

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class GroupTerm:
    """What varies over the groups of one path: one of a, a:b and a:b:c of `(1 + x || a/b/c)`.

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
