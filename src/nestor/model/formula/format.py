"""A formula back to text."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING

from nestor.errors import SpecError
from nestor.model.formula.parse import parse_formula
from nestor.model.formula.parts import bar, bars_by_effect, bars_by_level, summed
from nestor.model.terms import INTERCEPT, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.model.formula.parts import ParsedFormula


def format_formula(parsed: ParsedFormula) -> str:
    """Write a formula in its canonical form, with every intercept spelled out.

    Of the ways to write the group terms, the one with the fewest terms, then the shortest.

    Parameters
    ----------
    parsed : ParsedFormula
        As `parse_formula` returns it.

    Returns
    -------
    str
        Such as "income ~ 1 + month + (1 + month || degree/state/county)". Parsing it gives
        `parsed` again.

    Raises
    ------
    SpecError
        If no formula says the same: no level, a last level without effects, effects in different
        orders, names that are not canonical.
    """
    head = f"{parsed.outcome} ~ {summed(parsed.population)}"
    if parsed.offset is not None:
        head += f" + offset({quoted(parsed.offset)})"
    order = _order_of_mention(parsed)
    by_level = bars_by_level(parsed.levels)
    mentions = _mentions(parsed, order)
    candidates = [by_level, bars_by_effect(parsed.levels, order), mentions + by_level]
    for bars in sorted(candidates, key=lambda bars: (len(bars), len(" + ".join(bars)))):
        text = " + ".join((head, *bars))
        try:
            same = parse_formula(text) == parsed
        except SpecError:
            continue
        if same:
            return text
    raise SpecError(f"no formula describes {parsed!r}.")


def _order_of_mention(parsed: ParsedFormula) -> list[str]:
    """Merge the effects' orders in the fixed part and in all levels; empty if they contradict each other."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for effects in (parsed.population, *(level.effects for level in parsed.levels)):
        for effect in effects:
            sorter.add(effect)
        for before, after in pairwise(effects):
            sorter.add(after, before)
    try:
        return list(sorter.static_order())
    except CycleError:
        return []


def _mentions(parsed: ParsedFormula, order: Sequence[str]) -> list[str]:
    """One group term for each effect outside the fixed part, to fix their order by mention."""
    bars = []
    for effect in order:
        depths = [i for i, level in enumerate(parsed.levels) if effect in level.effects]
        if depths and effect not in (INTERCEPT, *parsed.population):
            bars.append(bar([effect], parsed.levels, depths[0], depths[0] + 1, correlated=False))
    return bars
