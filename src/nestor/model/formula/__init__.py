"""lme4-style formulas: `y ~ 1 + x + (1 + x || a/b/c)` to its parts, and back."""

from nestor.model.formula.format import format_formula
from nestor.model.formula.parse import parse_formula
from nestor.model.formula.parts import ParsedFormula, ParsedLevel

__all__ = ["ParsedFormula", "ParsedLevel", "format_formula", "parse_formula"]
