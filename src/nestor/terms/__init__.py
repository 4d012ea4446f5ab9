"""Terms of a formula: products of columns and transforms, parsed from text, evaluated on a table."""

from nestor.terms.columns import numeric_column
from nestor.terms.evaluation import evaluate, is_constant
from nestor.terms.parse import parse_term
from nestor.terms.term import INTERCEPT, TRANSFORMS, Column, Factor, Power, Term, Transform, quoted

__all__ = [
    "INTERCEPT",
    "TRANSFORMS",
    "Column",
    "Factor",
    "Power",
    "Term",
    "Transform",
    "evaluate",
    "is_constant",
    "numeric_column",
    "parse_term",
    "quoted",
]
