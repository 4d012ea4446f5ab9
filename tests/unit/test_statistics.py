"""Moments and leaf statistics against sums in more digits, at the edges, split and merged."""

import itertools
import math
import pickle
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, Problem, Unsupported
from nestor.data.statistics import Moments, leaf_statistics, moments
from nestor.data.statistics.leaf import from_moments
from nestor.data.statistics.moments import RunningMoments

COUNTS = (1, 2, 3, 40, 1, 700)


def rows_by_leaf(counts=COUNTS, d=2, seed=0, centre=0.0):
    rng = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
    return centre + rng.normal(size=(d, starts[-1])), starts


def exact_moments(columns, weights, starts):
    """Weight, mean and cross-products of each leaf in rational numbers, rounded once."""
    found = []
    for a, b in itertools.pairwise(starts):
        w = [Fraction(1)] * int(b - a) if weights is None else [Fraction(x) for x in weights[a:b]]
        rows = [[Fraction(x) for x in column[a:b]] for column in columns]
        total = sum(w)
        means = [sum(wi * x for wi, x in zip(w, row, strict=True)) / total for row in rows]
        cross = [
            [
                float(
                    sum(
                        wi * (x - m) * (y - k) for wi, x, y in zip(w, rows[i], rows[j], strict=True)
                    )
                )
                for j, k in enumerate(means)
            ]
            for i, m in enumerate(means)
        ]
        found.append((float(total), [float(m) for m in means], cross))
    weight, mean, cross = zip(*found, strict=True)
    return np.array(weight), np.array(mean).T, np.moveaxis(np.array(cross), 0, -1)


def assert_close(found, weight, mean, cross, rel):
    """Cross-products to within `rel` of the products of the columns' spreads."""
    np.testing.assert_allclose(found.weight, weight, rtol=rel)
    spread_of_mean = np.sqrt(np.einsum("iin->in", cross) / weight) + np.abs(mean)
    assert (np.abs(found.mean - mean) <= rel * spread_of_mean).all()
    spread = np.sqrt(np.einsum("iin->in", cross))
    allowed = rel * spread[:, None] * spread[None, :]
    assert (np.abs(found.cross - cross) <= allowed).all()


def weights_of(kind, n, seed=1):
    if kind is None:
        return None
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(size=n)) if kind == "mild" else 10.0 ** rng.uniform(-6, 6, n)


# --- moments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", [None, "mild", "twelve orders"])
@pytest.mark.parametrize("centre", [0.0, 1e8])
def test_moments_are_those_of_exact_arithmetic(weighting, centre):
    # About 1e8, raw sums of squares would keep no digit: 1e16 * 2^-53 is 1.
    columns, starts = rows_by_leaf(counts=(1, 2, 3, 40, 90), centre=centre)
    weights = weights_of(weighting, columns.shape[1])
    found = Moments.of_sorted(columns, weights, starts, centred=True)
    assert_close(found, *exact_moments(columns, weights, starts), rel=1e-13)
    assert list(found.rows) == [1, 2, 3, 40, 90]
    logs = 0.0 if weights is None else math.fsum(np.log(weights))
    assert found.sum_log_weights == pytest.approx(logs, rel=1e-13, abs=1e-12)


@pytest.mark.parametrize("block", [1, 50, 10**6])
def test_moments_do_not_depend_on_the_blocks(block, monkeypatch):
    columns, starts = rows_by_leaf()
    weights = weights_of("mild", columns.shape[1])
    whole = Moments.of_sorted(columns, weights, starts, centred=True)
    monkeypatch.setattr(moments, "BLOCK", block)
    found = Moments.of_sorted(columns, weights, starts, centred=True)
    np.testing.assert_allclose(found.cross, whole.cross, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-13)


