"""Group terms, such as (1 + x || a/b), read off the tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nestor.errors import SpecError
from nestor.model.formula.parts import GroupTerm
from nestor.model.terms import INTERCEPT
from nestor.model.terms.parse import column_name

if TYPE_CHECKING:
    from nestor.model.terms import Term
    from nestor.model.terms.syntax import Syntax


@dataclass(frozen=True)
class Sum:
    """What a part of a formula adds up to; `intercept` is None where it says nothing of it."""

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


def group_terms(syntax: Syntax, node: Any, varying: Sum) -> tuple[GroupTerm, ...]:
    """Read the group terms of one bar: one for each path that its right side stands for.

    Parameters
    ----------
    syntax : Syntax
        The whole formula.
    node : expression
        The bar.
    varying : Sum
        Its left side.

    Raises
    ------
    SpecError
        If one side is none of a group term.
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
