"""Outcome families by name."""

import re

import pytest

from nestor.errors import SpecError
from nestor.model.families import FAMILIES, PLANNED, family


@pytest.mark.parametrize(
    ("name", "parameters"), [("gaussian", ("sigma",)), ("student_t", ("nu", "sigma"))]
)
def test_a_family_and_its_parameters(name, parameters):
    found = family(name)
    assert (found.name, found.parameters, found.link) == (name, parameters, "identity")
    assert found.weighted


def test_what_is_planned_is_named_as_such_and_is_not_there_yet():
    assert not set(PLANNED) & set(FAMILIES)
    for name in PLANNED:
        with pytest.raises(SpecError, match=f"'{name}' is not supported yet. Supported: gaussian"):
            family(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("normal", " Did you mean 'gaussian'?"),
        ("Gaussian", " Did you mean 'gaussian'?"),
        ("t", " Did you mean 'student_t'?"),
        ("", ""),
    ],
)
def test_an_unknown_family_lists_the_known_ones(name, meant):
    said = f"unknown family '{name}'.{meant} Supported: gaussian, student_t."
    with pytest.raises(SpecError, match=f"^{re.escape(said)}$"):
        family(name)
