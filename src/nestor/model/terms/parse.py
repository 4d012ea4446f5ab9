"""Text to term: scanned and parsed by formulae, never run.

What is neither a column name nor one of the transforms is refused before any table is seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nestor.errors import SpecError
from nestor.errors.text import did_you_mean
from nestor.model.terms.term import INTERCEPT, TRANSFORMS, Column, Power, Term, Transform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nestor.model.terms.term import Factor

ALLOWED = (
    "Allowed are column names (in backquotes if they have spaces or signs), "
    f"{', '.join(f'{name}(x)' for name in TRANSFORMS)}, I(x**2), x:z, x*z, offset(e), "
    "(1 | a/b) and (x || a/b)."
)

_CALLS = (*TRANSFORMS, "I", "offset")
#: Terms of a formula, products multiplied out; and levels of its hierarchy.
MOST_TERMS, MOST_LEVELS = 5000, 100
_DEEPEST = MOST_LEVELS
_MOST_CHARACTERS, _MOST_WORDS = 100_000, 20_000
_CLOSING = {"LEFT_PAREN": "RIGHT_PAREN", "LEFT_BRACE": "RIGHT_BRACE"}
_OPERATORS = {"PLUS", "MINUS", "STAR", "STAR_STAR", "SLASH", "COLON", "PIPE", "TILDE"}
_KINDS = _OPERATORS | {"IDENTIFIER", "BQNAME", "NUMBER", *_CLOSING, *_CLOSING.values()}
_HINTS = {
    "PIPE": "Group terms stand in parentheses, with one bar, | or ||: (1 | a).",
    "TILDE": "A formula has one '~', with the outcome on its left.",
}


@dataclass(frozen=True)
class Token:
    """A token of the text with its position; formulae's parser accepts it as one of its own."""

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
    """Scan and parse a text with formulae, and refuse anything that does not belong in a formula.

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
    if len(text) > _MOST_CHARACTERS:
        raise SpecError(f"the formula is longer than {_MOST_CHARACTERS:,} characters.")
    if not text.strip():
        raise SpecError("the formula is empty. Write one such as 'y ~ x + (1 + x || a/b)'.")
    syntax = Syntax(text, tuple(_joined_bars(text, _scan(text))))
    if len(syntax.tokens) > _MOST_WORDS:
        raise SpecError(f"the formula has more than {_MOST_WORDS:,} words and signs.")
    _check_words(syntax)
    _check_brackets(syntax)
    _check_depth(syntax)
    try:
        return replace(syntax, tree=_parse(syntax))
    except RecursionError:
        raise too_deep() from None


def _check_depth(syntax: Syntax) -> None:
    """Refuse what nests deeper than anybody writes; the interpreter's own limit is not ours to rely on."""
    brackets = signs = factors = 0
    for token in syntax.tokens:
        if token.kind in _CLOSING:
            brackets += 1
        elif token.kind in _CLOSING.values():
            brackets -= 1
        signs = signs + 1 if token.kind == "MINUS" else 0
        if token.kind in ("PLUS", "TILDE", "PIPE"):
            factors = 0
        elif token.kind in _OPERATORS:
            factors += 1
        if max(brackets, signs, factors) > _DEEPEST:
            raise too_deep()


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
                raise SpecError(f"three bars in a row ({place}): write (1 | a) or (x || a).")
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
                f"{token.lexeme!r} is no transform of a formula ({syntax.at(token.start, end)}); a formula "
                f"is never run as code.{did_you_mean(token.lexeme, _CALLS)} {ALLOWED} Is a '+' missing "
                "before the bracket?"
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
