from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestor.errors import DataError, SpecError
from nestor.model.terms import (
    TRANSFORMS,
    Column,
    Power,
    Term,
    Transform,
    evaluate,
    is_constant,
    numeric_column,
    parse_term,
    quoted,
)

# the same examples each time, and no deadline on any of them
REPEATABLE = settings(deadline=None, derandomize=True, max_examples=200)

NAMES = {
    "Intercept": ("Intercept", ()),
    "month": ("month", ("month",)),
    "  month ": ("month", ("month",)),
    "(month)": ("month", ("month",)),
    "log(month)": ("log(month)", ("month",)),
    "log( scale( x ) )": ("log(scale(x))", ("x",)),
    "z:x": ("x:z", ("x", "z")),
    "x:(z:a)": ("a:x:z", ("a", "x", "z")),
    "x:log(x)": ("log(x):x", ("x",)),
    "month**2": ("I(month**2)", ("month",)),
    "I(month**2)": ("I(month**2)", ("month",)),
    "{month**2}": ("I(month**2)", ("month",)),
    "I(month)": ("month", ("month",)),
    "month**1": ("month", ("month",)),
    "month**2.0": ("I(month**2)", ("month",)),
    "month**(-1)": ("I(month**-1)", ("month",)),
    "month**0.5": ("I(month**0.5)", ("month",)),
    "x**0.00001": ("I(x**0.00001)", ("x",)),
    "scale(month**2)": ("scale(month**2)", ("month",)),
    "scale(I(month**2))": ("scale(month**2)", ("month",)),
    "log(x)**2:z": ("I(log(x)**2):z", ("x", "z")),
    "`hours per week`": ("`hours per week`", ("hours per week",)),
    "`month`": ("month", ("month",)),
    "`a+b`:c": ("`a+b`:c", ("a+b", "c")),
    "`Intercept`": ("`Intercept`", ("Intercept",)),
    "`True`": ("`True`", ("True",)),
    "`1`": ("`1`", ("1",)),
    "_x": ("_x", ("_x",)),
    "__x.y_": ("__x.y_", ("__x.y_",)),
    "größe": ("größe", ("größe",)),
    "年齢": ("年齢", ("年齢",)),
    "log": ("log", ("log",)),
    "offset": ("offset", ("offset",)),
}


@pytest.mark.parametrize("text", NAMES)
def test_canonical_name_and_columns(text: str) -> None:
    term = parse_term(text)
    assert (term.name, term.columns) == NAMES[text]
    assert parse_term(term.name) == term


