from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestor.errors import SpecError
from nestor.model.formula import (
    ParsedFormula,
    ParsedLevel,
    format_formula,
    parse_formula,
)
from nestor.model.terms import INTERCEPT, quoted

# the same examples each time, and no deadline on any of them
REPEATABLE = settings(deadline=None, derandomize=True, max_examples=200)

ONE = (INTERCEPT,)


def independent(name: str, *effects: str) -> ParsedLevel:
    return ParsedLevel(name, effects, correlated=False)


def correlated(name: str, *effects: str) -> ParsedLevel:
    return ParsedLevel(name, effects, correlated=True)


def parsed(
    population: str, *levels: ParsedLevel, outcome: str = "y", offset: str | None = None
) -> ParsedFormula:
    return ParsedFormula(outcome, tuple(population.split()), levels, offset)


G = independent("g", *ONE)
ABC = (independent("a", *ONE), independent("b", *ONE), independent("c", *ONE))

# text: (what it means, its canonical text)
FORMULAS = {
    "income ~ month + (month || degree/state/county)": (
        parsed(
            "Intercept month",
            *(independent(level, *ONE, "month") for level in ("degree", "state", "county")),
            outcome="income",
        ),
        "income ~ 1 + month + (1 + month || degree/state/county)",
    ),
    "y ~ (1 | g)": (parsed("Intercept", G), "y ~ 1 + (1 || g)"),
    "y ~ x + (x | g)": (
        parsed("Intercept x", correlated("g", *ONE, "x")),
        "y ~ 1 + x + (1 + x | g)",
    ),
    "y~x+(x||g)": (
        parsed("Intercept x", independent("g", *ONE, "x")),
        "y ~ 1 + x + (1 + x || g)",
    ),
    "\ty ~\n x +\r\n(x\n||g )": (
        parsed("Intercept x", independent("g", *ONE, "x")),
        "y ~ 1 + x + (1 + x || g)",
    ),
    # the intercept
    "y ~ 0 + x + (1 | g)": (parsed("x", G), "y ~ 0 + x + (1 || g)"),
    "y ~ x - 1 + (1 | g)": (parsed("x", G), "y ~ 0 + x + (1 || g)"),
    "y ~ -1 + x + (1 | g)": (parsed("x", G), "y ~ 0 + x + (1 || g)"),
    "y ~ +x + 0 + (1 | g)": (parsed("x", G), "y ~ 0 + x + (1 || g)"),
    "y ~ 0 + x + 1 + (1 | g)": (parsed("Intercept x", G), "y ~ 1 + x + (1 || g)"),
    "y ~ (x - 1) + (1 | g)": (parsed("x", G), "y ~ 0 + x + (1 || g)"),
    "y ~ x + Intercept + (1 | g)": (parsed("Intercept x", G), "y ~ 1 + x + (1 || g)"),
    "y ~ 0 + (1 | g)": (parsed("", G), "y ~ 0 + (1 || g)"),
    "y ~ (0 + x | g)": (parsed("Intercept", independent("g", "x")), "y ~ 1 + (0 + x || g)"),
    "y ~ (x - 1 | g)": (parsed("Intercept", independent("g", "x")), "y ~ 1 + (0 + x || g)"),
    # sums and products
    "y ~ x*z + (1 | g)": (parsed("Intercept x z x:z", G), "y ~ 1 + x + z + x:z + (1 || g)"),
    "y ~ z*x + (1 | g)": (parsed("Intercept z x x:z", G), "y ~ 1 + z + x + x:z + (1 || g)"),
    "y ~ (x + z)*w + (1 | g)": (
        parsed("Intercept x z w w:x w:z", G),
        "y ~ 1 + x + z + w + w:x + w:z + (1 || g)",
    ),
    "y ~ (x + z):w + (1 | g)": (parsed("Intercept w:x w:z", G), "y ~ 1 + w:x + w:z + (1 || g)"),
    "y ~ a1*b1*c1 - a1:b1:c1 + (1 | g)": (
        parsed("Intercept a1 b1 a1:b1 c1 a1:c1 b1:c1", G),
        "y ~ 1 + a1 + b1 + a1:b1 + c1 + a1:c1 + b1:c1 + (1 || g)",
    ),
    "y ~ x + z - (x + z) + (1|g)": (parsed("Intercept", G), "y ~ 1 + (1 || g)"),
    "y ~ x + (z + (1 | g))": (parsed("Intercept x z", G), "y ~ 1 + x + z + (1 || g)"),
    "y ~ x + x + (1 | g) + (1 | g)": (parsed("Intercept x", G), "y ~ 1 + x + (1 || g)"),
    "y ~ x + x**2 + scale(z) + (1 | g)": (
        parsed("Intercept x I(x**2) scale(z)", G),
        "y ~ 1 + x + I(x**2) + scale(z) + (1 || g)",
    ),
    "y ~ x*{z**2} + (1 | g)": (
        parsed("Intercept x I(z**2) I(z**2):x", G),
        "y ~ 1 + x + I(z**2) + I(z**2):x + (1 || g)",
    ),
    "log(y) ~ (1 | g)": (parsed("Intercept", G, outcome="log(y)"), "log(y) ~ 1 + (1 || g)"),
    "y ~ x + offset(e) + (1 | g)": (
        parsed("Intercept x", G, offset="e"),
        "y ~ 1 + x + offset(e) + (1 || g)",
    ),
    # groups
    "y ~ (1|a) + (1|a:b) + (1|a:b:c)": (parsed("Intercept", *ABC), "y ~ 1 + (1 || a/b/c)"),
    "y ~ (1|a:b:c) + (1|a) + (1|b:a)": (parsed("Intercept", *ABC), "y ~ 1 + (1 || a/b/c)"),
    "y ~ (1|a/(b/c))": (parsed("Intercept", *ABC), "y ~ 1 + (1 || a/b/c)"),
    "y ~ ((1|(a/b)/c))": (parsed("Intercept", *ABC), "y ~ 1 + (1 || a/b/c)"),
    "y ~ (1 | a:b)": (
        parsed("Intercept", independent("a"), independent("b", *ONE)),
        "y ~ 1 + (1 || a:b)",
    ),
    "y ~ (1|a) + (1|a:b:c)": (
        parsed("Intercept", independent("a", *ONE), independent("b"), independent("c", *ONE)),
        "y ~ 1 + (1 || a) + (1 || a:b:c)",
    ),
    "y ~ (1 | a:b/c)": (
        parsed("Intercept", independent("a"), independent("b", *ONE), independent("c", *ONE)),
        "y ~ 1 + (1 || a:b/c)",
    ),
    "y ~ (1 | a/b:c)": (
        parsed("Intercept", independent("a", *ONE), independent("b"), independent("c", *ONE)),
        "y ~ 1 + (1 || a) + (1 || a:b:c)",
    ),
    "y ~ (month || degree/state) + (1 || degree/state/county)": (
        parsed(
            "Intercept",
            independent("degree", *ONE, "month"),
            independent("state", *ONE, "month"),
            independent("county", *ONE),
        ),
        "y ~ 1 + (1 + month || degree/state) + (1 || degree:state:county)",
    ),
    "y ~ (1 || a/b/c) + (0 + x || a:b)": (
        parsed(
            "Intercept",
            independent("a", *ONE),
            independent("b", *ONE, "x"),
            independent("c", *ONE),
        ),
        "y ~ 1 + (1 || a/b/c) + (0 + x || a:b)",
    ),
    "y ~ (x | a) + (1 | a/b)": (
        parsed("Intercept", correlated("a", *ONE, "x"), independent("b", *ONE)),
        "y ~ 1 + (1 + x | a) + (1 || a:b)",
    ),
    "y ~ (1 | g) + (0 + x | g)": (
        parsed("Intercept", independent("g", *ONE, "x")),
        "y ~ 1 + (1 + x || g)",
    ),
    "y ~ (x | g) + (1 || g)": (
        parsed("Intercept", correlated("g", *ONE, "x")),
        "y ~ 1 + (1 + x | g)",
    ),
    "y ~ (x | g) + (x + z | g)": (
        parsed("Intercept", correlated("g", *ONE, "x", "z")),
        "y ~ 1 + (1 + x + z | g)",
    ),
    "y ~ (x*z || g)": (
        parsed("Intercept", independent("g", *ONE, "x", "z", "x:z")),
        "y ~ 1 + (1 + x + z + x:z || g)",
    ),
    "y ~ x + (1 | x)": (parsed("Intercept x", independent("x", *ONE)), "y ~ 1 + x + (1 || x)"),
    "`my y` ~ `a+b` + offset(`log e`) + (1 || `top level`/_low)": (
        ParsedFormula(
            "`my y`",
            (INTERCEPT, "`a+b`"),
            (independent("top level", *ONE), independent("_low", *ONE)),
            "log e",
        ),
        "`my y` ~ 1 + `a+b` + offset(`log e`) + (1 || `top level`/_low)",
    ),
    # the order of effects: the intercept, the fixed part, then the group terms
    "y ~ z + x + (0 + w + x + z || g) + (1 || g)": (
        parsed("Intercept z x", independent("g", *ONE, "z", "x", "w")),
        "y ~ 1 + z + x + (1 + z + x + w || g)",
    ),
    "y ~ (0 + z || a:b) + (x || a) + (x || a:b)": (
        parsed("Intercept", independent("a", *ONE, "x"), independent("b", *ONE, "z", "x")),
        "y ~ 1 + (0 + z || a:b) + (1 + x || a/b)",
    ),
}


