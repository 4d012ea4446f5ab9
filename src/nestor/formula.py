"""lme4-style formulas: `y ~ 1 + x + (1 + x || a/b/c)` to its parts, and back.

The tree that formulae's parser makes is walked here, because formulae knows no double bar and its
own resolver forgets which term stood in which group term.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from itertools import combinations, groupby, pairwise
from typing import TYPE_CHECKING, Any

from nestor.errors import SpecError
from nestor.terms import (
    INTERCEPT,
    Syntax,
    Term,
    column_name,
    interaction,
    is_intercept,
    parse_factor,
    parse_syntax,
    parse_term,
    quoted,
    too_deep,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MOST_TERMS = 1000


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
    """

    outcome: str
    population: tuple[str, ...]
    levels: tuple[ParsedLevel, ...]
    offset: str | None = None
    text: str = field(default="", compare=False)


def parse_formula(text: str) -> ParsedFormula:
    """Parse a formula; nothing in it is evaluated.

    The conventions are lme4's: an implicit intercept, in group terms too, removed by `0 +` or
    `- 1`; `x*z` for x + z + x:z; `a/b` for a and a:b; `|` correlated and `||` independent effects.

    Parameters
    ----------
    text : str
        Such as "income ~ month + (month || degree/state/county)".

    Returns
    -------
    ParsedFormula
        Effects stand in one order everywhere: the intercept, then as first mentioned in the fixed
        part, then as first mentioned in the group terms.

    Raises
    ------
    SpecError
        If the text is no formula of a nested model; the message names the place or the terms.
    """
    syntax = parse_syntax(text)
    try:
        outcome_node, right = _sides(syntax)
        outcome = Term((parse_factor(syntax, outcome_node),))
        parts = _Walk(syntax).part(right)
    except RecursionError:
        raise too_deep() from None
    if not parts.groups:
        raise SpecError(
            "the formula has no group term, and nestor fits hierarchies. Add one, such as "
            f"(1 || group), after its last word ({syntax.at(syntax.tokens[-1].start, len(text))})."
        )
    population = _with_intercept(parts, default=True)
    path = _chain(parts.groups)
    mentioned = (effect for group in parts.groups for effect in group.effects)
    levels = _levels(path, parts.groups, _order((*population, *mentioned)))
    parsed = ParsedFormula(outcome.name, population, levels, _only_offset(parts), text)
    _check_outcome(parsed, outcome, parts.terms)
    return parsed


# --- sides, sums and products -----------------------------------------------------------------


@dataclass(frozen=True)
class _Parts:
    """What a part of a formula adds up to; `intercept` is None where it says nothing of it."""

    terms: tuple[Term, ...] = ()
    intercept: bool | None = None
    groups: tuple[GroupTerm, ...] = ()
    offsets: tuple[str, ...] = ()

    @property
    def only_terms(self) -> bool:
        return self.intercept is None and not self.groups and not self.offsets


def _sides(syntax: Syntax) -> tuple[Any, Any]:
    from formulae import expr

    tildes = [token for token in syntax.tokens if token.kind == "TILDE"]
    if len(tildes) > 1:
        place = syntax.at(tildes[1].start, len(syntax.text))
        raise SpecError(f"the formula has more than one '~' ({place}).")
    node = syntax.tree
    if tildes and isinstance(node, expr.Binary) and node.operator.kind == "TILDE":
        return node.left, node.right
    if tildes:
        place = syntax.at(tildes[0].start, len(syntax.text))
        raise SpecError(f"'~' stands between the outcome and the rest, in no brackets ({place}).")
    place = syntax.at(0, len(syntax.text))
    raise SpecError(
        f"the formula has no '~' ({place}). Write outcome ~ terms + (effects || groups)."
    )


def _order(effects: Iterable[str]) -> tuple[str, ...]:
    """Return effects once each, as first mentioned, but the intercept first."""
    return tuple(sorted(dict.fromkeys(effects), key=lambda effect: effect != INTERCEPT))


def _with_intercept(parts: _Parts, *, default: bool) -> tuple[str, ...]:
    intercept = default if parts.intercept is None else parts.intercept
    names = tuple(term.name for term in parts.terms)
    return (INTERCEPT, *names) if intercept else names


