"""Leaf statistics against the least that can be done with the same columns: adding them up."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from trees import PRIORS

from nestor.datasets import simulate_tree
from nestor.problem import Problem
from nestor.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from pytest_benchmark.fixture import BenchmarkFixture

leaves = pytest.importorskip("nestor_reference.leaves")

ROWS_PER_LEAF = 10
ROUNDS = 7
SIZES = (10**4, 10**5, 10**6)


def make_rows(rows: int) -> Problem:
    """Two levels, an intercept and a slope; ten rows in each leaf."""
    tree = simulate_tree(branching=(10, rows // (10 * ROWS_PER_LEAF)), rows=rows, seed=rows)
    return Problem(ModelSpec.from_formula(tree.formula, priors=PRIORS), tree.table)


def columns(problem: Problem) -> list[NDArray[np.float64]]:
    """What both sides read: effects and outcome, each column contiguous."""
    return [*np.ascontiguousarray(problem.X.T), problem.y]


def plain_sum(read: list[NDArray[np.float64]]) -> float:
    return sum(float(np.sum(column)) for column in read)


def seconds(call: Callable[[], object]) -> float:
    begin = perf_counter()
    call()
    return perf_counter() - begin


def in_turns(problem: Problem) -> NDArray[np.float64]:
    """Least seconds of the statistics and of the sum: what others do at the time only adds to them."""
    read = columns(problem)
    rounds = [
        (seconds(lambda: leaves.leaf_statistics(problem)), seconds(lambda: plain_sum(read)))
        for _ in range(ROUNDS)
    ]
    return np.min(rounds, axis=0)


@pytest.mark.parametrize("rows", SIZES)
def test_leaf_statistics(benchmark: BenchmarkFixture, rows: int) -> None:
    problem = make_rows(rows)
    found = leaves.leaf_statistics(problem)
    # The intercept's squares count rows, and its products with y, whose prior mean is zero, sum y.
    assert found.A[0, 0].sum() == pytest.approx(rows)
    assert found.b[0, 0].sum() == pytest.approx(problem.y.sum())
    ours, plain = in_turns(problem)
    benchmark.pedantic(leaves.leaf_statistics, (problem,), rounds=ROUNDS)
    gigabytes = sum(column.nbytes for column in columns(problem)) / 1e9
    benchmark.extra_info |= {
        "rows": rows,
        "leaves": problem.levels[-1].n,
        "dtype": "float64",
        "device": "cpu",
        "gb_per_s": gigabytes / ours,
        "plain_sum_gb_per_s": gigabytes / plain,
        "times_slower_than_sum": ours / plain,
        "ns_per_row": 1e9 * ours / rows,
    }


def test_growth_of_leaf_statistics(benchmark: BenchmarkFixture) -> None:
    """Fit the exponent of time against rows; the row count timed is the largest."""
    problems = [make_rows(rows) for rows in SIZES]
    spent = np.array([in_turns(problem) for problem in problems])
    benchmark.pedantic(leaves.leaf_statistics, (problems[-1],), rounds=3)
    exponents = np.polyfit(np.log(SIZES), np.log(spent), 1)[0]
    benchmark.extra_info |= {
        "rows": list(SIZES),
        "seconds": spent[:, 0].tolist(),
        "exponent": float(exponents[0]),
        "plain_sum_exponent": float(exponents[1]),
    }