REFUSED = {
    "": "the formula is empty",
    " \n": "the formula is empty",
    "x + z": "neither a column nor a transform",
    "x*z": "neither a column nor a transform",
    "x - 1": "neither a column nor a transform",
    "-x": "neither a column nor a transform",
    "1": "neither a column nor a transform",
    "log(x + 1)": "at character 5: 'x + 1'",
    "log(2)": "at character 5: '2'",
    "log(x:z)": "at character 5: 'x:z'",
    "log(Intercept)": "is written `Intercept`",
    "Intercept:x": "the intercept takes no part in an interaction (at character 1: 'Intercept:x')",
    "x:x": "x:x repeats x",
    "z:x:z": "z:z repeats z",
    "x**2**3": "a power of a power",
    "(x**2)**3": "a power of a power",
    "x**0": "an exponent is a number other than 0",
    "x**101": "at most 100",
    "x**z": "an exponent is a number",
    "x**--2": "an exponent is a number",
    "x^2": "Powers are written x**2",
    "log()": "log() takes one argument",
    "log(x, 2)": ", is no part of a formula",
    "offset(x)": "offset(e) stands alone",
    "log(offset(x))": "offset(e) stands alone",
    "x ~ z": "neither a column",
    "x | z": "neither a column",
    "x |||z": "three bars in a row",
    "x y": "unexpected 'y' (at character 3: 'y')",
    "2x": "unexpected 'x'",
    "1²": "'1' is no part of a formula",
    "x:": "ends where a term is expected",
    "(x": "'(' is never closed (at character 1: '(x')",
    "(x}": "'}' closes nothing that is open",
    "x)": "')' closes nothing that is open (at character 2: ')')",
    "`x": "a backquote is not closed (at character 1: '`x')",
    "``": "a name is missing between the backquotes",
    "(x)(z)": "only a transform can be followed by '('",
    "`log`(x)": "only a transform can be followed by '('",
    "True": "True is no part of a formula",
    "x == 1": "== is no part of a formula",
    "x\\z": "is no part of a formula",
    "(" * 400 + "x" + ")" * 400: "nested too deeply",
    ":".join(f"x{i}" for i in range(4000)): "nested too deeply",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_term_is_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_term(text)
    assert REFUSED[text] in str(caught.value)


@pytest.mark.parametrize("text", [None, 3, b"x", ["x"]])
def test_a_term_is_a_string(text: object) -> None:
    with pytest.raises(SpecError, match=f"a string, not {type(text).__name__}"):
        parse_term(text)  # type: ignore[arg-type]


CODE = {
    "open('{path}', 'w')": "'open' is no transform",
    "__import__('os').remove('{path}')": "'__import__' is no transform",
    "os.system('touch {path}')": "'os.system' is no transform",
    "np.log(x)": "'np.log' is no transform",
    "I(open('{path}', 'w'))": "'open' is no transform",
    "{{eval('1')}}": "'eval' is no transform",
    "eval(`x`)": "(at character 1: 'eval(`x`)')",
    "x.to_csv('{path}')": "'x.to_csv' is no transform",
    "x[0]": "[ is no part of a formula, which is never run as code (at character 2: '[0]')",
    "x['a']": "[ is no part",
    "(x).real": ". is no part",
    "lambda x: x": "unexpected 'x'",
    "(lambda: 1)()": "(at character 2: 'lambda: 1')",
    "'x'": "'x' is no part",
    '"x"': '"x" is no part',
    "'x": "is no part",
    "x if x else z": "unexpected 'if'",
    "x; z": "';' is no part",
    "x = 1": "= is no part",
    "@x": "'@' is no part",
    "f'{{x}}'": "is no part",
}


@pytest.mark.parametrize("code", CODE)
def test_code_is_refused_by_name_and_never_runs(code, tmp_path, monkeypatch) -> None:
    import formulae.parser
    import formulae.scanner  # noqa: F401 - imported before eval and exec are taken away

    path = tmp_path / "touched"
    with monkeypatch.context() as patched:
        for name in ("eval", "exec", "compile", "open"):
            patched.setattr(f"builtins.{name}", lambda *_: pytest.fail("a formula was run"))
        with pytest.raises(SpecError) as caught:
            parse_term(code.format(path=path))
    message = str(caught.value)
    assert CODE[code] in message
    assert "Allowed are column names" in message
    assert all(f"{name}(x)" in message for name in TRANSFORMS)
    assert not path.exists()


def test_quoting_follows_what_the_scanner_reads_as_one_name() -> None:
    assert quoted("a.b_c1") == "a.b_c1"
    assert quoted("1a") == "`1a`"
    assert quoted("a b") == "`a b`"
    for name in ("", "a`b"):
        with pytest.raises(SpecError, match="cannot name the column"):
            quoted(name)


column_names = st.text(min_size=1, max_size=8).filter(lambda name: not {"`", "\0"} & set(name))
columns = st.builds(Column, column_names)
exponents = st.one_of(
    st.integers(-100, 100).filter(lambda e: e not in (0, 1)),
    st.floats(-99, 99).filter(lambda e: not e.is_integer()),
)
transforms = st.recursive(
    st.builds(Transform, st.sampled_from(TRANSFORMS), columns),
    lambda inner: st.builds(
        Transform, st.sampled_from(TRANSFORMS), inner | st.builds(Power, inner, exponents)
    ),
    max_leaves=4,
)
factors = st.one_of(columns, transforms, st.builds(Power, columns | transforms, exponents))
terms = st.lists(factors, max_size=3, unique_by=lambda f: f.text).map(lambda f: Term(tuple(f)))


@REPEATABLE
@given(terms)
def test_every_term_reads_back_from_its_name(term: Term) -> None:
    assert parse_term(term.name) == term


@REPEATABLE
@given(terms)
def test_the_order_of_factors_does_not_matter(term: Term) -> None:
    assert Term(term.factors[::-1]) == term


@REPEATABLE
@given(st.text(max_size=20) | st.text("xz1 `.(){}[]:*/+-|~'\"^,_=", max_size=12))
def test_any_text_is_a_term_or_a_spec_error(text: str) -> None:
    try:
        term = parse_term(text)
    except SpecError as error:
        assert str(error)  # noqa: PT017 - any other exception fails the test
    else:
        assert parse_term(term.name) == term


def table() -> dict[str, np.ndarray]:
    return {
        "x": np.array([1.0, 2.0, 4.0]),
        "n": np.array([3, 0, -2], dtype=np.int32),
        "flag": np.array([True, False, True]),
        "a b": np.array([1.0, 1.0, 1.0], dtype=np.float32),
    }


# by hand: x has mean 7/3 and population variance 14/9
VALUES = {
    "Intercept": [1, 1, 1],
    "x": [1, 2, 4],
    "n": [3, 0, -2],
    "flag": [1, 0, 1],
    "`a b`": [1, 1, 1],
    "x:n": [3, 0, -8],
    "x:flag": [1, 0, 4],
    "log(x)": [0, math.log(2), math.log(4)],
    "exp(n)": [math.e**3, 1, math.e**-2],
    "sqrt(x)": [1, math.sqrt(2), 2],
    "center(x)": [-4 / 3, -1 / 3, 5 / 3],
    "scale(x)": [-4 / math.sqrt(14), -1 / math.sqrt(14), 5 / math.sqrt(14)],
    "n**2": [9, 0, 4],
    "n**3": [27, 0, -8],
    "x**-1": [1, 0.5, 0.25],
    "x**0.5": [1, math.sqrt(2), 2],
    "log(x**2)": [0, math.log(4), math.log(16)],
}


@pytest.mark.parametrize("as_table", [dict, pd.DataFrame], ids=["mapping", "frame"])
@pytest.mark.parametrize("text", VALUES)
def test_values(text: str, as_table) -> None:
    result = evaluate(parse_term(text), as_table(table()))
    assert result.dtype == np.float64
    assert result.shape == (3,)
    # one operation or two in double precision
    np.testing.assert_allclose(result, VALUES[text], rtol=1e-14, atol=1e-15)


def test_scale_agrees_with_formulae() -> None:
    from formulae.transforms import TRANSFORMS as THEIRS

    x = np.random.default_rng(1).normal(3.0, 2.0, size=50)
    for name in ("scale", "center"):
        ours = evaluate(parse_term(f"{name}(x)"), {"x": x})
        np.testing.assert_allclose(ours, THEIRS[name]()(x), rtol=1e-12)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_scale_does_not_depend_on_units(size: float) -> None:
    result = evaluate(parse_term("scale(x)"), {"x": size * np.array([1.0, 2.0, 4.0])})
    np.testing.assert_allclose(result, VALUES["scale(x)"], rtol=1e-14)


@pytest.mark.parametrize(
    "dtype", ["Int64", "Float64", "boolean", "int64[pyarrow]", "double[pyarrow]", "bool[pyarrow]"]
)
def test_nullable_and_arrow_columns(dtype: str) -> None:
    full = pd.DataFrame({"x": pd.Series([1, 0, 1], dtype=dtype)})
    np.testing.assert_array_equal(evaluate(parse_term("x"), full), [1.0, 0.0, 1.0])
    gaps = pd.DataFrame({"x": pd.Series([1, None, 0, None], dtype=dtype)})
    with pytest.raises(DataError, match=r"column 'x' has 2 missing values \(rows 1, 3\)"):
        evaluate(parse_term("x"), gaps)


def message_of(text: str, columns: object) -> str:
    with pytest.raises(DataError) as caught:
        evaluate(parse_term(text), columns)  # type: ignore[arg-type]
    return str(caught.value)


def test_missing_values_are_counted_with_their_rows() -> None:
    income = np.ones(300)
    income[[17, 203, 204]] = np.nan
    assert message_of("log(income)", {"income": income}) == (
        "column 'income' has 3 missing values (rows 17, 203, 204). Drop or impute them first."
    )
    assert "has 1 missing value (row 0)." in message_of("x", {"x": np.array([np.nan, 1.0])})
    many = {"x": np.full(1234, np.nan)}
    assert "has 1,234 missing values (rows 0, 1, 2, 3, 4, ...)." in message_of("x", many)
    infinite = {"x": np.array([1.0, np.inf, -np.inf])}
    assert "column 'x' has 2 infinite values (rows 1, 2)." in message_of("x", infinite)


def test_rows_are_positions_whatever_the_index() -> None:
    frame = pd.DataFrame({"x": [1.0, np.nan]}, index=[50, 60])
    assert "(row 1)" in message_of("x", frame)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("incom", "no column 'incom' in the table. Did you mean 'income'?"),
        ("INCOME", "Did you mean 'income'?"),
        ("zzz", "no column 'zzz' in the table. It has: 'income', 'month'."),
        ("log(incom):month", "no column 'incom'"),
    ],
)
def test_unknown_columns(text: str, expected: str) -> None:
    assert expected in message_of(text, {"income": np.ones(2), "month": np.ones(2)})


