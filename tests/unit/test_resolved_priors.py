"""Automatic priors against numbers worked out by hand, and which prior a parameter gets."""

import math

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, Prior, Problem
from nestor.data.resolved_priors import prior_blocks
from nestor.errors import DataError

# y has mean 3 and sd sqrt((4 + 1 + 0 + 9) / 4) = sqrt(3.5); x mean 1, sd 1; z mean -2, sd 2 (population
# standard deviations, as Bambi takes them). Slopes: 2.5 sqrt(3.5) / sd.
TABLE = pd.DataFrame(
    {
        "g": list("abab"),
        "h": list("ccdd"),
        "y": [1, 2, 3, 6],
        "x": [0, 0, 2, 2],
        "z": [0.0, -4.0, 0.0, -4.0],
        "b": [False, False, True, True],
        "e": [10.0, 10.0, 20.0, 20.0],
    }
)
UNIT = 2.5 * math.sqrt(3.5)


def resolved(formula, table=TABLE, **arguments):
    return Problem(ModelSpec.from_formula(formula, **arguments), table).priors


def numbers(priors):
    return {address: (prior.family, prior.args) for address, prior in priors.by_address().items()}


def close(family, *args):
    return (family, pytest.approx(args, rel=1e-12, abs=1e-12))


def test_slopes_intercept_scales_and_sigma():
    found = numbers(resolved("y ~ x + z + (x || g)"))
    # Intercept: sqrt(unit^2 + (unit * 1)^2 + (unit / 2 * -2)^2) = unit sqrt(3).
    assert found == {
        "beta[Intercept]": close("Normal", 3, UNIT * math.sqrt(3)),
        "beta[x]": close("Normal", 0, UNIT),
        "gamma[z]": close("Normal", 0, UNIT / 2),
        "tau_g[Intercept]": close("HalfNormal", UNIT * math.sqrt(3)),
        "tau_g[x]": close("HalfNormal", UNIT),
        "sigma": close("HalfStudentT", 4, math.sqrt(3.5)),
    }


def test_everything_that_came_from_the_data_is_listed():
    priors = resolved(
        "y ~ x + (x || g)", priors={"beta[x]": "Normal(0, 1)", "tau": "HalfNormal(1)"}
    )
    assert priors.automatic == {"beta[Intercept]", "sigma"}
    assert resolved("y ~ x + (x || g)").automatic == set(numbers(resolved("y ~ x + (x || g)")))


def test_the_offset_is_taken_from_the_outcome():
    # y - e is -9, -8, -17, -14: mean -12, sd sqrt((9 + 16 + 25 + 4) / 4) = sqrt(13.5).
    found = numbers(resolved("y ~ 1 + offset(e) + (1 || g)"))
    assert found["beta[Intercept]"] == close("Normal", -12, 2.5 * math.sqrt(13.5))
    assert found["sigma"] == close("HalfStudentT", 4, math.sqrt(13.5))


def test_without_an_intercept_there_is_none():
    found = numbers(resolved("y ~ 0 + x + (0 + x || g)"))
    assert set(found) == {"beta[x]", "tau_g[x]", "sigma"}
    assert found["tau_g[x]"] == close("HalfNormal", UNIT)


def test_an_effect_of_mean_zero_has_a_scale_but_no_population_prior():
    found = numbers(resolved("y ~ 1 + (x || g)"))
    assert "beta[x]" not in found
    assert found["tau_g[x]"] == close("HalfNormal", UNIT)
    # and it plays no part in the intercept's scale, which sums over the population part
    assert found["beta[Intercept]"] == close("Normal", 3, UNIT)


def test_an_intercept_that_does_not_vary_is_still_one():
    found = numbers(resolved("y ~ 1 + x + (0 + x || g)"))
    assert found["gamma[Intercept]"] == close("Normal", 3, UNIT * math.sqrt(2))


def test_booleans_are_zero_and_one():
    # b is 0, 0, 1, 1: mean 1/2, sd 1/2.
    found = numbers(resolved("y ~ b + (1 || g)"))
    assert found["gamma[b]"] == close("Normal", 0, 2 * UNIT)
    assert found["beta[Intercept]"] == close("Normal", 3, UNIT * math.sqrt(2))


def test_nu_has_a_default_that_no_data_changes():
    found = numbers(resolved("y ~ 1 + (1 || g)", family="student_t"))
    assert found["nu"] == ("Gamma", (2.0, 0.1))