@dataclass(frozen=True)
class _Walk:
    """Reads the parts of a formula off its tree."""

    syntax: Syntax

    def part(self, node: Any) -> _Parts:
        """Read any node that may stand in a sum."""
        from formulae import expr

        if isinstance(node, expr.Literal):
            return self._number(node)
        if isinstance(node, expr.Unary):
            return self._sum(node)
        if isinstance(node, expr.Grouping):
            inner = node.expression
            bar = isinstance(inner, expr.Binary) and inner.operator.kind == "PIPE"
            return _Parts(groups=self._group_terms(inner)) if bar else self.part(inner)
        if isinstance(node, expr.Binary) and node.operator.kind != "STAR_STAR":
            return self._binary(node)
        if isinstance(node, expr.Call) and _is_offset(node):
            return _Parts(offsets=(self._offset(node),))
        if is_intercept(node):
            return _Parts(intercept=True)
        return _Parts(terms=(Term((parse_factor(self.syntax, node),)),))

    def _number(self, node: Any) -> _Parts:
        value = node.value.value
        if value not in (0, 1) or not isinstance(value, int):
            raise self.syntax.error("the only numbers in a sum are 1 and 0, the intercept", node)
        return _Parts(intercept=bool(value))

    def _binary(self, node: Any) -> _Parts:
        kind = node.operator.kind
        if kind in ("PLUS", "MINUS"):
            return self._sum(node)
        if kind == "STAR":
            left, right = self._factors(node)
            products = self._products(node, left, right)
            return _Parts(terms=tuple(dict.fromkeys(left + right + products)))
        if kind == "COLON":
            left, right = self._factors(node)
            return _Parts(terms=tuple(dict.fromkeys(self._products(node, left, right))))
        if kind == "SLASH":
            raise self.syntax.error(
                "'/' nests groups, right of a bar",
                node,
                "Elsewhere write x + x:z in place of x/z; for a ratio, make it a column first.",
            )
        raise self.syntax.error(f"{node.operator.lexeme!r} is out of place", node)

    def _factors(self, node: Any) -> tuple[tuple[Term, ...], tuple[Term, ...]]:
        left, right = self.part(node.left), self.part(node.right)
        if not (left.only_terms and right.only_terms):
            raise self.syntax.error("only columns and transforms can be multiplied", node)
        return left.terms, right.terms

    def _products(
        self, node: Any, left: tuple[Term, ...], right: tuple[Term, ...]
    ) -> tuple[Term, ...]:
        if len(left) * len(right) > _MOST_TERMS:
            raise self.syntax.error(f"this multiplies out to more than {_MOST_TERMS} terms", node)
        return tuple(interaction(self.syntax, node, a, b) for a in left for b in right)

    def _sum(self, node: Any) -> _Parts:
        terms: dict[Term, None] = {}
        intercept: bool | None = None
        groups: list[GroupTerm] = []
        offsets: list[str] = []
        for negative, operand in _operands(node):
            part = self.part(operand)
            if negative:
                self._check_removable(part, terms, operand)
                for term in part.terms:
                    del terms[term]
            else:
                terms |= dict.fromkeys(part.terms)
                groups += part.groups
                offsets += part.offsets
            if part.intercept is not None:
                intercept = part.intercept != negative
        return _Parts(tuple(terms), intercept, tuple(groups), tuple(offsets))

    def _check_removable(self, part: _Parts, terms: dict[Term, None], node: Any) -> None:
        if part.groups or part.offsets:
            raise self.syntax.error("group terms and offsets cannot be subtracted", node)
        for term in part.terms:
            if term not in terms:
                problem = f"{term.name} is subtracted, but does not stand before"
                raise self.syntax.error(problem, node)

    def _offset(self, node: Any) -> str:
        from formulae import expr

        names = (expr.Variable, expr.QuotedName)
        if len(node.args) != 1 or not isinstance(node.args[0], names):
            problem = "offset(e) takes the name of one column"
            raise self.syntax.error(problem, node, "Make anything else a column first.")
        return column_name(self.syntax, node.args[0])

    def _group_terms(self, node: Any) -> tuple[GroupTerm, ...]:
        text = self._bracketed(node.operator)
        varying = self.part(node.left)
        if varying.groups or varying.offsets:
            raise SpecError(f"{text} has a group term or an offset left of its bar.")
        effects = _with_intercept(varying, default=True)
        if not effects:
            raise SpecError(f"{text} has no effect left of its bar. Write (1 || group), say.")
        correlated = node.operator.lexeme == "|" and len(effects) > 1
        paths = self._paths(node.right, text)
        for path in paths:
            for name in path:
                if path.count(name) > 1:
                    raise SpecError(f"{text} uses the column {name!r} twice in one path.")
        return tuple(GroupTerm(effects, path, correlated, text) for path in paths)

    def _bracketed(self, bar: Any) -> str:
        """Return the text of the brackets around a bar."""
        depth = 0
        for token in reversed([t for t in self.syntax.tokens if t.start < bar.start]):
            depth += (token.kind == "LEFT_PAREN") - (token.kind == "RIGHT_PAREN")
            if depth > 0:
                break
        end = self.syntax.closed(token.start, token.end)
        return " ".join(self.syntax.text[token.start : end].split())

    def _paths(self, node: Any, text: str) -> tuple[tuple[str, ...], ...]:
        """Expand a grouping factor: a/b/c to a, a:b, a:b:c."""
        from formulae import expr

        if isinstance(node, expr.Grouping):
            return self._paths(node.expression, text)
        if isinstance(node, (expr.Variable, expr.QuotedName)):
            return ((column_name(self.syntax, node),),)
        kind = node.operator.kind if isinstance(node, expr.Binary) else None
        if kind in ("SLASH", "COLON"):
            left, right = self._paths(node.left, text), self._paths(node.right, text)
            if kind == "SLASH":
                return (*left, *(left[-1] + path for path in right))
            if len(left) == len(right) == 1:
                return (left[0] + right[0],)
        raise self.syntax.error(
            f"the groups of {text} are not columns joined by '/' or ':'",
            node,
            "Write (1 || a/b) for b inside a, or (1 || a:b) for b inside a alone.",
        )


