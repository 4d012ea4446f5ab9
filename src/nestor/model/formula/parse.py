"""Text to formula: the two sides, what they add up to, and the hierarchy in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nestor.errors import SpecError
from nestor.model.formula.nesting import chain, to_levels
from nestor.model.formula.parts import ParsedFormula, intercept_first
from nestor.model.formula.walk import Walk
from nestor.model.terms import INTERCEPT, Term, parse_term, quoted
from nestor.model.terms.parse import parse_factor
from nestor.model.terms.syntax import parse_syntax, too_deep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.model.formula.groups import Sum
    from nestor.model.terms.syntax import Syntax


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
        parts = Walk(syntax).part(right)
    except RecursionError:
        raise too_deep() from None
    if not parts.groups:
        raise SpecError(
            "the formula has no group term, and nestor fits hierarchies. Add one, such as "
            f"(1 || group), after its last word ({syntax.at(syntax.tokens[-1].start, len(text))})."
        )
    population = parts.effects
    path = chain(parts.groups)
    mentioned = (effect for group in parts.groups for effect in group.effects)
    levels = to_levels(path, parts.groups, intercept_first((*population, *mentioned)))
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


def _only_offset(parts: Sum) -> str | None:
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
