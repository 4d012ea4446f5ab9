"""Notes: what data cannot tell is said, in one sentence each, of a table and of batches alike."""

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, Problem, Unsupported
from nestor.data.notes import _FAR, gate_hint, sampling_notes
from nestor.engines.contender import Contender
from nestor.engines.formulation import Formulation
from nestor.model.terms import parse_term
from nestor.views.sentences import note_lines

N = 60
RNG = np.random.default_rng(60)


@pytest.fixture(scope="module")
def table():
    g = np.arange(N) // 5
    y, x, other = RNG.normal(size=(3, N))
    year = RNG.integers(2000, 2020, N).astype(float)
    return pd.DataFrame(
        {
            "y": y,
            "x": x,
            "other": other,
            "year": year,
            "fahrenheit": 1.8 * x + 32.0,
            "both": x - 0.1 * other,
            "sign": np.where(np.arange(N) % 2, 1.0, -1.0),
            "of g": np.random.default_rng(1).normal(size=12)[g],
            "of s": np.random.default_rng(2).normal(size=3)[g // 4],
            "w": np.linspace(1, 2, N),
            "bool": y > 0,
            "two": 1 + (y > 0),
            "three": np.sign(np.round(y)),
            "s": g // 4,
            "g": g,
            "pair": np.arange(N) // 2,
            "one": np.arange(N),
        }
    )


def noted(table, formula, **model):
    """Notes of the whole table, which must be those of its batches."""
    spec = ModelSpec.from_formula(formula, **model)
    found = Problem(spec, table).notes
    if spec.family == "gaussian":
        batches = [table.iloc[:17], table.iloc[17:40], table.iloc[40:]]
        assert Problem.from_batches(spec, batches).notes == found
    return found


@pytest.mark.parametrize(
    ("formula", "model", "words"),
    [
        ("bool ~ x + (1 | g)", {}, ["'bool' has two values, 0 and 1", "linear probability model"]),
        ("two ~ x + (1 | g)", {}, ["'two' has two values, 1 and 2", "bernoulli", "gaussian"]),
        ("two ~ x + (1 | g)", {"family": "student_t"}, ["is taken as student_t"]),
        (
            "y ~ x + (1 | one)",
            {},
            ["every one has one row: tau_one[Intercept] and sigma cannot be told apart"],
        ),
        ("y ~ x + (1 | g/one)", {}, ["cannot be told apart", "or leave one out"]),
        ("y ~ 1 + (1 | g/one)", {"scale": "parent"}, ["cannot be told apart"]),
        ("y ~ x + (1 | one)", {"family": "student_t"}, ["can hardly be told apart"]),
        ("y ~ x + (0 + sign | one) + (1 | one)", {}, ["tau_one[Intercept] and tau_one[sign] and"]),
        (
            "y ~ x + fahrenheit + (1 | g)",
            {},
            ["x and fahrenheit are collinear", "Leave one of them out"],
        ),
        ("y ~ x + other + both + (both || g)", {}, ["are collinear", "is a combination of"]),
        (
            "y ~ `of g` + (`of g` || g)",
            {},
            ["every g has one value of `of g`", "Without that: y ~ 1 + `of g` + (1 || g)."],
        ),
        (
            "y ~ `of s` + (`of s` || s/g)",
            {},
            ["every s and every g has one value of", "y ~ 1 + `of s` + (1 || s/g)."],
        ),
        (
            "y ~ `of g` + (`of g` || s/g)",
            {},
            ["every g has one value of", "y ~ 1 + `of g` + (1 + `of g` || s) + (1 || s:g)."],
        ),
    ],
)
def test_what_data_cannot_tell_is_said(table, formula, model, words):
    found = noted(table, formula, **model)
    assert any(all(word in note for word in words) for note in found), found


def test_of_two_rows_it_matters_that_they_are_fitted_exactly(table):
    two = table.iloc[:2].assign(g=["a", "b"], y=[1.0, 2.0])
    found = noted(two, "y ~ 1 + (1 | g)")
    assert any("fits both rows exactly" in note for note in found)
    assert not any("two values" in note for note in found)
    assert noted(two, "y ~ 1 + (1 | g)", priors={"sigma": 1}) == ()


def test_pairs_of_opposite_signs_are_as_one_row_each(table):
    """X X' of a pair with signs 1 and -1 is twice the identity: sigma^2 is half a sum of tau^2."""
    (note,) = Problem(ModelSpec.from_formula("y ~ sign + (sign || pair)"), table).notes
    assert "every pair has too few rows: tau_pair[Intercept] and tau_pair[sign] and sigma" in note


@pytest.mark.parametrize(
    ("formula", "model"),
    [
        ("y ~ x + (x || s/g)", {}),
        ("three ~ x + (1 | g)", {}),
        ("y ~ x + (1 | one)", {"priors": {"sigma": 1}}),
        # Weights that differ say which part of the variance is the rows'.
        ("y ~ x + (1 | one)", {"weights": "w"}),
        # As do slopes alone, whose part grows with x^2.
        ("y ~ x + (0 + x | one)", {}),
        ("y ~ x + (x || pair)", {}),
        ("y ~ x + year + other + (1 | g)", {}),
        # Through the origin a line in x is not a multiple of x.
        ("y ~ 0 + x + fahrenheit + (0 + x | g)", {}),
        ("y ~ year + I(year**2) + (1 | g)", {}),
        # Without intercepts that vary there, a slope is what tells the nodes apart.
        ("y ~ 0 + `of g` + (0 + `of g` | g)", {}),
        ("y ~ `of g` + (`of g` || s)", {}),
    ],
    ids=str,
)
def test_other_data_have_no_notes(table, formula, model):
    assert noted(table, formula, **model) == ()


def test_collinear_in_the_rows_that_are_looked_at_first_only(table, monkeypatch):
    monkeypatch.setattr("nestor.data.notes._FIRST", 5)
    monkeypatch.setattr("nestor.data.notes._CHUNK", 7)
    spec = ModelSpec.from_formula("y ~ x + z + (1 | g)")
    stride = np.arange(N) % (N // 5) == 0
    z = np.where(stride, 2 * table.x, table.other)
    assert Problem(spec, table.assign(z=z)).notes == ()
    assert "collinear" in Problem(spec, table.assign(z=2 * table.x)).notes[0]


def sampled(problem):
    return Formulation.parse([], problem.spec.level_names)


def test_a_predictor_far_from_zero(table):
    spec = ModelSpec.from_formula("y ~ year + (year || g)")
    for problem in (Problem(spec, table), Problem.from_batches(spec, [table])):
        (note,) = sampling_notes(problem, sampled(problem))
        assert note == gate_hint(problem, sampled(problem))
        assert f"year (mean {table.year.mean():.5g}, sd {table.year.std(ddof=0):.3g})" in note
        assert ("write center(year)" if problem.has_rows else "subtract its mean") in note
        marginalized = Formulation.marginalized(problem.spec.level_names)
        assert sampling_notes(problem, marginalized) == ()
        assert gate_hint(problem, marginalized) == ""


@pytest.mark.parametrize(
    ("formula", "before", "after"),
    [
        ("y ~ x + (x || g)", False, False),
        ("y ~ year + (1 | g)", False, True),
        ("y ~ center(year) + (center(year) || g)", False, False),
        # Without an intercept there is nothing for the slope to depend on.
        ("y ~ 0 + year + (0 + year | g)", False, False),
    ],
)
def test_before_sampling_slopes_that_vary_are_named_and_after_it_all(table, formula, before, after):
    problem = Problem(ModelSpec.from_formula(formula), table)
    assert bool(sampling_notes(problem, sampled(problem))) == before
    assert bool(gate_hint(problem, sampled(problem))) == after


@pytest.mark.parametrize("ratio", [_FAR * 0.9, _FAR * 1.1])
def test_how_far_is_far(table, ratio):
    """About the constant itself: 10 sds, at which a centred small tree has a tenth of the ESS."""
    z = (table.x - table.x.mean()) / table.x.std(ddof=0) + ratio
    problem = Problem(ModelSpec.from_formula("y ~ z + (z || g)"), table.assign(z=z))
    assert bool(sampling_notes(problem, sampled(problem))) == (ratio > _FAR)


@pytest.mark.parametrize(
    "term", ["year", "I(year**2)", "sqrt(year)", "`the year`", "year:`the year`"]
)
def test_the_advice_is_a_term(table, term):
    table = table.assign(**{"the year": table.year + 0.5})
    problem = Problem(ModelSpec.from_formula(f"y ~ {term} + (1 | g)"), table)
    (advice,) = [
        part.removeprefix("write ").removesuffix(", or sample with marginalized coefficients")
        for part in gate_hint(problem, sampled(problem)).split(": ")
        if part.startswith("write ")
    ]
    assert parse_term(advice).name == advice
    if ":" not in term:  # a product of centred columns may have any mean
        centered = Problem(ModelSpec.from_formula(f"y ~ {advice} + (1 | g)"), table)
        assert not gate_hint(centered, sampled(centered))


@pytest.mark.usefixtures("fake_engines")
def test_notes_are_lines_with_the_contender_that_they_are_of(table):
    problem = Problem(ModelSpec.from_formula("two ~ year + (year || g)"), table)
    names = ("exact@centered", "exact@noncentered")
    contenders = [Contender.parse(name, ("g",)) for name in names]
    lines = note_lines(problem, contenders)
    assert [line.split(": ")[1][:12] for line in lines] == [
        "the outcome ",
        "exact:iid@ce",
        "exact:iid@no",
    ]
    assert all(line.startswith("note: ") for line in lines)


@pytest.mark.parametrize(
    ("formula", "without"),
    [
        ("y ~ 1 + (`of s` || s/g)", "y ~ 1 + (1 || s/g)"),
        (
            "y ~ 1 + (`of s` + x || s) + (0 + `of s` | s:g) + (1 | s:g)",
            "y ~ 1 + (1 + x || s) + (1 || s:g)",
        ),
        # It stays where intercepts do not vary, and then comes after what varies above it.
        (
            "y ~ 1 + (`of s` + x || s) + (0 + `of s` | s:g)",
            "y ~ 1 + (1 + x || s) + (0 + `of s` || s:g)",
        ),
        (
            "y ~ `of s` + offset(w) + (`of s` || s/g)",
            "y ~ 1 + `of s` + offset(w) + (1 || s/g)",
        ),
    ],
)
def test_the_advised_model_is_one(table, formula, without):
    (note,) = Problem(ModelSpec.from_formula(formula), table).notes
    advised = note.partition("Without that: ")[2].removesuffix(".")
    assert advised == without
    assert Problem(ModelSpec.from_formula(advised), table).notes == ()


def test_a_problem_that_cannot_be_in_batches_has_notes_all_the_same(table):
    spec = ModelSpec.from_formula("two ~ scale(year) + (1 | g)")
    with pytest.raises(Unsupported):
        Problem.from_batches(spec, [table])
    assert len(Problem(spec, table).notes) == 1