@pytest.mark.parametrize("factor", [1e-140, 1e-9, 1e9, 1e140])
def test_scales_follow_the_outcomes_unit(factor):
    table = TABLE.assign(y=TABLE.y * factor)
    found = numbers(resolved("y ~ x + (1 || g)", table))
    assert found["gamma[x]"][1][1] == pytest.approx(UNIT * factor, rel=1e-12)
    assert found["sigma"][1][1] == pytest.approx(math.sqrt(3.5) * factor, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": 3.0}, "the outcome is constant"),
        ({"y": TABLE.y * 1e-300}, "the outcome is too large or too small"),
        ({"y": TABLE.y * 1e300}, "the outcome is too large or too small"),
        ({"x": TABLE.x * 1e-300}, "predictor 'x' is too large or too small"),
        ({"x": TABLE.x * 1e300}, "predictor 'x' is too large or too small"),
        ({"x": TABLE.x * 1e-157, "y": TABLE.y * 1e153}, "predictor 'x' is too large"),
        ({"x": TABLE.x * 1e-80, "y": TABLE.y * 1e80}, "predictor 'x' is too large"),
    ],
)
def test_data_without_a_scale_are_refused_unless_none_is_needed(changes, message):
    table = TABLE.assign(**changes)
    with pytest.raises(DataError, match=message):
        resolved("y ~ x + (1 || g)", table)
    vague = dict.fromkeys(("beta", "gamma"), "Normal(0, 1)") | dict.fromkeys(
        ("tau", "sigma"), "HalfNormal(1)"
    )
    assert not resolved("y ~ x + (1 || g)", table, priors=vague).automatic


@pytest.mark.parametrize("n", [3, 37, 1000])
def test_a_constant_whose_mean_is_rounded_is_constant(n):
    # The mean of n times 0.1 is not 0.1 for n = 3 and 37, which leaves an sd of about 1e-17.
    table = pd.DataFrame({"y": 0.1, "g": np.arange(n) % 2})
    with pytest.raises(DataError, match="the outcome is constant"):
        resolved("y ~ 1 + (1 || g)", table)


def test_an_outcome_equal_to_its_offset_is_constant():
    with pytest.raises(DataError, match="the outcome is constant"):
        resolved("y ~ 1 + offset(e) + (1 || g)", TABLE.assign(e=TABLE.y))


def test_the_users_prior_goes_before_the_automatic_one():
    priors = {
        "beta[x]": "Normal(1, 2)",
        "tau": "HalfNormal(1)",
        "tau[x]": "HalfNormal(2)",
        "tau_h": "HalfNormal(3)",
        "sigma": 5,
    }
    found = resolved("y ~ x + (x || g/h)", priors=priors)
    assert found.beta["x"] == Prior("Normal", (1, 2))
    assert found.beta["Intercept"].args[0] == pytest.approx(3)
    assert [str(p) for p in found.tau["g"].values()] == ["HalfNormal(1)", "HalfNormal(2)"]
    assert [str(p) for p in found.tau["h"].values()] == ["HalfNormal(3)", "HalfNormal(3)"]
    assert found.family["sigma"].value == 5


def test_blocks_group_entries_by_family_and_keep_their_places():
    priors = {
        "a": Prior("Normal", (0, 1)),
        "b": Prior("Cauchy", (2, 3)),
        "c": Prior("Normal", (4, 5)),
    }
    normal, cauchy = prior_blocks(priors)
    assert (normal.family, normal.positions) == ("Normal", (0, 2))
    assert [list(column) for column in normal.args] == [[0, 4], [1, 5]]
    assert (cauchy.family, cauchy.positions) == ("Cauchy", (1,))
    assert [list(column) for column in cauchy.args] == [[2], [3]]
    assert all(column.dtype == np.float64 for block in (normal, cauchy) for column in block.args)
    assert prior_blocks({}) == ()


def test_totals_of_batches_give_the_priors_of_all_rows():
    # Weights take no part in automatic priors, whether rows are read at once or in batches.
    table = TABLE.assign(w=[1.0, 2.0, 3.0, 4.0])
    spec = ModelSpec.from_formula("y ~ x + z + b + offset(e) + (x || g)", weights="w")
    found = Problem.from_batches(spec, [table.iloc[:1], table.iloc[1:3], table.iloc[3:]]).priors
    assert numbers(found) == {
        address: close(*flat) for address, flat in flattened(Problem(spec, table).priors).items()
    }


def flattened(priors):
    return {address: (p.family, *p.args) for address, p in priors.by_address().items()}
