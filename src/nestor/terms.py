"""Terms of a formula: products of columns and transforms, parsed from text, evaluated on a table.

Text is scanned and parsed, never run: what is neither a column name nor one of the transforms
below is refused before any table is seen.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.errors import DataError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd
    from numpy.typing import NDArray

    type Table = Mapping[str, Any] | pd.DataFrame

INTERCEPT = "Intercept"
TRANSFORMS = ("scale", "center", "log", "exp", "sqrt")
ALLOWED = (
    "Allowed are column names (in backquotes if they have spaces or signs), "
    f"{', '.join(f'{name}(x)' for name in TRANSFORMS)}, I(x**2), x:z, x*z, offset(e), "
    "(x | a/b) and (x || a/b)."
)

_CALLS = (*TRANSFORMS, "I", "offset")
_NO_NAMES = frozenset({INTERCEPT, "True", "False", "None"})
_CLOSING = {"LEFT_PAREN": "RIGHT_PAREN", "LEFT_BRACE": "RIGHT_BRACE"}
_OPERATORS = {"PLUS", "MINUS", "STAR", "STAR_STAR", "SLASH", "COLON", "PIPE", "TILDE"}
_KINDS = _OPERATORS | {"IDENTIFIER", "BQNAME", "NUMBER", *_CLOSING, *_CLOSING.values()}
_HINTS = {
    "PIPE": "Group terms stand in parentheses, with one bar, | or ||: (1 | a).",
    "TILDE": "A formula has one '~', with the outcome on its left.",
}
_LARGEST_EXPONENT = 100
_ROWS_SHOWN = 5
_NAMES_SHOWN = 10


# --- what a term is ---------------------------------------------------------------------------


def quoted(name: str) -> str:
    """Return a column's name as a formula writes it, in backquotes where it needs them.

    Raises
    ------
    SpecError
        If the name is empty or holds a backquote: no formula can write it.
    """
    if not name or "`" in name:
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


# --- text to tree -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Token:
    """A word of the text and where it stands; formulae's parser accepts it as one of its own."""

    kind: str
    lexeme: str
    start: int
    end: int
    value: Any = None

    @property
    def literal(self) -> Token:
        """The token itself: the parser keeps only literals of numbers, and messages need places."""
        return self


@dataclass(frozen=True)
class Syntax:
    """A text, its tokens, and the expression tree that formulae's parser made of them."""

    text: str
    tokens: tuple[Token, ...]
    tree: Any = None

    def at(self, start: int, end: int) -> str:
        """Name a place in the text, on one line."""
        found = " ".join(self.text[start:end].split())
        shown = found if len(found) <= 60 else found[:57] + "..."
        return f"at character {start + 1}: {shown!r}"

    def place(self, node: Any) -> str:
        """Name the place of a node of the tree."""
        tokens = list(_tokens_of(node))
        start = min(token.start for token in tokens)
        end = max(token.end for token in tokens)
        return self.at(start, self.closed(start, end))

    def closed(self, start: int, end: int) -> int:
        """Return `end`, moved right until every bracket opened after `start` is closed."""
        depth = 0
        for token in self.tokens:
            if token.start < start:
                continue
            if token.start >= end and depth <= 0:
                break
            depth += (token.kind in _CLOSING) - (token.kind in _CLOSING.values())
            end = max(end, token.end)
        return end

    def error(self, problem: str, node: Any, advice: str = "") -> SpecError:
        """Make an error that says what is wrong, where, and what to do."""
        return SpecError(f"{problem} ({self.place(node)}). {advice}".rstrip())


def _tokens_of(node: Any) -> Iterator[Token]:
    stack = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, Token):
            yield part
        elif isinstance(part, list):
            stack.extend(part)
        elif hasattr(part, "__dict__"):
            stack.extend(vars(part).values())


def parse_syntax(text: object) -> Syntax:
    """Scan and parse a text with formulae, and check that it holds nothing but a formula's words.

    Parameters
    ----------
    text : str
        A term or a whole formula.

    Raises
    ------
    SpecError
        If the text is no string, is empty, has unbalanced brackets, or holds code.
    """
    if not isinstance(text, str):
        raise SpecError(f"a formula is a string, not {type(text).__name__}.")
    if not text.strip():
        raise SpecError("the formula is empty. Write one such as 'y ~ x + (1 + x || a/b)'.")
    syntax = Syntax(text, tuple(_joined_bars(text, _scan(text))))
    _check_words(syntax)
    _check_brackets(syntax)
    try:
        return replace(syntax, tree=_parse(syntax))
    except RecursionError:
        raise too_deep() from None


def too_deep() -> SpecError:
    """Make the error for a text that exhausts the stack."""
    return SpecError("the formula is nested too deeply to be read. Make its parts columns first.")


