"""Sums and products of a formula, read off the tree that formulae's parser made.

The tree is walked here, because formulae's own resolver forgets which term stood in which group
term.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nestor.model.formula.groups import Sum, group_terms
from nestor.model.terms.parse import column_name, interaction, is_intercept, parse_factor
from nestor.model.terms.syntax import MOST_TERMS
from nestor.model.terms.term import Term

if TYPE_CHECKING:
    from nestor.model.formula.parts import GroupTerm
    from nestor.model.terms.syntax import Syntax

_MOST_PRODUCTS = 1000


@dataclass(frozen=True)
class Walk:
    """Reads the parts of a formula off its tree."""

    syntax: Syntax

    def part(self, node: Any) -> Sum:
        """Read any node that may stand in a sum."""
        from formulae import expr

        if isinstance(node, expr.Literal):
            return self._number(node)
        if isinstance(node, expr.Unary):
            return self._sum(node)
        if isinstance(node, expr.Grouping):
            inner = node.expression
            bar = isinstance(inner, expr.Binary) and inner.operator.kind == "PIPE"
            return Sum(groups=self._groups(inner)) if bar else self.part(inner)
        if isinstance(node, expr.Binary) and node.operator.kind != "STAR_STAR":
            return self._binary(node)
        if isinstance(node, expr.Call) and _is_offset(node):
            return Sum(offsets=(self._offset(node),))
        if is_intercept(node):
            return Sum(intercept=True)
        return Sum(terms=(Term((parse_factor(self.syntax, node),)),))

    def _number(self, node: Any) -> Sum:
        value = node.value.value
        if value not in (0, 1) or not isinstance(value, int):
            raise self.syntax.error("the only numbers in a sum are 1 and 0, the intercept", node)
        return Sum(intercept=bool(value))

    def _binary(self, node: Any) -> Sum:
        kind = node.operator.kind
        if kind in ("PLUS", "MINUS"):
            return self._sum(node)
        if kind == "STAR":
            left, right = self._factors(node)
            products = self._products(node, left, right)
            return Sum(terms=tuple(dict.fromkeys(left + right + products)))
        if kind == "COLON":
            left, right = self._factors(node)
            return Sum(terms=tuple(dict.fromkeys(self._products(node, left, right))))
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

    def _sum(self, node: Any) -> Sum:
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
        return Sum(tuple(terms), intercept, tuple(groups), tuple(offsets))

    def _check_removable(self, part: Sum, terms: dict[Term, None], node: Any) -> None:
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
        return group_terms(self.syntax, node, self.part(node.left))


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
