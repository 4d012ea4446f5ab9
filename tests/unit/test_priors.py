"""Priors: text, errors, and densities against formulas written out by hand."""

import math
import pickle
from math import atan, exp, inf, lgamma, log, pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from nestor.errors import SpecError
from nestor.model.priors import PRIOR_FAMILIES, Prior

FINITE = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(min_value=1e-307, allow_infinity=False)  # reciprocals fit, too
LOG_2 = log(2)


def normal(x, mu, sigma):
    return -0.5 * ((x - mu) / sigma) ** 2 - log(sigma) - 0.5 * log(2 * pi)


def student_t(x, nu, mu, sigma):
    constant = lgamma((nu + 1) / 2) - lgamma(nu / 2) - 0.5 * log(nu * pi) - log(sigma)
    return constant - (nu + 1) / 2 * math.log1p(((x - mu) / sigma) ** 2 / nu)


# Textbook densities in the parameters of the design: Exponential and Gamma by their rate, InverseGamma
# by its scale, scales as standard deviations, halves with the factor 2.
BY_HAND = [
    ("Normal(1.5, 2)", lambda x: normal(x, 1.5, 2)),
    ("StudentT(3, 1, 2)", lambda x: student_t(x, 3, 1, 2)),
    ("Cauchy(-1, 2)", lambda x: -log(pi * 2 * (1 + ((x + 1) / 2) ** 2))),
    ("HalfNormal(2)", lambda x: LOG_2 + normal(x, 0, 2)),
    ("HalfStudentT(4, 3)", lambda x: LOG_2 + student_t(x, 4, 0, 3)),
    ("HalfCauchy(2)", lambda x: log(2 / (pi * 2 * (1 + (x / 2) ** 2)))),
    ("Exponential(3)", lambda x: log(3) - 3 * x),
    ("Gamma(2, 0.1)", lambda x: 2 * log(0.1) - lgamma(2) + log(x) - 0.1 * x),
    ("Gamma(0.5, 4)", lambda x: 0.5 * log(4) - lgamma(0.5) - 0.5 * log(x) - 4 * x),
    ("InverseGamma(2.5, 3)", lambda x: 2.5 * log(3) - lgamma(2.5) - 3.5 * log(x) - 3 / x),
    ("LogNormal(1, 0.5)", lambda x: normal(log(x), 1, 0.5) - log(x)),
    ("Uniform(-1, 3)", lambda x: -log(4)),
    ("Uniform(0, 1000)", lambda x: -log(1000)),
]
PRIORS = [Prior.parse(text) for text, _ in BY_HAND]


def ids(value):
    return str(value) if isinstance(value, Prior) else None


def test_every_family_has_a_density_by_hand():
    assert {prior.family for prior in PRIORS} == set(PRIOR_FAMILIES)


@pytest.mark.parametrize(("text", "by_hand"), BY_HAND, ids=[text for text, _ in BY_HAND])
def test_density_is_the_textbook_one(text, by_hand):
    prior = Prior.parse(text)
    low, high = prior.bounds
    points = [x for x in (-37.0, -0.99, 1e-3, 0.5, 1.0, 2.9, 40.0, 999.0) if low < x < high]
    assert len(points) >= 3
    found = prior.scipy().logpdf(np.array(points))
    assert found == pytest.approx([by_hand(x) for x in points], rel=1e-12)


@pytest.mark.parametrize("prior", PRIORS, ids=ids)
def test_density_integrates_to_one(prior):
    # tan maps an interval to the whole line, so that heavy tails are integrated to infinity.
    low, high = (atan(b) for b in prior.bounds)

    def density(t):
        return exp(float(prior.scipy().logpdf(math.tan(t)))) * (1 + math.tan(t) ** 2)

    middle = atan(float(prior.scipy().ppf(0.5)))
    parts = [quad(density, *ends, limit=500)[0] for ends in ((low, middle), (middle, high))]
    assert parts == pytest.approx([0.5, 0.5], abs=1e-7)


@pytest.mark.parametrize("prior", PRIORS, ids=ids)
def test_density_is_minus_infinity_outside_the_bounds(prior):
    outside = [x for end in prior.bounds for x in (end - 1e-9, end + 1e-9)
               if math.isfinite(end) and not prior.bounds[0] <= x <= prior.bounds[1]]  # fmt: skip
    assert len(outside) == sum(math.isfinite(end) for end in prior.bounds)
    assert all(prior.scipy().logpdf(x) == -inf for x in outside)


@pytest.mark.parametrize("prior", PRIORS, ids=ids)
def test_not_a_number_stays_visible(prior):
    assert np.isnan(prior.scipy().logpdf(np.nan))