def _scan(text: str) -> list[Token]:
    from formulae.scanner import ScanError, Scanner

    scanner = Scanner(text)
    tokens: list[Token] = []
    while not scanner.at_end():
        start = scanner.start = scanner.current
        char = text[start]
        if char == "`" and "`" not in text[start + 1 :]:  # formulae would run past the end
            raise SpecError(f"a backquote is not closed ({Syntax(text, ()).at(start, len(text))}).")
        try:
            if char == "_":  # formulae knows no names that start so
                scanner.advance()
                scanner.identifier()
            else:
                scanner.scan_token()
        except (ScanError, ValueError):  # ValueError: digits such as a superscript two
            hint = "Powers are written x**2. " if char == "^" else ""
            place = Syntax(text, ()).at(start, start + 20)
            raise SpecError(
                f"{char!r} is no part of a formula ({place}). {hint}{ALLOWED}"
            ) from None
        tokens += [
            Token(new.kind, new.lexeme, start, scanner.current, new.literal)
            for new in scanner.tokens[len(tokens) :]
        ]
    return tokens


def _joined_bars(text: str, tokens: list[Token]) -> Iterator[Token]:
    """Join two adjacent bars into one token, the double bar that formulae does not know."""
    waiting: Token | None = None
    for token in tokens:
        if waiting is None:
            waiting = token
        elif token.kind == waiting.kind == "PIPE" and token.start == waiting.end:
            if waiting.lexeme == "||":
                place = Syntax(text, ()).at(waiting.start, token.end)
                raise SpecError(f"three bars in a row ({place}): write (x | a) or (x || a).")
            waiting = replace(waiting, lexeme="||", end=token.end)
        else:
            yield waiting
            waiting = token
    if waiting is not None:
        yield waiting


def _check_words(syntax: Syntax) -> None:
    following = (*(token.kind for token in syntax.tokens[1:]), "EOF")
    for token, next_kind in zip(syntax.tokens, following, strict=True):
        if next_kind == "LEFT_PAREN" and token.kind == "IDENTIFIER" and token.lexeme not in _CALLS:
            end = syntax.closed(token.start, token.end + 1)
            raise SpecError(
                f"{token.lexeme!r} is no transform of a formula ({syntax.at(token.start, end)}); "
                f"a formula is never run as code. {ALLOWED} Is a '+' missing before the bracket?"
            )
        if token.kind not in _KINDS:
            place = syntax.at(token.start, token.start + 20)
            raise SpecError(
                f"{token.lexeme} is no part of a formula, which is never run as code ({place}). "
                f"{ALLOWED}"
            )


def _check_brackets(syntax: Syntax) -> None:
    opened: list[Token] = []
    for token in syntax.tokens:
        if token.kind in _CLOSING:
            opened.append(token)
        elif token.kind not in _CLOSING.values():
            continue
        elif not opened or _CLOSING[opened.pop().kind] != token.kind:
            place = syntax.at(token.start, len(syntax.text))
            raise SpecError(f"{token.lexeme!r} closes nothing that is open ({place}).")
    if opened:
        place = syntax.at(opened[-1].start, len(syntax.text))
        raise SpecError(f"{opened[-1].lexeme!r} is never closed ({place}).")


def _parse(syntax: Syntax) -> Any:
    from formulae.parser import ParseError, Parser

    size = len(syntax.text)
    parser = Parser([*syntax.tokens, Token("EOF", "", size, size)])
    try:
        tree = parser.parse()
    except ParseError:
        tree = None
    if tree is not None and parser.at_end():
        return tree
    token = parser.peek()
    if token.kind == "EOF":
        place = syntax.at(syntax.tokens[-1].start, size)
        raise SpecError(
            f"the formula ends where a term is expected, after its last word ({place})."
        )
    hint = _HINTS.get(token.kind, ALLOWED)
    raise SpecError(f"unexpected {token.lexeme!r} ({syntax.at(token.start, size)}). {hint}")


# --- tree to term -----------------------------------------------------------------------------


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


# --- evaluation -------------------------------------------------------------------------------


def evaluate(term: Term, columns: Table) -> NDArray[np.float64]:
    """Evaluate a term on a table.

    `scale` divides by the standard deviation of the population (ddof 0), as formulae and Bambi do.

    Parameters
    ----------
    term : Term
        What to evaluate.
    columns : mapping of str to array, or pandas.DataFrame
        The table of N rows.

    Returns
    -------
    ndarray of float64, shape (N,)

    Raises
    ------
    DataError
        If a column is missing, is not numeric, has missing or infinite values, or values outside
        the domain of a transform; the message counts them and names the first rows (from 0).
    """
    if not term.factors:
        return np.ones(_row_count(columns))
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by name
        values = [_evaluate_factor(factor, columns) for factor in term.factors]
    if len({value.shape for value in values}) > 1:
        names = " and ".join(repr(name) for name in term.columns)
        raise DataError(f"columns {names} have different lengths.")
    with np.errstate(over="ignore", invalid="ignore"):
        product = np.prod(values, axis=0)
    _refuse(~np.isfinite(product), f"term {term.name} has", "overflowing", "Rescale it.")
    return np.asarray(product, dtype=np.float64)


def is_constant(values: NDArray[np.float64]) -> bool:
    """Whether all of `values`, shape (N,), are the same."""
    return bool(np.all(values == values[:1]))


