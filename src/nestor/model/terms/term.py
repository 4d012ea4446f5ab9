"""Terms: products of columns, transforms and powers, with one canonical text."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from nestor.errors import SpecError

INTERCEPT = "Intercept"
TRANSFORMS = ("scale", "center", "log", "exp", "sqrt")

_NO_NAMES = frozenset({INTERCEPT, "True", "False", "None"})


def quoted(name: str) -> str:
    """Return a column's name as a formula writes it, in backquotes where it needs them.

    Raises
    ------
    SpecError
        If the name is empty or holds a backquote: no formula can write it.
    """
    # Neither a null character nor half a pair of surrogates can be written to a file of results.
    if not name or {"`", "\0"} & set(name) or any("\ud800" <= c <= "\udfff" for c in name):
        raise SpecError(f"a formula cannot name the column {name!r}: rename it")
    plain = (name[0].isalpha() or name[0] == "_") and all(c.isalnum() or c in "._" for c in name)
    return name if plain and name not in _NO_NAMES else f"`{name}`"


@dataclass(frozen=True)
class Column:
    """A column of the table."""

    name: str

    @property
    def text(self) -> str:
        """Canonical text."""
        return quoted(self.name)


@dataclass(frozen=True)
class Transform:
    """One of `TRANSFORMS`, applied to a column, a power or another transform."""

    function: str
    argument: Factor

    @property
    def text(self) -> str:
        """Canonical text; a power needs no I() inside a transform."""
        inner = self.argument
        bare = inner.bare if isinstance(inner, Power) else inner.text
        return f"{self.function}({bare})"


@dataclass(frozen=True)
class Power:
    """A column or transform raised to a constant, neither 0 nor 1."""

    base: Column | Transform
    exponent: int | float

    @property
    def bare(self) -> str:
        """Text without the I() that protects it in R and in Bambi."""
        exponent = format(Decimal(repr(self.exponent)), "f")
        return f"{self.base.text}**{exponent}"

    @property
    def text(self) -> str:
        """Canonical text."""
        return f"I({self.bare})"


type Factor = Column | Transform | Power


@dataclass(frozen=True)
class Term:
    """A product of factors; without any, the intercept.

    Parameters
    ----------
    factors : tuple of Column, Transform or Power
        In any order: they are kept sorted by their text, so that z:x and x:z are one term.

    Raises
    ------
    SpecError
        If a factor stands in the product twice.
    """

    factors: tuple[Factor, ...] = ()

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.factors, key=lambda factor: factor.text))
        for one, other in pairwise(ordered):
            if one == other:
                text = one.text
                raise SpecError(f"{text}:{text} repeats {text}. A square is written I(x**2)")
        object.__setattr__(self, "factors", ordered)

    @property
    def name(self) -> str:
        """Canonical text, which `parse_term` reads back."""
        return ":".join(factor.text for factor in self.factors) or INTERCEPT

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns used, each once."""
        return tuple(dict.fromkeys(_column_of(factor) for factor in self.factors))


def _column_of(factor: Factor) -> str:
    while not isinstance(factor, Column):
        factor = factor.argument if isinstance(factor, Transform) else factor.base
    return factor.name
