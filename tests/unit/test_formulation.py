"""Formulations: words and back."""

from itertools import product

import pytest

from nestor.engines.formulation import Formulation
from nestor.errors import SpecError

LEVELS = ("degree", "state", "a=b")
C, N = "centered", "noncentered"


@pytest.mark.parametrize(
    ("words", "centering"),
    [
        ([], (N, N, N)),
        (["centered"], (C, C, C)),
        (["centered", "centered"], (C, C, C)),
        (["state=centered"], (N, C, N)),
        (["centered", "state=noncentered"], (C, N, C)),
        (["state=noncentered", "centered"], (C, N, C)),
        (["a=b=centered"], (N, N, C)),
        (["state=centered", "state=centered"], (N, C, N)),
    ],
)
def test_words(words, centering):
    assert Formulation.parse(words, LEVELS) == Formulation(LEVELS, centering)


@pytest.mark.parametrize("centering", list(product((C, N), repeat=3)))
def test_words_read_back_and_name_only_the_exceptions(centering):
    found = Formulation(LEVELS, centering)
    assert Formulation.parse(found.words, LEVELS) == found
    assert len(found.words) == 1 + min(centering.count(C), centering.count(N))
    assert str(found) == ",".join(found.words)
    assert [found.is_centered(level) for level in LEVELS] == [how == C for how in centering]


@pytest.mark.parametrize(
    ("words", "likelihood", "coefficients"),
    [
        (["rows"], "rows", "sampled"),
        (["statistics"], "statistics", "sampled"),
        (["centered", "statistics"], "statistics", "sampled"),
        (["marginalized"], "statistics", "marginalized"),
        (["marginalized", "statistics"], "statistics", "marginalized"),
    ],
)
def test_words_of_the_likelihood_and_of_coefficients(words, likelihood, coefficients):
    found = Formulation.parse(words, LEVELS)
    assert (found.likelihood, found.coefficients) == (likelihood, coefficients)
    assert found.is_centered("state") == ("centered" in words)
    assert Formulation.parse(found.words, LEVELS) == found


def test_marginalized_coefficients_have_no_other_choices():
    with pytest.raises(SpecError, match="Write marginalized alone"):
        Formulation(LEVELS, (C, N, N), "statistics", "marginalized")
    with pytest.raises(SpecError, match="Write marginalized alone"):
        Formulation(LEVELS, (N, N, N), "rows", "marginalized")


def test_a_tie_is_named_noncentered():
    assert Formulation(("a", "b"), (C, N)).words == (N, "a=centered")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["centered", "noncentered"], "cannot be both centered and noncentered"),
        (["state=centered", "state=noncentered"], "level 'state' cannot be both"),
        (["county=centered"], r"no level 'county'; the levels are \['degree', 'state', 'a=b'\]"),
        (["=centered"], "no level ''"),
        (["rows", "statistics"], "both rows and statistics"),
        (["marginalized", "state=centered"], "cannot be combined with 'state=centered'"),
        (["marginalized", "rows"], "cannot be combined with 'rows'"),
        (["cozy"], "'cozy' is not a formulation"),
        (["state=cozy"], "'cozy' is not a formulation"),
        ([""], "'' is not a formulation"),
    ],
)
def test_contradictions_are_refused(words, message):
    with pytest.raises(SpecError, match=message):
        Formulation.parse(words, LEVELS)
