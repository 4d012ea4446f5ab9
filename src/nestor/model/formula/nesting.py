"""Group terms to levels: one path from the top down, and what varies at each step of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from nestor.errors import SpecError
from nestor.model.formula.bars import bars_by_level
from nestor.model.formula.parts import ParsedLevel, intercept_first
from nestor.model.terms import quoted
from nestor.model.terms.syntax import MOST_LEVELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.model.formula.parts import GroupTerm


def chain(groups: Sequence[GroupTerm]) -> tuple[str, ...]:
    """Return the columns of all paths from the top down, or refuse crossed ones."""
    if (paths := len({group.groups for group in groups})) > MOST_LEVELS:
        raise SpecError(
            f"a hierarchy has at most {MOST_LEVELS} levels, and the groups are {paths:,}."
        )
    crossed = [
        (first, second)
        for first, second in combinations(groups, 2)
        if not set(first.groups) <= set(second.groups)
        and not set(second.groups) <= set(first.groups)
    ]
    if crossed:  # the longest paths say most about the model that was meant
        longest = max(crossed, key=lambda pair: len(pair[0].groups) + len(pair[1].groups))
        raise _crossed(groups, *longest)
    return _path(groups)


def _path(groups: Sequence[GroupTerm]) -> tuple[str, ...]:
    by_length = sorted(groups, key=lambda group: len(group.groups))
    return tuple(dict.fromkeys(name for group in by_length for name in group.groups))


def _crossed(groups: Sequence[GroupTerm], first: GroupTerm, second: GroupTerm) -> SpecError:
    """Make the error for crossed groups, with the nested model that may have been meant."""
    upper = [group for group in groups if set(group.groups) <= set(first.groups)]
    lower = [g for g in groups if set(g.groups) <= set(second.groups) and g not in upper]
    above = _path(upper)
    path = tuple(dict.fromkeys(above + _path(lower)))
    depths = [max(map(path.index, group.groups)) for group in lower]
    placed = [
        replace(group, groups=path[: depth + 1]) for group, depth in zip(lower, depths, strict=True)
    ]
    effects = intercept_first(effect for group in (*upper, *placed) for effect in group.effects)
    # Independent effects, whatever was written: correlated ones cannot be fitted yet.
    independent = [replace(group, correlated=False) for group in (*upper, *placed)]
    nested = " + ".join(bars_by_level(to_levels(path, independent, effects)))
    inner = ":".join(quoted(name) for name in second.groups if name not in above)
    return SpecError(
        f"{first.text} and {second.text} are crossed, and nestor fits nested hierarchies only. If "
        f"every {inner} lies inside one {quoted(above[-1])}, write {nested}."
    )


def to_levels(
    path: tuple[str, ...], groups: Sequence[GroupTerm], order: Sequence[str]
) -> tuple[ParsedLevel, ...]:
    """Put each group term on the level where its path ends; effects in the given order."""
    rank = {effect: position for position, effect in enumerate(order)}
    depths = [max(map(path.index, group.groups)) for group in groups]
    levels = []
    for depth, name in enumerate(path):
        here = [group for group, at in zip(groups, depths, strict=True) if at == depth]
        effects = {effect for group in here for effect in group.effects}
        ordered = tuple(sorted(effects, key=rank.__getitem__))
        levels.append(ParsedLevel(name, ordered, _is_correlated(name, here, effects)))
    return tuple(levels)


def _is_correlated(name: str, here: Sequence[GroupTerm], effects: set[str]) -> bool:
    """Whether the effects of one level are correlated: all of them, or none."""
    blocks = [set(group.effects) for group in here if group.correlated]
    if not blocks:
        return False
    alone = (len(group.effects) == 1 for group in here if not group.correlated)
    if effects in blocks and all(alone):  # a lone effect inside the block adds nothing to it
        return True
    texts = " and ".join(dict.fromkeys(group.text for group in here))
    raise SpecError(
        f"on level {name!r}, some effects are correlated and some are not, from {texts}. nestor "
        "correlates all effects of a level or none: write them in one group term, with ||."
    )
