"""Identical rows merged: nothing lost, nothing counted twice, refused where it saves nothing."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nestor import ModelSpec, Problem, Unsupported
from nestor.data.statistics import identical_rows, merged_rows
from nestor.posterior.log_likelihood import total_log_likelihood


def make_table(n=400, seed=1):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "g": rng.choice(list("abc"), n),
            "h": rng.choice(list("xy"), n),
            "x": rng.integers(0, 3, n) / 3.0,
            "z": rng.choice([-0.0, 0.0, 1.0], n),
            "e": rng.integers(0, 2, n) / 7.0,
            "w": rng.choice([0.5, 2.0], n),
            "y": rng.integers(0, 4, n) / 10.0,
        }
    )


def problem(table, formula="y ~ x + z + offset(e) + (x || g/h)", weights="w"):
    return Problem(ModelSpec.from_formula(formula, family="student_t", weights=weights), table)


def as_counter(leaf, arrays, count):
    """Counts by row, as Python's own dictionary makes them."""
    found = {}
    for k, row in enumerate(zip(leaf, *arrays, strict=True)):
        key = tuple(float(value) for value in row)
        found[key] = found.get(key, 0) + int(count[k])
    return found


def columns(rows):
    some = [a for a in (rows.offset, rows.weights) if a is not None]
    return [*rows.X.T, *rows.Z.T, rows.y, *some]


@pytest.mark.parametrize("largest", [identical_rows._LARGEST_KEY, 1000])
@pytest.mark.parametrize(
    ("formula", "weights"),
    [
        ("y ~ x + z + offset(e) + (x || g/h)", "w"),
        ("y ~ 1 + (1 || g)", None),
        ("y ~ 0 + x + (0 + x || g/h)", None),
    ],
)
def test_every_row_is_counted_once(formula, weights, largest, monkeypatch):
    monkeypatch.setattr(identical_rows, "_LARGEST_KEY", largest)
    p = problem(make_table(), formula, weights)
    found = merged_rows(p)
    once = as_counter(found.leaf, columns(found), found.count)
    assert len(once) == len(found.y)  # no two of them are the same
    assert once == as_counter(p.leaf, columns(p.rows), np.ones(p.n_rows))
    assert (np.diff(found.leaf) >= 0).all()
    assert found.count.sum() == p.n_rows


def test_the_likelihood_is_that_of_all_rows():
    p = problem(make_table())
    found = merged_rows(p)
    rng = np.random.default_rng(2)
    values = {n: rng.normal(size=(1, 1, *v.shape)) for n, v in p.variables.items()}
    values |= {name: np.exp(values[name]) for name in ("sigma", "nu")}
    at = {name: value[0, 0] for name, value in values.items()}
    eta = found.offset + (found.X * at["beta_h"][found.leaf]).sum(axis=1) + found.Z @ at["gamma"]
    # Weights scale the precision; counts add whole terms.
    scale = at["sigma"] / np.sqrt(found.weights)
    terms = stats.t.logpdf(found.y, df=at["nu"], loc=eta, scale=scale)
    assert found.count @ terms == pytest.approx(total_log_likelihood(p, values).item(), rel=1e-12)


@pytest.mark.parametrize("continuous", [True, False])
def test_rows_that_are_all_different_are_refused(continuous):
    table = make_table(24)
    table["y"] = np.random.default_rng(0).normal(size=24) if continuous else np.arange(24) // 2
    if not continuous:  # two rows for every outcome, told apart by x alone
        table["x"] = np.arange(24) % 2
    with pytest.raises(Unsupported, match="use rows"):
        merged_rows(problem(table))


def test_one_pair_of_equal_rows_is_found():
    table = make_table(30).assign(y=np.random.default_rng(0).normal(size=30))
    table.loc[17] = table.loc[3]
    found = merged_rows(problem(table))
    assert sorted(found.count) == [1] * 28 + [2]
    assert found.y[np.argmax(found.count)] == table.y[3]