def test_a_long_list_of_columns_is_cut() -> None:
    wide = {f"x{i:02}": np.ones(1) for i in range(20)}
    message = message_of("other", wide)
    assert "'x09', ..." in message
    assert "'x10'" not in message
    assert "It has: no columns." in message_of("other", {})


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(["a", "b"]),
        pd.Series(["1", "2"], dtype="category"),
        pd.Series([1, 2], dtype="category"),
        pd.Series([1, 2], dtype=object),
        pd.to_datetime(pd.Series(["2020-01-01", "2020-01-02"])),
        pd.Series([1j, 2j]),
        np.array(["a", "b"]),
    ],
    ids=lambda values: str(values.dtype),
)
def test_columns_that_are_no_numbers_are_named_with_their_dtype(values) -> None:
    message = message_of("x", {"x": values})
    assert "column 'x' is not numeric (dtype " in message
    assert str(pd.Series(values).dtype) in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log(x)", "log(x) is not defined: x has 2 zero or negative values (rows 1, 2)."),
        ("sqrt(x)", "sqrt(x) is not defined: x has 1 negative value (row 2)."),
        ("x**-2", "I(x**-2) is not defined: x has 1 zero value (row 1)."),
        ("x**0.5", "I(x**0.5) is not defined: x has 1 negative value (row 2)."),
        ("log(center(x))", "log(center(x)) is not defined: center(x) has 2 zero or negative"),
        ("scale(one)", "scale(one) is not defined: one is constant (0.1)."),
        ("exp(big)", "exp(big) overflows: it has 1 infinite value (row 1)."),
        ("big**2", "I(big**2) overflows: it has 1 infinite value (row 1)."),
        ("big:huge", "term big:huge has 1 overflowing value (row 1)."),
    ],
)
@pytest.mark.filterwarnings("error")
def test_domains(text: str, expected: str) -> None:
    columns = {
        "x": np.array([3.0, 0.0, -2.0]),
        "one": np.full(3, 0.1),
        "big": np.array([1.0, 1e200, 2.0]),
        "huge": np.array([1.0, 1e200, 2.0]),
    }
    assert expected in message_of(text, columns)