def numeric_column(columns: Table, name: str) -> NDArray[np.float64]:
    """Return a column as float64, shape (N,), with booleans as 0 and 1.

    Raises
    ------
    DataError
        If there is no such column (with a suggestion), or it is empty, not numeric (named with
        its dtype), or has missing or infinite values (counted, with the first rows).
    """
    import pandas as pd

    raw = _raw_column(columns, name)
    series = raw if isinstance(raw, pd.Series) else pd.Series(raw)
    kinds = pd.api.types
    number = kinds.is_numeric_dtype(series.dtype) and not kinds.is_complex_dtype(series.dtype)
    if not number and not kinds.is_bool_dtype(series.dtype):
        raise DataError(
            f"column {name!r} is not numeric (dtype {series.dtype}). Convert it to numbers, or "
            "use it as a grouping level."
        )
    if not len(series):
        raise DataError(f"column {name!r} has no rows.")
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    subject = f"column {name!r} has"
    _refuse(np.isnan(values), subject, "missing", "Drop or impute them first.")
    _refuse(np.isinf(values), subject, "infinite", "Drop or replace them first.")
    return values


def _row_count(columns: Table) -> int:
    if hasattr(columns, "index") and hasattr(columns, "columns"):
        return len(columns.index)
    for values in columns.values():
        return len(values)
    raise DataError("the table has no columns, so its number of rows is unknown.")


def _raw_column(columns: Table, name: str) -> Any:
    keys = columns.keys()  # of a DataFrame: its column names
    names = [known for known in keys if isinstance(known, str)]
    if name not in columns:
        raise DataError(f"no column {name!r} in the table. {_known(name, names)}")
    if names.count(name) > 1:
        raise DataError(f"the table has {names.count(name)} columns called {name!r}. Rename them.")
    raw = columns[name]
    if np.ndim(raw) != 1:
        raise DataError(f"column {name!r} has {np.ndim(raw)} dimensions, not one.")
    return raw


def _known(name: str, names: list[str]) -> str:
    lowered = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), lowered, n=1)
    if close:
        return f"Did you mean {lowered[close[0]]!r}?"
    more = ", ..." if len(names) > _NAMES_SHOWN else ""
    return f"It has: {', '.join(map(repr, names[:_NAMES_SHOWN])) or 'no columns'}{more}."


def _refuse(bad: NDArray[np.bool_], subject: str, kind: str, advice: str) -> None:
    rows = np.flatnonzero(bad)
    if not rows.size:
        return
    plural = "s" if rows.size > 1 else ""
    more = ", ..." if rows.size > _ROWS_SHOWN else ""
    shown = ", ".join(str(row) for row in rows[:_ROWS_SHOWN])
    found = f"{subject} {rows.size:,} {kind} value{plural} (row{plural} {shown}{more})"
    raise DataError(f"{found}. {advice}")


def _evaluate_factor(factor: Factor, columns: Table) -> NDArray[np.float64]:
    if isinstance(factor, Column):
        return numeric_column(columns, factor.name)
    if isinstance(factor, Power):
        return _power(factor, _evaluate_factor(factor.base, columns))
    values = _evaluate_factor(factor.argument, columns)
    return _APPLY[factor.function](factor, values)


def _power(factor: Power, values: NDArray[np.float64]) -> NDArray[np.float64]:
    subject, advice = f"{factor.text} is not defined: {factor.base.text} has", "Drop or shift them."
    if isinstance(factor.exponent, float):
        _refuse(values < 0, subject, "negative", advice)
    if factor.exponent < 0:
        _refuse(values == 0, subject, "zero", advice)
    result = values**factor.exponent
    _refuse(np.isinf(result), f"{factor.text} overflows: it has", "infinite", "Rescale the column.")
    return result


def _log(factor: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    subject = f"{factor.text} is not defined: {factor.argument.text} has"
    _refuse(values <= 0, subject, "zero or negative", "Drop or shift them.")
    return np.log(values)


def _sqrt(factor: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    subject = f"{factor.text} is not defined: {factor.argument.text} has"
    _refuse(values < 0, subject, "negative", "Drop or shift them.")
    return np.sqrt(values)


def _exp(factor: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.exp(values)
    _refuse(np.isinf(result), f"{factor.text} overflows: it has", "infinite", "Rescale the column.")
    return result


def _center(_: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values - values.mean(), dtype=np.float64)


def _scale(factor: Transform, values: NDArray[np.float64]) -> NDArray[np.float64]:
    if is_constant(values):
        raise DataError(
            f"{factor.text} is not defined: {factor.argument.text} is constant ({values[0]:g})."
        )
    centered = values - values.mean()
    # dividing by the largest first keeps the squares of very large or small values in range
    centered = centered / np.abs(centered).max()
    return np.asarray(centered / np.sqrt(np.mean(centered**2)), dtype=np.float64)


_APPLY: Mapping[str, Callable[[Transform, NDArray[np.float64]], NDArray[np.float64]]] = {
    "scale": _scale,
    "center": _center,
    "log": _log,
    "exp": _exp,
    "sqrt": _sqrt,
}
