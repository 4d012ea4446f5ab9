"""Numbers near the ends of double precision, and far from zero: right, or refused with a reason."""

import math

import numpy as np
import pandas as pd
import pytest

from nestor import DataError, ModelSpec, Problem
from nestor.data.statistics import moments
from nestor.data.statistics.streaming import ColumnTotals

N = 120
OWN = {
    "beta": "Normal(0, 1)",
    "tau_g": "HalfNormal(1)",
    "tau_h": "HalfNormal(1)",
    "sigma": "HalfNormal(1)",
}
FORMULA = "y ~ x + (x || g/h)"
SPEC = ModelSpec.from_formula(FORMULA)
OWN_SPEC = ModelSpec.from_formula(FORMULA, priors=OWN)
WEIGHTED = ModelSpec.from_formula(FORMULA, weights="w")

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def make_table():
    rng = np.random.default_rng(8)
    keys = {"g": rng.choice(["a", "b", "c"], N), "h": rng.choice(["x", "y"], N)}
    return pd.DataFrame(keys | {"x": rng.normal(size=N), "y": rng.normal(size=N), "w": 1.0})


TABLE = make_table()


def streamed(spec, table, size=50):
    return Problem.from_batches(spec, [table[i : i + size] for i in range(0, N, size)])


def whole(spec, table):
    problem = Problem(spec, table)
    assert problem.statistics.n_rows == N
    return problem


def refused(spec, table, message):
    for make in (whole, streamed):
        with pytest.raises(DataError, match=message):
            make(spec, table)


@pytest.mark.parametrize("column", ["x", "y"])
@pytest.mark.parametrize("factor", [1e-160, 1e-153, 1e154, 1e200, 1e307])
def test_columns_whose_squares_are_out_of_range_are_refused(column, factor):
    name = "the outcome" if column == "y" else "predictor 'x'"
    size = "small" if factor < 1 else "large"
    table = TABLE.assign(**{column: factor * TABLE[column]})
    refused(OWN_SPEC, table, rf"{name} is too {size} for its sum of squares.*Rescale the column\.")
    refused(SPEC, table, rf"{name} is too .*Rescale the column")  # by priors, or as above


def test_values_of_which_the_range_is_out_of_range_are_refused():
    largest = np.finfo(np.float64).max
    table = TABLE.assign(y=np.where(TABLE.y > 0, largest, -largest))
    refused(OWN_SPEC, table, "the outcome is too large")
    refused(SPEC, table, "the outcome is too large")


def test_an_outcome_less_its_offset_may_be_out_of_range():
    spec = ModelSpec.from_formula("y ~ x + offset(o) + (x || g/h)", priors=OWN)
    with pytest.raises(DataError, match="the outcome is too large"):
        streamed(spec, TABLE.assign(y=1.7e308, o=-1.7e308))


@pytest.mark.parametrize("factor", [1e-150, 1e150])
def test_columns_within_range_scale(factor):
    """Scaling a column scales its own parts of the statistics, and rounds nothing."""
    factor = 2.0 ** round(math.log2(factor))
    for make in (whole, streamed):
        plain = make(OWN_SPEC, TABLE).statistics
        by_x = make(OWN_SPEC, TABLE.assign(x=factor * TABLE.x)).statistics
        by_y = make(OWN_SPEC, TABLE.assign(y=factor * TABLE.y)).statistics
        np.testing.assert_allclose(by_x.root[:, 1, 1], factor * plain.root[:, 1, 1], rtol=1e-13)
        np.testing.assert_allclose(by_x.fit[:, 1], plain.fit[:, 1] / factor, rtol=1e-12)
        np.testing.assert_allclose(by_x.residual, plain.residual, rtol=1e-12)
        np.testing.assert_allclose(by_y.fit, factor * plain.fit, rtol=1e-12)
        np.testing.assert_allclose(by_y.residual, factor**2 * plain.residual, rtol=1e-12)
        np.testing.assert_allclose(by_x.pooled[1], plain.pooled[1] / factor, rtol=1e-10)


def test_an_outcome_of_zeros_is_not_too_small():
    for make in (whole, streamed):
        assert not make(OWN_SPEC, TABLE.assign(y=0.0)).statistics.residual.any()


@pytest.mark.parametrize(
    ("weight", "size"), [(1e308, "large"), (1e307, "large"), (5e-324, "small")]
)
def test_weights_out_of_range_are_refused(weight, size):
    message = rf"weights column 'w' is too {size} for its sum .*Rescale the column\."
    refused(WEIGHTED, TABLE.assign(w=weight), message)


@pytest.mark.parametrize("weight", [1e-200, 1e200])
def test_weights_within_range_scale(weight):
    for make in (whole, streamed):
        plain, found = (make(WEIGHTED, TABLE.assign(w=w)).statistics for w in (1.0, weight))
        np.testing.assert_allclose(found.residual, weight * plain.residual, rtol=1e-12)
        np.testing.assert_allclose(found.pooled, plain.pooled, rtol=1e-10)


def test_weights_and_outcomes_out_of_range_together_are_refused():
    spec = ModelSpec.from_formula(FORMULA, weights="w", priors=OWN)
    table = TABLE.assign(w=1e200, y=1e100 * TABLE.y)
    refused(spec, table, r"the outcome is too large .*Rescale the column or the weights")


def test_a_leaf_whose_coefficients_are_out_of_range_is_refused():
    here = (TABLE.g == "a") & (TABLE.h == "x")
    table = TABLE.assign(y=1e150 * TABLE.y, x=TABLE.x.where(~here, 1e-160 * TABLE.x))
    refused(OWN_SPEC, table, "a leaf's least-squares coefficients are too large")


def test_numbers_out_of_range_are_refused_without_warnings_in_several_blocks(monkeypatch):
    monkeypatch.setattr(moments, "BLOCK", 30)
    refused(OWN_SPEC, TABLE.assign(y=1e200 * TABLE.y), "the outcome is too large")


@pytest.mark.parametrize("centre", [0.0, 1e9, 1e12, -1e15])
@pytest.mark.parametrize("size", [1, 17, N])
def test_totals_far_from_zero_are_those_of_exact_arithmetic(centre, size):
    rng = np.random.default_rng(2)
    column = centre + np.round(rng.normal(size=N) * 64) / 8  # held exactly about every centre
    apart = column - centre
    mean = math.fsum(apart) / N
    sd = math.sqrt(math.fsum((apart - mean) ** 2) / N)
    found = ColumnTotals.of(column[None, :size])
    for start in range(size, N, size):
        found = found.merged(ColumnTotals.of(column[None, start : start + size], found.origin))
    summary = found.summary(0)
    assert summary.sd == pytest.approx(sd, rel=1e-13)
    assert summary.mean == pytest.approx(centre + mean, rel=1e-15, abs=1e-14)
    assert (summary.low, summary.high) == (column.min(), column.max())