def test_shapes_are_checked() -> None:
    assert "have different lengths" in message_of("x:z", {"x": np.ones(2), "z": np.ones(3)})
    assert "column 'x' has 2 dimensions" in message_of("x", {"x": np.ones((2, 2))})
    assert "column 'x' has no rows" in message_of("x", {"x": np.ones(0)})
    twice = pd.DataFrame(np.ones((2, 2)), columns=["x", "x"])
    assert "the table has 2 columns called 'x'" in message_of("x", twice)
    assert "the table has no columns" in message_of("Intercept", {})


def test_a_frame_of_no_columns_still_has_rows() -> None:
    np.testing.assert_array_equal(evaluate(Term(), pd.DataFrame(index=range(4))), np.ones(4))


def test_the_table_is_left_as_it_was() -> None:
    columns = table()
    evaluate(parse_term("scale(x):n"), columns)
    for name, values in table().items():
        np.testing.assert_array_equal(columns[name], values)


def test_a_masked_entry_is_missing() -> None:
    masked = np.ma.MaskedArray([1.0, 2.0], mask=[False, True])
    with pytest.raises(DataError, match=re.escape("1 missing value (row 1)")):
        numeric_column({"x": masked}, "x")


def test_constant() -> None:
    assert is_constant(np.full(3, 0.1))
    assert not is_constant(np.array([1.0, 1.0, 1.0 + 1e-15]))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (["1.5", "2", "n/a", "4"], "'n/a' in row 2"),
        (["1.5", "2"], "'1.5' in row 0"),
        ([1.0, None, "3,5"], "'3,5' in row 2"),
        ([1.0, {"a": 1}], "a value of type dict in row 1"),
        (pd.to_datetime(["2020-01-01"] * 2), "Timestamp('2020-01-01 00:00:00') in row 0"),
        (pd.Categorical(["a", "b"]), "'a' in row 0"),
        (np.array([1j, 2.0]), "1j in row 0"),
        (["x" * 5000], f"'{'x' * 59}... in row 0"),
    ],
    ids=str,
)
def test_what_is_not_numeric_is_shown(values: Any, shown: str) -> None:
    column = pd.Series(values, dtype=object if isinstance(values, list) else None)
    message = message_of("x", pd.DataFrame({"x": column}))
    assert f"): {shown}. Convert it to numbers" in message


def test_dates_that_python_has_no_value_for_are_not_numeric() -> None:
    far = pd.array([10**18] * 2, dtype=pd.ArrowDtype(pa.timestamp("s")))
    message = message_of("x", pd.DataFrame({"x": far}))
    assert message.startswith("column 'x' is not numeric (dtype timestamp[s][pyarrow]).")


def test_columns_named_by_numbers_and_levels_in_the_index() -> None:
    numbers = pd.DataFrame([[1.0, 2.0]])
    assert "one named 1, of type int: table.rename(columns=str)" in message_of("`1`", numbers)
    assert evaluate(parse_term("`1`"), numbers.rename(columns=str)).tolist() == [2.0]
    # One number among names is not what was meant by another name.
    mixed = pd.DataFrame({3: [1.0], "income": [1.0]})
    assert "Did you mean 'income'?" in message_of("incom", mixed)
    indexed = pd.DataFrame({"x": [1.0], "month": [2.0]}).set_index("month")
    message = message_of("month", indexed)
    assert "It is in the index: table.reset_index() makes it a column." in message
    assert evaluate(parse_term("month"), indexed.reset_index()).tolist() == [2.0]