@pytest.mark.parametrize("text", FORMULAS)
def test_meaning_and_canonical_text(text: str) -> None:
    meaning, canonical = FORMULAS[text]
    result = parse_formula(text)
    assert result == meaning
    assert result.text == text
    assert format_formula(result) == canonical
    assert parse_formula(canonical) == meaning


REFUSED = {
    "": ["the formula is empty"],
    "  ": ["the formula is empty"],
    "y": ["the formula has no '~'", "at character 1: 'y'"],
    "x + (1|g)": ["the formula has no '~'"],
    "~": ["unexpected '~' (at character 1: '~')"],
    "~ x + (1|g)": ["unexpected '~' (at character 1"],
    "y ~": ["ends where a term is expected", "at character 3: '~'"],
    "y ~ x +": ["ends where a term is expected", "at character 7: '+'"],
    "y ~ x ~ (1|g)": ["unexpected '~' (at character 7: '~ (1|g)')", "one '~'"],
    "y ~ (x ~ z) + (1|g)": ["more than one '~' (at character 8"],
    "(y ~ x + (1|g))": ["in no brackets (at character 4"],
    "y ~ x": ["no group term", "(1 || group)", "at character 5: 'x'"],
    "y ~ x | g": ["unexpected '|' (at character 7: '| g')", "stand in parentheses"],
    "y ~ x + 1 | g": ["unexpected '|'"],
    "y ~ (1 | | g)": ["unexpected '|' (at character 10"],
    "y ~ (1 ||| g)": ["three bars in a row (at character 8: '|||')"],
    "y ~ (1 | a | b)": ["'|' is out of place"],
    "y ~ (1 | g": ["'(' is never closed (at character 5: '(1 | g')"],
    "y ~ 1 | g)": ["')' closes nothing that is open (at character 10: ')')"],
    "y ~ (1 | )": ["unexpected ')' (at character 10"],
    "y ~ ( | g)": ["unexpected '|' (at character 7"],
    "y ~ (0 | g)": ["(0 | g) has no effect"],
    "y ~ (x - x - 1 | g)": ["(x - x - 1 | g) has no effect"],
    "y ~ 2 + (1|g)": ["only numbers in a sum", "at character 5: '2'"],
    "y ~ 1.0 + (1|g)": ["only numbers in a sum"],
    "y ~ 2*x + (1|g)": ["only numbers in a sum"],
    "y ~ 1*x + (1|g)": ["can be multiplied", "'1*x'"],
    "y ~ x:(1|g)": ["can be multiplied"],
    "y ~ x:x + (1|g)": ["x:x repeats x", "at character 5: 'x:x'"],
    "y ~ x*x + (1|g)": ["x:x repeats x"],
    "y ~ x/z + (1|g)": ["'/' nests groups", "x + x:z"],
    "y ~ (x + z)**2 + (1|g)": ["neither a column nor a transform", "'x + z'"],
    "y ~ log(x + 1) + (1|g)": ["neither a column nor a transform", "column of the table first"],
    "y ~ x - z + (1|g)": ["z is subtracted, but does not stand before", "at character 9: 'z'"],
    "y ~ x - (1|g)": ["cannot be subtracted"],
    "y ~ (1|g) - offset(e)": ["cannot be subtracted"],
    "y ~ x z + (1|g)": ["unexpected 'z' (at character 7"],
    "y ~ x (1|g)": ["'x' is no transform", "Is a '+' missing"],
    "y ~ x + (1|g)(1|h)": ["only a transform can be followed by '('"],
    "y ~ x = 1": ["= is no part of a formula"],
    "y ~ x > 1 + (1|g)": ["> is no part of a formula"],
    "y ~ x^2 + (1|g)": ["Powers are written x**2"],
    "y ~ . + (1|g)": [". is no part of a formula"],
    "y ~ x %in% g": ["% is no part of a formula"],
    # outcomes
    "y + z ~ (1|g)": ["neither a column nor a transform", "'y + z'"],
    "1 ~ (1|g)": ["neither a column nor a transform"],
    "Intercept ~ (1|g)": ["is written `Intercept`"],
    "y | trials(n) ~ (1|g)": ["'trials' is no transform"],
    "y | n ~ (1|g)": ["neither a column nor a transform", "'y | n'"],
    "y ~ y + (1|g)": ["the outcome 'y' is also a predictor, in y"],
    "log(y) ~ (0 + x:y || g)": ["the outcome 'y' is also a predictor, in x:y"],
    "y ~ (1 | a/y)": ["column 'y' is both the outcome and a grouping level"],
    "y ~ offset(y) + (1 | g)": ["the outcome 'y' is also the offset"],
    # offsets
    "y ~ offset(log(e)) + (1|g)": ["offset(e) takes the name of one column"],
    "y ~ offset() + (1|g)": ["offset(e) takes the name of one column"],
    "y ~ offset(e) + offset(f) + (1|g)": ["more than one offset: offset(e) and offset(f)"],
    "y ~ x:offset(e) + (1|g)": ["can be multiplied"],
    "y ~ (offset(e) | g)": ["(offset(e) | g) has a group term or an offset left of its bar"],
    "y ~ ((1 | a) | b)": ["((1 | a) | b) has a group term or an offset left of its bar"],
    # groups
    "y ~ (1 | g + h)": ["the groups of (1 | g + h) are not columns joined by '/' or ':'"],
    "y ~ (1 | g*h)": ["are not columns joined"],
    "y ~ (1 | 1)": ["are not columns joined"],
    "y ~ (1 | log(g))": ["are not columns joined"],
    "y ~ (1 | factor(g))": ["'factor' is no transform"],
    "y ~ (1 | (a/b):c)": ["are not columns joined"],
    "y ~ (1 | a/a)": ["(1 | a/a) uses the column 'a' twice"],
    "y ~ (1 | a/b:a)": ["uses the column 'a' twice"],
    "y ~ (1 | Intercept)": ["is written `Intercept`"],
    "y ~ (x | g) + (0 + z || g)": [
        "on level 'g', some effects are correlated and some are not",
        "(x | g) and (0 + z || g)",
    ],
    "y ~ (x | g) + (x || g)": ["some effects are correlated and some are not"],
    "y ~ (x | g) + (z | g)": ["some effects are correlated and some are not"],
    "y ~ (x | a/b) + (0 + z || a:b)": ["on level 'b'"],
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_formula(text)
    message = str(caught.value)
    assert "\n" not in message
    for fragment in REFUSED[text]:
        assert fragment in message


@pytest.mark.parametrize("text", [None, 3, b"y ~ (1|g)", ["y"]])
def test_a_formula_is_a_string(text: object) -> None:
    with pytest.raises(SpecError, match=f"a string, not {type(text).__name__}"):
        parse_formula(text)  # type: ignore[arg-type]


def crossed(terms: str, what: str, instead: str) -> tuple[str, str]:
    named = terms.replace(" + (", " and (")
    message = f"{named} are crossed, and nestor fits nested hierarchies only."
    return f"y ~ {terms}", f"{message} If every {what}, write {instead}."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        crossed("(1 || a) + (1 || b)", "b lies inside one a", "(1 || a/b)"),
        crossed("(1|a) + (1|b)", "b lies inside one a", "(1 || a/b)"),
        crossed("(x||a) + (1||b)", "b lies inside one a", "(1 + x || a) + (1 || a:b)"),
        crossed("(x|a) + (x|b)", "b lies inside one a", "(1 + x || a/b)"),
        crossed("(1|a/b) + (1|c)", "c lies inside one b", "(1 || a/b/c)"),
        crossed("(1|a) + (1|b/c)", "b:c lies inside one a", "(1 || a/b/c)"),
        crossed("(1|a/b) + (1|b)", "b lies inside one a", "(1 || a/b)"),
        crossed("(1|a/b) + (1|b/c)", "c lies inside one b", "(1 || a/b/c)"),
        crossed("(1|a:b) + (1|a:c)", "c lies inside one b", "(1 || a:b/c)"),
        crossed("(1|`a b`) + (1|c)", "c lies inside one `a b`", "(1 || `a b`/c)"),
    ],
)
def test_crossed_terms_are_named_with_the_nested_model(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_formula(text)
    assert str(caught.value) == message
    advised = message.rpartition("write ")[2].removesuffix(".")
    assert not any(level.correlated for level in parse_formula(f"y ~ {advised}").levels)


def test_of_many_terms_the_crossed_ones_are_named() -> None:
    with pytest.raises(SpecError) as caught:
        parse_formula("y ~ (1|a) + (x||b:a) + (1|d)")
    assert str(caught.value) == (
        "(x||b:a) and (1|d) are crossed, and nestor fits nested hierarchies only. If every d lies "
        "inside one b, write (1 || a) + (1 + x || a:b) + (1 || a:b:d)."
    )


def test_products_cannot_explode() -> None:
    with pytest.raises(SpecError, match="more than 1000 terms"):
        parse_formula(f"y ~ {'*'.join(f'x{i}' for i in range(30))} + (1|g)")


def test_long_sums_are_fine_and_deep_brackets_are_refused() -> None:
    names = [f"x{i}" for i in range(3000)]
    assert parse_formula(f"y ~ {' + '.join(names)} + (1|g)").population == (INTERCEPT, *names)
    for deep in ("(" * 500 + "x" + ")" * 500, "-" * 5000 + "x", ":".join(names)):
        with pytest.raises(SpecError, match="nested too deeply"):
            parse_formula(f"y ~ {deep} + (1|g)")


@pytest.mark.parametrize(
    "fixed",
    ["x", "0 + x", "x - 1", "x*z", "x:z", "(x + z)*w", "x*z*w", "x*z - x", "x + z - (x + z)"],
)
def test_the_fixed_part_agrees_with_formulae(fixed: str) -> None:
    from formulae import model_description

    theirs = [str(term.name) for term in model_description(f"y ~ {fixed}").common_terms]
    ours = parse_formula(f"y ~ {fixed} + (1|g)").population
    # formulae keeps the factors of an interaction as written, here they are sorted
    assert {":".join(sorted(name.split(":"))) for name in theirs} == set(ours)


def test_code_in_a_formula_never_runs(tmp_path, monkeypatch) -> None:
    import formulae.parser
    import formulae.scanner  # noqa: F401 - imported before eval and exec are taken away

    path = tmp_path / "touched"
    call = f"__import__('pathlib').Path('{path}').touch()"
    with monkeypatch.context() as patched:
        for name in ("eval", "exec", "compile"):
            patched.setattr(f"builtins.{name}", lambda *_: pytest.fail("a formula was run"))
        for text in (
            f"y ~ {call} + (1|g)",
            f"{call} ~ x + (1|g)",
            f"y ~ (1|{call})",
            f"y ~ ({call} || g)",
            f"y ~ offset({call}) + (1|g)",
            f"y ~ I({call}) + (1|g)",
            f"y ~ {{{call}}} + (1|g)",
            f"y ~ log({call}) + (1|g)",
        ):
            with pytest.raises(SpecError, match="'__import__' is no transform"):
                parse_formula(text)
        quoted_call = parse_formula(f"y ~ `{call}` + (1|g)")
    assert quoted_call.population == (INTERCEPT, f"`{call}`")  # a column of an odd name
    assert not path.exists()


# --- round trips ------------------------------------------------------------------------------

LEVELS = ("a", "b b", "c", "_d")
EFFECTS = (INTERCEPT, "x", "z", "x:z", "log(x)", "I(x**2)", "`odd name`")


def test_levels_and_effects_of_the_round_trips_are_disjoint_from_the_outcome() -> None:
    assert "y" not in (*LEVELS, *EFFECTS)


@st.composite
def group_texts(draw: st.DrawFn) -> str:
    effects = draw(st.lists(st.sampled_from(EFFECTS), min_size=1, max_size=4, unique=True))
    if INTERCEPT not in effects:
        effects.insert(0, "0")
    joints = draw(st.lists(st.sampled_from("/:"), max_size=len(LEVELS) - 1))
    names = [quoted(name) for name in LEVELS]
    path = names[0] + "".join(joint + name for joint, name in zip(joints, names[1:], strict=False))
    return f"({' + '.join(effects)} {draw(st.sampled_from(['|', '||', '||']))} {path})"


@st.composite
def formula_texts(draw: st.DrawFn) -> str:
    fixed = draw(st.lists(st.sampled_from((*EFFECTS, "0", "1", "x*z")), max_size=4))
    groups = draw(st.lists(group_texts(), min_size=1, max_size=4))
    offset = draw(st.sampled_from([[], ["offset(e)"]]))
    outcome = draw(st.sampled_from(["y", "log(y)", "`y y`"]))
    return f"{outcome} ~ {' + '.join((*fixed, *groups, *offset))}"


@REPEATABLE
@given(formula_texts())
def test_format_and_parse_are_inverse(text: str) -> None:
    try:
        result = parse_formula(text)
    except SpecError as error:
        # the only thing that can be wrong with these: bars that disagree on a level
        assert "some effects are correlated and some are not" in str(error)  # noqa: PT017
        return
    canonical = format_formula(result)
    again = parse_formula(canonical)
    assert again == result
    assert format_formula(again) == canonical


def test_the_order_of_mention_survives_where_level_by_level_would_lose_it() -> None:
    text = "y ~ 1 + (0 + m || a) + (0 + z || a:b) + (0 + q || a/b)"
    result = parse_formula(text)
    assert [level.effects for level in result.levels] == [("m", "q"), ("z", "q")]
    assert parse_formula(format_formula(result)) == result
    both = parse_formula("y ~ (0+m|a) + (0+z|a:b) + (0 + m + q | a) + (0 + z + q | a:b)")
    assert [level.correlated for level in both.levels] == [True, True]
    assert parse_formula(format_formula(both)) == both


@pytest.mark.parametrize(
    "impossible",
    [
        parsed("Intercept"),
        parsed("Intercept", G, independent("last")),
        parsed("Intercept", correlated("g", *ONE)),
        parsed("x Intercept", G),
        parsed("Intercept x z", independent("g", "z", "x")),
        parsed("Intercept", independent("a", "x", "z"), independent("b", "z", "x")),
        parsed("Intercept z:x", G),
        parsed("Intercept y", G),
        parsed("Intercept", G, G),
        parsed("Intercept os.system(x)", G),
    ],
)
def test_what_no_formula_says_is_not_written(impossible: ParsedFormula) -> None:
    with pytest.raises(SpecError, match="no formula describes"):
        format_formula(impossible)


# --- fuzzing ----------------------------------------------------------------------------------

WORDS = [
    *("y", "x", "g", "a/b", "a:b", "1", "0", "2.5", "~", "+", "-", "*", "/", ":", "**", "|", "||"),
    *("(", ")", "{", "}", "[", "]", "(1|g)", "(x || a/b)", "log(", "I(", "offset(", "`", "`a b`"),
    *("Intercept", "True", "'s'", ",", "=", ".", "_", "^", " ", "\n", "²", "é", "f(x)"),
]


@REPEATABLE
@given(
    st.one_of(
        st.text(max_size=30),
        st.lists(st.sampled_from(WORDS), max_size=14).map("".join),
        st.lists(st.sampled_from(WORDS), max_size=14).map(lambda words: "y ~ " + " ".join(words)),
        st.lists(st.sampled_from(WORDS), max_size=8).map(lambda w: f"y ~ {''.join(w)} + (1|g)"),
    )
)
def test_any_text_is_a_formula_or_a_spec_error(text: str) -> None:
    try:
        result = parse_formula(text)
    except SpecError as error:
        assert str(error)  # noqa: PT017 - any other exception fails the test
    else:
        assert parse_formula(format_formula(result)) == result


def test_importing_the_module_loads_neither_formulae_nor_pandas() -> None:
    code = (
        "import sys, nestor.model.formula, nestor.model.terms\n"
        "print([name for name in ('formulae', 'pandas', 'scipy') if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert run.stdout.strip() == "[]"