@pytest.mark.parametrize("prior", PRIORS, ids=ids)
def test_draws_follow_the_quantiles(prior):
    draws = prior.scipy().rvs(size=4000, random_state=np.random.default_rng(3))
    for q in (0.1, 0.5, 0.9):
        # Five binomial standard errors: missed with probability 6e-7.
        bound = 5 * math.sqrt(q * (1 - q) / 4000)
        assert np.mean(draws <= prior.scipy().ppf(q)) == pytest.approx(q, abs=bound)


def test_half_student_t_at_zero_is_outside_and_above_is_twice_the_t():
    half = Prior.parse("HalfStudentT(4, 3)").scipy()
    assert half.logpdf(0.0) == -inf
    assert half.logpdf(np.array([[1.0], [2.0]])).shape == (2, 1)
    # The quartile of |t| is the 62.5% quantile of t, and t(4) has an inverse in closed form (Shaw 2006).
    root = math.sqrt(4 * 0.625 * 0.375)
    quartile = 2 * math.sqrt(math.cos(math.acos(root) / 3) / root - 1)
    assert half.ppf(0.25) == pytest.approx(3 * quartile, rel=1e-12)


@given(FINITE, POSITIVE)
def test_text_reads_back_exactly(mu, sigma):
    prior = Prior("Normal", (mu, sigma))
    assert Prior.parse(str(prior)) == prior


@given(FINITE)
def test_known_values_read_back_exactly(value):
    prior = Prior.parse(value)
    assert prior.is_fixed
    assert prior.value == value
    assert Prior.parse(str(prior)) == Prior.parse(repr(value)) == prior


@pytest.mark.parametrize("prior", PRIORS, ids=ids)
def test_every_family_reads_back(prior):
    assert Prior.parse(str(prior)) == prior
    assert Prior.parse(prior) is prior
    assert pickle.loads(pickle.dumps(prior)) == prior


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("Normal(0, 1)", (0, 1)),
        ("  Normal ( -1e3,\n2.5e-300 ) ", (-1000, 2.5e-300)),
        ("Normal(+0,.5)", (0, 0.5)),
    ],
)
def test_spelling_is_free(text, args):
    assert Prior.parse(text) == Prior("Normal", args)


@pytest.mark.parametrize("number", [2, 2.0, np.float64(2), np.float32(2), np.int64(2), "2", "2.0"])
def test_a_bare_number_is_a_known_value(number):
    assert Prior.parse(number) == Prior("Fixed", (2.0,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read the prior ''"),
        ("Half", "cannot read the prior 'Half'"),
        ("Normal(0, 1", "cannot read"),
        ("Normal(0, 1) + 1", "cannot read"),
        ("Normal(0, x)", "'x' is not a number"),
        ("HalfNormal(1_0)", "'1_0' is not a number"),
        ("HalfNormal(\u0661)", "is not a number"),
        ("1_0", "cannot read the prior '1_0'"),
        ("Normal(0, 1,)", "'' is not a number"),
        ("HalfNormal(sigma=1)", "'sigma=1' is not a number"),
        ("normal(0, 1)", "unknown prior 'normal'. Did you mean 'Normal'?"),
        ("LKJ(2)", "unknown prior 'LKJ'"),
        ("Normal(0)", r"Normal\(mu, sigma\) takes 2 number\(s\), but 1 were given"),
        ("Normal()", "but 0 were given"),
        ("HalfNormal(1, 2)", "takes 1 number"),
        ("Normal(0, 0)", r"Normal\(0, 0\): sigma must be greater than 0"),
        ("StudentT(-1, 0, 1)", "nu must be greater than 0"),
        ("Gamma(2, 0)", "rate must be greater than 0"),
        ("InverseGamma(0, 1)", "shape must be greater than 0"),
        ("Uniform(1, 1)", "lower must be less than upper"),
        ("Uniform(2, 1)", "lower must be less than upper"),
        ("Normal(nan, 1)", "mu must be a finite number"),
        ("Normal(0, inf)", "sigma must be a finite number"),
        ("nan", "value must be a finite number"),
        ("1e400", "value must be a finite number"),
        ("LogNormal(1000, 1)", "too extreme"),
        ("LogNormal(-1000, 1)", "too extreme"),
        ("Exponential(1e-320)", "too extreme"),
        ("Gamma(2, 1e-320)", "too extreme"),
        ("Uniform(-1e308, 1e308)", "too extreme"),
        (True, "not True"),
        (None, "not None"),
        ([1], r"not \[1\]"),
        (10**400, "takes numbers"),
    ],
)
def test_what_is_no_prior_is_refused(text, message):
    with pytest.raises(SpecError, match=message):
        Prior.parse(text)