def test_moments_about_zero_are_plain_sums():
    columns, starts = rows_by_leaf()
    weights = weights_of("mild", columns.shape[1])
    found = Moments.of_sorted(columns, weights, starts, centred=False)
    at = starts[:-1]
    assert not found.mean.any()
    expected = np.add.reduceat(weights * columns[0] * columns[1], at)
    np.testing.assert_allclose(found.cross[0, 1], expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("weighting", [None, "twelve orders"])
@pytest.mark.parametrize(("parts", "centre"), [(2, 0.0), (7, 0.0), (7, 1e9)])
def test_merged_moments_are_those_of_all_rows(centred, weighting, parts, centre):
    columns, starts = rows_by_leaf(centre=centre)
    n, N = len(starts) - 1, columns.shape[1]
    weights = weights_of(weighting, N)
    leaf = np.repeat(np.arange(n), COUNTS)
    part_of = np.random.default_rng(parts).integers(0, parts, N)
    running = RunningMoments(2, centred=centred)
    for part in range(parts):
        rows = part_of == part
        present, local = np.unique(leaf[rows], return_inverse=True)
        cuts = np.concatenate([[0], np.cumsum(np.bincount(local))]).astype(np.intp)
        some = None if weights is None else weights[rows]
        running.add(columns[:, rows], some, cuts, present, int(present[-1]) + 1)
    merged = running.moments()
    whole = Moments.of_sorted(columns, weights, starts, centred=centred)
    assert np.array_equal(merged.rows, whole.rows)
    assert merged.centred is centred
    # Means of parts, rounded to 2^-53 of the centre, would lose all but 7 digits.
    assert_close(merged, whole.weight, whole.mean, whole.cross, rel=1e-13)
    assert merged.sum_log_weights == pytest.approx(whole.sum_log_weights, rel=1e-12)


def test_merging_with_no_rows_changes_nothing():
    columns, starts = rows_by_leaf()
    some = Moments.of_sorted(columns, None, starts, centred=True)
    none = Moments.empty(len(COUNTS), 2, centred=True)
    for merged in (none.merged(some), some.merged(none)):
        assert np.array_equal(merged.mean, some.mean)
        assert np.array_equal(merged.cross, some.cross)
        assert np.array_equal(merged.rows, some.rows)


def test_a_thousand_million_rows_merge_as_well_as_a_thousand():
    """Doubled 20 times, 1,000 rows are 1.05e9: sums double and means stay, each time to a rounding."""
    columns, starts = rows_by_leaf(counts=(1000,), centre=1e6)
    once = Moments.of_sorted(columns, None, starts, centred=True)
    many = once
    for _ in range(20):
        many = many.merged(many)
    assert many.rows[0] == 1000 * 2**20
    assert_close(many, once.weight * 2**20, once.mean, once.cross * 2**20, rel=1e-14)
    # Another thousand rows beside them, about another mean, still count with the right weight.
    more = Moments.of_sorted(columns + 1.0, None, starts, centred=True)
    merged = many.merged(more)
    n, k = 1000.0 * 2**20, 1000.0
    between = n * k / (n + k)
    expected = float(once.cross[0, 0, 0]) * (2**20 + 1) + between
    assert merged.cross[0, 0, 0] == pytest.approx(expected, rel=1e-13)


# --- leaf statistics --------------------------------------------------------------------------

LEAVES = {
    "a": 50,
    "b": 2,  # as many rows as effects
    "c": 1,  # fewer
    "d": 9,  # x is constant here
    "e": 300,
}


def edge_table(seed=4, sigma=1.0, centre=0.0):
    rng = np.random.default_rng(seed)
    g = np.repeat(list(LEAVES), list(LEAVES.values()))
    n = len(g)
    table = pd.DataFrame({"g": g, "x": centre + rng.normal(size=n), "z": rng.normal(size=n)})
    table.loc[table.g == "d", "x"] = 0.1 + centre  # no sum of ten of these is exact
    table["w"] = np.exp(rng.normal(size=n))
    table["e"] = rng.normal(size=n)
    table["y"] = 3.0 + 2.0 * table.x + sigma * rng.normal(size=n)
    return table.sample(frac=1, random_state=7)


def problem(formula="y ~ x + z + offset(e) + (x || g)", table=None, **arguments):
    table = edge_table() if table is None else table
    return Problem(ModelSpec.from_formula(formula, **arguments), table)


def sum_of_squares(p, leaf, beta, gamma):
    """The weighted sum of squared residuals of one leaf's rows, in numbers of 80 bits."""
    rows = p.leaf == leaf
    wide = {n: getattr(p, n)[rows].astype(np.longdouble) for n in ("y", "X", "Z")}
    left = wide["y"] - wide["X"] @ beta - wide["Z"] @ gamma
    if p.offset is not None:
        left -= p.offset[rows]
    weights = np.longdouble(1.0) if p.weights is None else p.weights[rows].astype(np.longdouble)
    return float((weights * left**2).sum())


def from_statistics(found, leaves, beta, gamma):
    signed = np.concatenate([[1.0], -np.asarray(gamma)])
    total = signed @ found.residual @ signed
    for v in leaves:
        apart = found.root[v] @ (found.fit[v] @ signed - beta[v])
        total += apart @ apart
    return float(total)


@pytest.mark.parametrize(
    ("formula", "weights"),
    [
        ("y ~ x + z + offset(e) + (x || g)", "w"),
        ("y ~ x + (x || g)", None),
        ("y ~ 1 + (1 || g)", "w"),
        ("y ~ 0 + x + (0 + x || g)", "w"),
        ("y ~ x + z + (1 + x + z || g)", None),
        ("y ~ 1 + x + (0 + x || g)", "w"),
    ],
)
def test_the_sum_of_squares_is_that_of_the_rows_at_any_coefficients(formula, weights):
    p = problem(formula, weights=weights)
    found = leaf_statistics(p)
    rng = np.random.default_rng(1)
    for size in (1.0, 100.0):
        beta = size * rng.normal(size=(found.n_leaves, found.n_effects))
        gamma = size * rng.normal(size=found.n_covariates)
        expected = math.fsum(sum_of_squares(p, v, beta[v], gamma) for v in range(found.n_leaves))
        got = from_statistics(found, range(found.n_leaves), beta, gamma)
        assert got == pytest.approx(expected, rel=1e-12)
    assert found.n_rows == p.n_rows


@pytest.mark.parametrize("sigma", [1.0, 1e-4, 1e-8])
def test_small_residuals_keep_their_digits(sigma):
    """y is about 5: the usual y'y - b'A^-1 b would lose 1e-8^-2 of 16 digits, that is all."""
    p = problem("y ~ x + (x || g)", edge_table(sigma=sigma))
    found = leaf_statistics(p)
    beta = np.tile([3.0, 2.0], (found.n_leaves, 1))
    expected = math.fsum(sum_of_squares(p, v, beta[v], []) for v in range(found.n_leaves))
    # An outcome of 5 is rounded to 4e-16 when it is made, which both sides see; residuals add their own.
    assert from_statistics(found, range(found.n_leaves), beta, []) == pytest.approx(
        expected, rel=1e-12 + 5e-15 / sigma
    )


@pytest.mark.parametrize("centre", [0.0, 1e6])
def test_the_root_has_no_row_where_a_leaf_says_nothing(centre):
    found = leaf_statistics(problem("y ~ x + (x || g)", edge_table(centre=centre)))
    rank = [np.count_nonzero(np.diag(root)) for root in found.root]
    assert rank == [2, 2, 1, 1, 2]
    assert np.array_equal(found.root[:, 1, 0], np.zeros(5))  # triangular
    np.testing.assert_allclose(found.root[:, 0, 0] ** 2, list(LEAVES.values()), rtol=1e-14)
    # Without information of its own, a leaf has the slope of all rows about their leaves' means.
    schur = found.root[[0, 1, 4], 1, 1] ** 2
    pooled = (schur * found.fit[[0, 1, 4], 1, 0]).sum() / schur.sum()
    np.testing.assert_allclose(found.fit[[2, 3], 1, 0], pooled, rtol=1e-12)


def test_the_fit_is_least_squares():
    p = problem("y ~ x + (x || g)", weights="w")
    found = leaf_statistics(p)
    for v in (0, 1, 4):
        rows = p.leaf == v
        scale = np.sqrt(p.weights[rows])
        expected, *_ = np.linalg.lstsq(p.X[rows] * scale[:, None], p.y[rows] * scale, rcond=None)
        np.testing.assert_allclose(found.fit[v, :, 0], expected, rtol=1e-11)


def test_the_pooled_fit_is_that_of_all_rows():
    p = problem("y ~ x + z + (x || g)", weights="w")
    scale = np.sqrt(p.weights)[:, None]
    targets = np.column_stack([p.y, p.Z])
    expected, *_ = np.linalg.lstsq(p.X * scale, targets * scale, rcond=None)
    np.testing.assert_allclose(leaf_statistics(p).pooled, expected, rtol=1e-11)


def test_statistics_of_moments_are_those_of_rows():
    p = problem(weights="w")
    columns = np.vstack([p.X[:, 1], p.y - p.offset, p.Z.T])
    found = from_moments(
        Moments.of_sorted(columns, p.weights, p.index.starts, centred=True), p.effects
    )
    rows = leaf_statistics(p)
    np.testing.assert_allclose(found.root, rows.root, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(found.fit, rows.fit, rtol=1e-12)
    np.testing.assert_allclose(found.residual, rows.residual, rtol=1e-12)
    assert found.sum_log_weights == rows.sum_log_weights


def test_weights_over_twelve_orders():
    table = edge_table()
    table["w"] = 10.0 ** np.random.default_rng(2).uniform(-6, 6, len(table))
    p = problem("y ~ x + (x || g)", table, weights="w")
    found = leaf_statistics(p)
    beta = np.random.default_rng(3).normal(size=(5, 2))
    expected = math.fsum(sum_of_squares(p, v, beta[v], []) for v in range(5))
    assert from_statistics(found, range(5), beta, []) == pytest.approx(expected, rel=1e-12)


def test_other_outcomes_have_none():
    p = problem("y ~ x + (x || g)", family="student_t")
    with pytest.raises(Unsupported, match="student_t"):
        leaf_statistics(p)
    with pytest.raises(Unsupported, match="gaussian outcomes only"):
        _ = p.statistics


@pytest.mark.parametrize("sigma", [1.0, 1e-7])
@pytest.mark.parametrize("block", [1, 7, 60])
@pytest.mark.parametrize(
    "formula", ["y ~ x + z + (x || g)", "y ~ 0 + x + z + (0 + x || g)", "y ~ 1 + (1 || g)"]
)
def test_leaves_may_be_cut_into_pieces(formula, block, sigma, monkeypatch):
    """Small residuals keep their digits, too: pieces, of one row at worst, are put together again."""
    table = edge_table(sigma=sigma)
    table["y"] += 2.0 * table.z - (3.0 + 2.0 * table.x if formula == "y ~ 1 + (1 || g)" else 0.0)
    p = problem(formula, table, weights="w")
    whole = leaf_statistics(p)
    monkeypatch.setattr(moments, "BLOCK", block)
    found = leaf_statistics(p)
    rel = 1e-12 + 5e-15 / sigma
    np.testing.assert_allclose(found.root, whole.root, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.fit, whole.fit, rtol=1e-9)
    np.testing.assert_allclose(found.residual[0, 0], whole.residual[0, 0], rtol=rel)
    np.testing.assert_allclose(found.residual, whole.residual, rtol=1e-9, atol=rel)
    assert np.array_equal(found.rows_per_leaf, whole.rows_per_leaf)


def test_a_problem_computes_them_once_and_does_not_send_them_along():
    p = problem()
    assert p.statistics is p.statistics
    again = pickle.loads(pickle.dumps(p))
    assert "statistics" in vars(p)
    assert "statistics" not in vars(again)
    assert np.array_equal(again.statistics.fit, p.statistics.fit)
    assert not np.array_equal(p.with_outcome(p.y + 1.0).statistics.fit, p.statistics.fit)