def _is_offset(node: Any) -> bool:
    from formulae import expr

    return isinstance(node.callee, expr.Variable) and node.callee.name.lexeme == "offset"


def _operands(node: Any) -> list[tuple[bool, Any]]:
    """Flatten a sum to (is subtracted, operand); a loop, because long sums are deep trees."""
    from formulae import expr

    operands: list[tuple[bool, Any]] = []
    while isinstance(node, expr.Binary) and node.operator.kind in ("PLUS", "MINUS"):
        operands.append((node.operator.kind == "MINUS", node.right))
        node = node.left
    operands.append((False, node))
    return [_unsigned(*operand) for operand in reversed(operands)]


def _unsigned(negative: bool, node: Any) -> tuple[bool, Any]:
    from formulae import expr

    while isinstance(node, expr.Unary):
        negative ^= node.operator.kind == "MINUS"
        node = node.right
    return negative, node


# --- group terms to levels --------------------------------------------------------------------


def _chain(groups: Sequence[GroupTerm]) -> tuple[str, ...]:
    """Return the columns of all paths from the top down, or refuse crossed ones."""
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
    effects = _order(effect for group in (*upper, *placed) for effect in group.effects)
    nested = " + ".join(_bars_by_level(_levels(path, (*upper, *placed), effects)))
    inner = ":".join(quoted(name) for name in second.groups if name not in above)
    return SpecError(
        f"{first.text} and {second.text} are crossed, and nestor fits nested hierarchies only. If "
        f"every {inner} lies inside one {quoted(above[-1])}, write {nested}."
    )


def _levels(
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
        "correlates all effects of a level or none: write them in one group term, with | or ||."
    )


def _only_offset(parts: _Parts) -> str | None:
    if len(parts.offsets) > 1:
        names = " and ".join(f"offset({quoted(name)})" for name in parts.offsets)
        raise SpecError(f"more than one offset: {names}. Add them up in one column first.")
    return parts.offsets[0] if parts.offsets else None


def _check_outcome(parsed: ParsedFormula, outcome: Term, fixed: Sequence[Term]) -> None:
    """Refuse an outcome that also explains itself."""
    (column,) = outcome.columns
    if any(level.name == column for level in parsed.levels):
        raise SpecError(f"column {column!r} is both the outcome and a grouping level.")
    effects = {parse_term(name) for level in parsed.levels for name in level.effects}
    for term in (*fixed, *effects):
        if column in term.columns:
            raise SpecError(f"the outcome {column!r} is also a predictor, in {term.name}.")
    if column == parsed.offset:
        raise SpecError(f"the outcome {column!r} is also the offset.")


# --- and back to text -------------------------------------------------------------------------


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
    head = f"{parsed.outcome} ~ {_summed(parsed.population)}"
    if parsed.offset is not None:
        head += f" + offset({quoted(parsed.offset)})"
    order = _order_of_mention(parsed)
    by_level = _bars_by_level(parsed.levels)
    mentions = _mentions(parsed, order)
    candidates = [by_level, _bars_by_effect(parsed.levels, order), mentions + by_level]
    for bars in sorted(candidates, key=lambda bars: (len(bars), len(" + ".join(bars)))):
        text = " + ".join((head, *bars))
        try:
            same = parse_formula(text) == parsed
        except SpecError:
            continue
        if same:
            return text
    raise SpecError(f"no formula describes {parsed!r}.")


def _summed(effects: Sequence[str]) -> str:
    slopes = [effect for effect in effects if effect != INTERCEPT]
    return " + ".join(("1" if INTERCEPT in effects else "0", *slopes))


def _bar(
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
    return f"({_summed(effects)} {'|' if correlated else '||'} {groups})"


def _bars_by_level(levels: Sequence[ParsedLevel]) -> list[str]:
    """One group term for each run of levels with the same effects."""
    bars = []
    runs = groupby(enumerate(levels), key=lambda item: (item[1].effects, item[1].correlated))
    for (effects, correlated), run in runs:
        depths = [depth for depth, _ in run]
        if effects:
            bars.append(_bar(effects, levels, depths[0], depths[-1] + 1, correlated=correlated))
    return bars


def _bars_by_effect(levels: Sequence[ParsedLevel], order: Sequence[str]) -> list[str]:
    """One group term for each set of effects that start and stop together; independent ones."""
    if any(level.correlated for level in levels):
        return _bars_by_level(levels)
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
    return [_bar(spans[span], levels, *span, correlated=False) for span in ranked]


def _order_of_mention(parsed: ParsedFormula) -> list[str]:
    """Merge the orders of the fixed part and of all levels into one; empty where they disagree."""
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
            bars.append(_bar([effect], parsed.levels, depths[0], depths[0] + 1, correlated=False))
    return bars