@pytest.mark.parametrize("args", [None, ("a", 1), ([1], 2)])
def test_parameters_are_numbers(args):
    with pytest.raises(SpecError, match="Normal takes numbers"):
        Prior("Normal", args)


def test_support():
    assert Prior.parse("HalfNormal(2)").bounds == (0, inf)
    assert Prior.parse("Normal(0, 2)").bounds == (-inf, inf)
    assert Prior.parse("Uniform(-1, 2)").bounds == (-1, 2)
    positive = ["HalfNormal(1)", "Uniform(0, 1)", "Uniform(1, 2)", "LogNormal(-3, 1)", "4"]
    real = ["Normal(9, 1)", "Uniform(-1, 1)", "Uniform(-2, 0)", "Cauchy(0, 1)", "0", "-1"]
    assert all(Prior.parse(text).is_positive for text in positive)
    assert not any(Prior.parse(text).is_positive for text in real)


def test_a_known_value_and_a_distribution_are_not_mixed_up():
    with pytest.raises(SpecError, match="no density"):
        Prior.parse(3).scipy()
    with pytest.raises(SpecError, match="not a known value"):
        _ = Prior.parse("HalfNormal(3)").value


def test_half_student_t_is_one_of_scipys_distributions():
    # All by quadrature of the density, or exactly: the half Student-t of nu = 4 has mean and variance 1.
    half = Prior("HalfStudentT", (4, 2.0)).scipy()
    assert half.mean() == pytest.approx(2.0, rel=1e-12)
    assert half.std() == pytest.approx(2.0, rel=1e-12)
    assert half.support() == (0.0, inf)
    assert half.median() == pytest.approx(half.ppf([0.5, 0.1])[0])
    assert half.cdf([0.0, half.median()]) == pytest.approx([0.0, 0.5])
    assert half.sf(3.0) == pytest.approx(quad(half.pdf, 3.0, inf)[0])
    assert half.cdf(half.interval(0.8)) == pytest.approx([0.1, 0.9])
    assert half.rvs(5, random_state=1).shape == (5,)
    assert half.rvs(5, random_state=1) == pytest.approx(half.rvs(5, random_state=1))
    assert Prior("HalfStudentT", (2, 1)).scipy().std() == inf
    assert np.isnan(Prior("HalfStudentT", (1, 1)).scipy().std())


@pytest.mark.parametrize("nu", [3.99e5, 4.01e5, 1e12, 1e20, 1e308])
def test_half_student_t_of_many_degrees_of_freedom_is_half_normal(nu):
    half, normal = Prior("HalfStudentT", (nu, 2.0)).scipy(), Prior("HalfNormal", (2.0,)).scipy()
    # The mean is the half-normal's times 1 + 3 / (4 nu), the mean square times 1 + 2 / nu, up to 1 / nu^2.
    assert half.mean() == pytest.approx(normal.mean() * (1 + 0.75 / nu), rel=1e-9)
    assert half.moment(2) == pytest.approx(4.0 * (1 + 2 / nu), rel=1e-9)
    assert half.std() == pytest.approx(normal.std(), rel=1e-5)


@pytest.mark.parametrize(
    "text", ["Gamma(2, 1e16)", "Gamma(0.5, 1e300)", "Exponential(1e16)", "Normal(0, 1e-300)"]
)
def test_densities_that_underflow_are_zero_and_not_unknown(text):
    prior = Prior.parse(text)
    x = np.array([5e-324, 1e-300, 1e-16, 1.0, 1e10, 1e290, 1e300, 1.7e308])
    assert not np.isnan(prior.scipy().logpdf(x)).any()
    assert math.isfinite(prior.scipy().logpdf(prior.scipy().ppf(0.4)))


@pytest.mark.parametrize("family", ["HalfNormal", "HalfCauchy", "Exponential"])
def test_scales_without_a_reciprocal_are_refused(family):
    with pytest.raises(SpecError, match="too extreme"):
        Prior(family, (1e-310,))


@pytest.mark.parametrize(
    ("family", "args", "message"),
    [
        ({}, "12", "family is a name"),
        (None, (1,), "family is a name"),
        ("Normal", "12", "takes numbers, not '12'"),
        ("Normal", {0: 1, 1: 2}, "takes numbers"),
        ("Normal", {0, 1}, "takes numbers"),
        ("Normal", (True, 1), "takes numbers"),
        ("Normal", iter([0, 1]), "in a list or a tuple, not an iterator"),
        ("Normal", (np.array([1]), 1), "takes numbers"),
        ("x" * 3000, (1,), "unknown prior 'xxx"),
    ],
)
def test_anything_else_is_no_prior(family, args, message):
    with pytest.raises(SpecError, match=message) as error:
        Prior(family, args)
    assert len(str(error.value)) < 400
