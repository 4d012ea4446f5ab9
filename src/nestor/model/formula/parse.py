"""Text to formula: the two sides, what they add up to, and the hierarchy in it.

formulae scans and parses the text. Its tree is read here, because formulae's own resolver forgets which
term stood in which group term.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from nestor.errors import SpecError
from nestor.model.formula.parts import (
    GroupTerm,
    ParsedFormula,
    ParsedLevel,
    bars_by_level,
    intercept_first,
)
from nestor.model.terms import INTERCEPT, Term, parse_term, quoted
from nestor.model.terms.parse import (
    MOST_LEVELS,
    MOST_TERMS,
    column_name,
    interaction,
    is_intercept,
    parse_factor,
    parse_syntax,
    too_deep,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.model.terms.parse import Syntax


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
        parts = _TreeReader(syntax).part(right)
    except RecursionError:
        raise too_deep() from None
    if not parts.groups:
        raise SpecError(
            "the formula has no group term, and nestor fits hierarchies. Add one, such as "
            f"(1 || group), after its last word ({syntax.at(syntax.tokens[-1].start, len(text))})."
        )
    population = parts.effects
    path = _nested_path(parts.groups)
    mentioned = (effect for group in parts.groups for effect in group.effects)
    levels = _to_levels(path, parts.groups, intercept_first((*population, *mentioned)))
    bare = any(token.kind == "IDENTIFIER" and token.lexeme == INTERCEPT for token in syntax.tokens)
    parsed = ParsedFormula(outcome.name, population, levels, _only_offset(parts), text, bare)
    _check_outcome(parsed, outcome, parts.terms)
    return parsed


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


def _only_offset(parts: _Sum) -> str | None:
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


def _nested_path(groups: Sequence[GroupTerm]) -> tuple[str, ...]:
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
    nested = " + ".join(bars_by_level(_to_levels(path, independent, effects)))
    inner = ":".join(quoted(name) for name in second.groups if name not in above)
    return SpecError(
        f"{first.text} and {second.text} are crossed, and nestor fits nested hierarchies only. If "
        f"every {inner} lies inside one {quoted(above[-1])}, write {nested}."
    )


def _to_levels(
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


_MOST_PRODUCTS = 1000


@dataclass(frozen=True)
class _TreeReader:
    """Reads the parts of a formula off its tree."""

    syntax: Syntax

    def part(self, node: Any) -> _Sum:
        """Read any node that may stand in a sum."""
        from formulae import expr

        if isinstance(node, expr.Literal):
            return self._number(node)
        if isinstance(node, expr.Unary):
            return self._sum(node)
        if isinstance(node, expr.Grouping):
            inner = node.expression
            bar = isinstance(inner, expr.Binary) and inner.operator.kind == "PIPE"
            return _Sum(groups=self._groups(inner)) if bar else self.part(inner)
        if isinstance(node, expr.Binary) and node.operator.kind != "STAR_STAR":
            return self._binary(node)
        if isinstance(node, expr.Call) and _is_offset(node):
            return _Sum(offsets=(self._offset(node),))
        if is_intercept(node):
            return _Sum(intercept=True)
        return _Sum(terms=(Term((parse_factor(self.syntax, node),)),))

    def _number(self, node: Any) -> _Sum:
        value = node.value.value
        if value not in (0, 1) or not isinstance(value, int):
            raise self.syntax.error("the only numbers in a sum are 1 and 0, the intercept", node)
        return _Sum(intercept=bool(value))

    def _binary(self, node: Any) -> _Sum:
        kind = node.operator.kind
        if kind in ("PLUS", "MINUS"):
            return self._sum(node)
        if kind == "STAR":
            left, right = self._factors(node)
            products = self._products(node, left, right)
            return _Sum(terms=tuple(dict.fromkeys(left + right + products)))
        if kind == "COLON":
            left, right = self._factors(node)
            return _Sum(terms=tuple(dict.fromkeys(self._products(node, left, right))))
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
        if len(left) * len(right) > _MOST_PRODUCTS:
            problem = f"this multiplies out to more than {_MOST_PRODUCTS} terms"
            raise self.syntax.error(problem, node)
        return tuple(interaction(self.syntax, node, a, b) for a in left for b in right)

    def _sum(self, node: Any) -> _Sum:
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
            if len(terms) > MOST_TERMS or len(groups) > MOST_TERMS:
                raise self.syntax.error(f"a formula has at most {MOST_TERMS:,} terms", operand)
        return _Sum(tuple(terms), intercept, tuple(groups), tuple(offsets))

    def _check_removable(self, part: _Sum, terms: dict[Term, None], node: Any) -> None:
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

    def _groups(self, node: Any) -> tuple[GroupTerm, ...]:
        return _group_terms(self.syntax, node, self.part(node.left))


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


@dataclass(frozen=True)
class _Sum:
    """The sum of a part of a formula; `intercept` is None where the part neither adds nor removes it."""

    terms: tuple[Term, ...] = ()
    intercept: bool | None = None
    groups: tuple[GroupTerm, ...] = ()
    offsets: tuple[str, ...] = ()

    @property
    def only_terms(self) -> bool:
        """Whether there is nothing in it but terms that vary with the data."""
        return self.intercept is None and not self.groups and not self.offsets

    @property
    def effects(self) -> tuple[str, ...]:
        """Names of the terms, the intercept first unless it is removed."""
        names = tuple(term.name for term in self.terms)
        return names if self.intercept is False else (INTERCEPT, *names)


def _group_terms(syntax: Syntax, node: Any, varying: _Sum) -> tuple[GroupTerm, ...]:
    """Read the group terms of one bar: one for each path on its right side.

    Parameters
    ----------
    syntax : Syntax
        The whole formula.
    node : expression
        The bar.
    varying : _Sum
        Its left side.

    Raises
    ------
    SpecError
        If one side cannot stand in a group term.
    """
    text = _bracketed(syntax, node.operator)
    if varying.groups or varying.offsets:
        raise SpecError(f"{text} has a group term or an offset left of its bar.")
    effects = varying.effects
    if not effects:
        raise SpecError(f"{text} has no effect left of its bar. Write (1 || group), say.")
    correlated = node.operator.lexeme == "|" and len(effects) > 1
    paths = _paths(syntax, node.right, text)
    for path in paths:
        for name in path:
            if path.count(name) > 1:
                raise SpecError(f"{text} uses the column {name!r} twice in one path.")
    return tuple(GroupTerm(effects, path, correlated, text) for path in paths)


def _bracketed(syntax: Syntax, bar: Any) -> str:
    """Return the text of the brackets around a bar."""
    depth = 0
    for token in reversed([t for t in syntax.tokens if t.start < bar.start]):
        depth += (token.kind == "LEFT_PAREN") - (token.kind == "RIGHT_PAREN")
        if depth > 0:
            break
    end = syntax.closed(token.start, token.end)
    return " ".join(syntax.text[token.start : end].split())


def _paths(syntax: Syntax, node: Any, text: str) -> tuple[tuple[str, ...], ...]:
    """Expand a grouping factor: a/b/c to a, a:b, a:b:c."""
    from formulae import expr

    if isinstance(node, expr.Grouping):
        return _paths(syntax, node.expression, text)
    if isinstance(node, (expr.Variable, expr.QuotedName)):
        return ((column_name(syntax, node),),)
    kind = node.operator.kind if isinstance(node, expr.Binary) else None
    if kind in ("SLASH", "COLON"):
        left, right = _paths(syntax, node.left, text), _paths(syntax, node.right, text)
        if kind == "SLASH":
            return (*left, *(left[-1] + path for path in right))
        if len(left) == len(right) == 1:
            return (left[0] + right[0],)
    raise syntax.error(
        f"the groups of {text} are not columns joined by '/' or ':'",
        node,
        "Write (1 || a/b) for b inside a, or (1 || a:b) for b inside a alone.",
    )
