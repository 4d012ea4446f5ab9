"""Terms of a formula: products of columns and transforms, parsed from text, evaluated on a table."""

from nestor.model.terms.evaluation import evaluate, is_constant, numeric_column
from nestor.model.terms.parse import parse_term
from nestor.model.terms.term import (
    INTERCEPT,
    TRANSFORMS,
    Column,
    Factor,
    Power,
    Term,
    Transform,
    quoted,
)

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
