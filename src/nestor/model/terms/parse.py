"""Tree to term."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nestor.errors import SpecError
from nestor.model.terms.syntax import ALLOWED, parse_syntax, too_deep
from nestor.model.terms.term import INTERCEPT, Column, Power, Term, Transform

if TYPE_CHECKING:
    from nestor.model.terms.syntax import Syntax
    from nestor.model.terms.term import Factor

_LARGEST_EXPONENT = 100


def parse_term(text: str) -> Term:
    """Parse one term, such as "Intercept", "month", "log(month)", "month:x" or "I(month**2)".

    Parameters
    ----------
    text : str
        One term; sums and x*z (three terms) are refused.

    Returns
    -------
    Term
        Its `name` is the canonical text, which may differ from the one given.

    Raises
    ------
    SpecError
        If the text is not one term.
    """
    syntax = parse_syntax(text)
    try:
        return _product(syntax, syntax.tree)
    except RecursionError:
        raise too_deep() from None


def _product(syntax: Syntax, node: Any) -> Term:
    from formulae import expr

    if isinstance(node, expr.Grouping):
        return _product(syntax, node.expression)
    if isinstance(node, expr.Binary) and node.operator.kind == "COLON":
        left, right = _product(syntax, node.left), _product(syntax, node.right)
        return interaction(syntax, node, left, right)
    if is_intercept(node):
        return Term()
    return Term((parse_factor(syntax, node),))


def interaction(syntax: Syntax, node: Any, left: Term, right: Term) -> Term:
    """Multiply two terms that stand at `node`.

    Raises
    ------
    SpecError
        If one is the intercept, or both share a factor.
    """
    if not left.factors or not right.factors:
        raise syntax.error("the intercept takes no part in an interaction", node)
    try:
        return Term(left.factors + right.factors)
    except SpecError as error:
        raise syntax.error(str(error), node) from None


def is_intercept(node: Any) -> bool:
    """Whether a node of the tree is the bare word Intercept."""
    from formulae import expr

    return isinstance(node, expr.Variable) and node.name.lexeme == INTERCEPT


def parse_factor(syntax: Syntax, node: Any) -> Factor:
    """Read a column, transform or power from a node of the tree.

    Raises
    ------
    SpecError
        If it is anything else: arithmetic, a number, a call of something unknown.
    """
    from formulae import expr

    if isinstance(node, expr.Grouping):
        return parse_factor(syntax, node.expression)
    if isinstance(node, (expr.Variable, expr.QuotedName)):
        return Column(column_name(syntax, node))
    if isinstance(node, expr.Call):
        return _transform(syntax, node)
    if isinstance(node, expr.Binary) and node.operator.kind == "STAR_STAR":
        base, exponent = parse_factor(syntax, node.left), _exponent(syntax, node.right)
        if isinstance(base, Power):
            raise syntax.error("a power of a power: write one exponent", node)
        return base if exponent == 1 else Power(base, exponent)
    raise syntax.error(
        "this is neither a column nor a transform of one",
        node,
        f"Make other arithmetic a column of the table first. {ALLOWED}",
    )


def column_name(syntax: Syntax, node: Any) -> str:
    """Return the name of the column at a node that is a name, backquoted or not."""
    from formulae import expr

    if is_intercept(node):
        raise syntax.error("a column called Intercept is written `Intercept`", node)
    if isinstance(node, expr.Variable):
        return str(node.name.lexeme)
    name = str(node.expression.lexeme[1:-1])
    if not name:
        raise syntax.error("a name is missing between the backquotes", node)
    return name


def _transform(syntax: Syntax, node: Any) -> Factor:
    from formulae import expr

    name = node.callee.name.lexeme if isinstance(node.callee, expr.Variable) else None
    if name is None:
        raise syntax.error("only a transform can be followed by '('", node, ALLOWED)
    if name == "offset":
        raise syntax.error("offset(e) stands alone, between the terms of the sum", node)
    if len(node.args) != 1:
        raise syntax.error(f"{name}() takes one argument, the name of a column", node)
    argument = parse_factor(syntax, node.args[0])
    return argument if name == "I" else Transform(name, argument)


def _exponent(syntax: Syntax, node: Any) -> int | float:
    from formulae import expr

    if isinstance(node, expr.Grouping):
        return _exponent(syntax, node.expression)
    if isinstance(node, expr.Unary) and isinstance(node.right, expr.Literal):
        number = _exponent(syntax, node.right)
        return -number if node.operator.kind == "MINUS" else number
    value = node.value.value if isinstance(node, expr.Literal) else None
    if value is None or not 0 < abs(value) <= _LARGEST_EXPONENT:
        problem = f"an exponent is a number other than 0, at most {_LARGEST_EXPONENT} in size"
        raise syntax.error(problem, node)
    return int(value) if float(value).is_integer() else float(value)
