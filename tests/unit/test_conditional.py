"""Conditional moments of coefficients, against dense linear algebra."""

import numpy as np
import pytest

import nestor
from nestor import ModelSpec, Problem
from nestor.errors import SpecError, Unsupported
from nestor_reference import conditional_dense

FORMULAS = {
    "plain": ("y ~ x + (x || g/h)", {}),
    "covariates": ("y ~ x + z + (x || g/h)", {}),
    "effects of some levels": ("y ~ x + (x || g) + (0 + x || g:h)", {}),
    "no population mean": ("y ~ 1 + (x || g/h)", {}),
    "scales per parent": ("y ~ x + (x || g/h)", {"scale": "parent"}),
    "known sigma": ("y ~ x + (x || g/h)", {"priors": {"sigma": 0.8}}),
}


class Unreadable:
    def __float__(self):
        raise RuntimeError("no number today")


@pytest.fixture(scope="module", params=FORMULAS, ids=str)
def problem(request, small_table):
    formula, arguments = FORMULAS[request.param]
    table = small_table.assign(z=np.sin(np.arange(len(small_table))))
    return Problem(ModelSpec.from_formula(formula, **arguments), table)


def scales_of(problem):
    rng = np.random.default_rng(4)
    of = problem.variables.values()
    roles = ("scale", "family")
    return {v.name: np.exp(0.5 * rng.normal(size=v.shape)) for v in of if v.role in roles}


def test_moments_are_those_of_dense_algebra(problem):
    scales = scales_of(problem)
    dense = conditional_dense(problem, scales)
    found = nestor.conditional_moments(problem, scales)
    for name, mean in dense.mean.items():
        assert found.mean[name].to_numpy() == pytest.approx(mean, rel=1e-9, abs=1e-10)
        assert found.sd[name].to_numpy() == pytest.approx(dense.sd[name], rel=1e-7, abs=1e-7)


def test_they_are_labelled_as_draws_are(small_problem):
    found = nestor.conditional_moments(small_problem, scales_of(small_problem))
    assert found.mean.beta_h.sel(h="a/x", effect="x").shape == ()
    assert set(found.mean.beta_h.g_of_h.values) == set("abc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": 0.0}, "positive"),
        ({"sigma": np.inf}, "finite"),
        ({"tau_g": [1.0]}, "shape"),
        ({"tau_g": [-1.0, 1.0]}, "zero"),
        ({"tau_g": [np.nan, 1.0]}, "finite"),
        ({"tau_g": ["a"]}, r"tau_g must be numbers, not \['a'\]"),
        ({"tau_g": [[1.0], [1.0, 2.0]]}, "tau_g must be numbers"),
        ({"tau_g": {"Intercept": 1.0}}, "tau_g must be numbers"),
        ({"sigma": 10**400}, "sigma must be numbers, not a whole number of about 401 digits"),
        ({"tau_g": [10**400, 1.0]}, "tau_g must be numbers"),
        ({"sigma": Unreadable()}, "sigma must be numbers"),
        ({"sigma": "1.0"}, "sigma must be numbers, not '1.0'"),
    ],
)
def test_scales_that_are_none_are_refused(small_problem, change, message):
    with pytest.raises(SpecError, match=message):
        nestor.conditional_moments(small_problem, scales_of(small_problem) | change)


@pytest.mark.parametrize("scales", [None, 1.0, "tau_g", [1.0]], ids=repr)
def test_what_is_no_mapping_is_refused(small_problem, scales):
    with pytest.raises(SpecError, match="wanted as a mapping of names to numbers"):
        nestor.conditional_moments(small_problem, scales)


def test_what_is_no_problem_is_refused(small_problem):
    with pytest.raises(SpecError, match=r"a nestor\.Problem is wanted, not int"):
        nestor.conditional_moments(5, scales_of(small_problem))


def test_a_missing_scale_is_named(small_problem):
    scales = scales_of(small_problem)
    del scales["tau_h"]
    with pytest.raises(SpecError, match="tau_h"):
        nestor.conditional_moments(small_problem, scales)


def test_other_outcomes_are_refused(small_table):
    spec = ModelSpec.from_formula("y ~ x + (x || g/h)", family="student_t")
    problem = Problem(spec, small_table)
    with pytest.raises(Unsupported, match="student_t"):
        nestor.conditional_moments(problem, scales_of(problem))
