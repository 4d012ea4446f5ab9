"""Building the index: the ratio to the blog post's recipe, cost per row, and growth with rows.

Every comparison takes both sides in turns, and reports the best and the median of wall time and
of the process's CPU time (all threads together). CPU time is the one to trust on a busy machine;
wall time is the one that a user waits for.
"""

from __future__ import annotations

import gc
import os
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from nestor.data.index import NestedIndex, build_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

LEVELS = ["degree", "state", "county"]
SEED = 20_240_229
ROWS_PER_COUNTY = 20
DEGREES, STATES = 2, 50
ROUNDS = 7


def make_table(rows: int, dtype: Any = "str") -> pd.DataFrame:
    """Draw rows of a tree that grows with them, in random order, with the post's other columns."""
    rng = np.random.default_rng(SEED)
    counties = max(rows // (ROWS_PER_COUNTY * DEGREES * STATES), 2)
    labels = {
        "degree": ["degree", "no degree"],
        "state": [f"State {i:02d}" for i in range(STATES)],
        "county": [f"County {i:05d}" for i in range(counties)],
    }
    if dtype == "int64":
        labels = {name: np.arange(len(values)) for name, values in labels.items()}
    columns = {
        name: pd.Series(values, dtype=dtype)
        .take(rng.integers(0, len(values), rows))
        .reset_index(drop=True)
        for name, values in labels.items()
    }
    return pd.DataFrame(
        {**columns, "month": rng.integers(0, 24, rows), "income": rng.normal(5000, 500, rows)}
    )


def post_recipe(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Number the groups of each level with the recipe of a well-known post.

    "Deep in the Weeds: Complex Hierarchical Models in PyMC3" (databozo.com): run `all` over the
    groups of the whole table, only to be left with their keys; reset the index twice, for a
    number beside them; merge the levels top down, so that children carry their parent's number;
    merge the last level onto the rows. Which calls do that, in which order, is taken from public
    code that follows the post call by call; here they loop over the levels.

    Returns
    -------
    rows, states, counties
        The table with the number of each row's county; the nodes of the lower two levels, with
        the numbers of their parents.
    """
    numbered = [
        table.groupby(LEVELS[:depth]).all().reset_index().reset_index()[["index", *LEVELS[:depth]]]
        for depth in (1, 2, 3)
    ]
    degrees, states, counties = numbered
    states = degrees.merge(states, how="inner", on=LEVELS[:1], suffixes=("_d", "_ds"))
    counties = states.merge(counties, how="inner", on=LEVELS[:2])
    rows = table.merge(counties, how="inner", on=LEVELS).reset_index()
    return rows, states, counties


def assert_same_tree(index: NestedIndex, table: pd.DataFrame) -> None:
    """Check that both sides did the same work."""
    rows, states, counties = post_recipe(table)
    counts = rows["index"].value_counts().sort_index().to_numpy()
    np.testing.assert_array_equal(index.rows_per_leaf, counts)
    np.testing.assert_array_equal(index.levels[1].parent, states["index_d"])
    np.testing.assert_array_equal(index.levels[2].parent, counties["index_ds"])


def seconds(call: Callable[[], object]) -> tuple[float, float]:
    """Time a call, by the clock and by the process's CPU."""
    gc.collect()
    wall, cpu = perf_counter(), process_time()
    call()
    return perf_counter() - wall, process_time() - cpu


def describe(benchmark: BenchmarkFixture, rows: int, index: NestedIndex) -> None:
    benchmark.extra_info |= {"rows": rows, "leaves": index.n_leaves, "seed": SEED}
    benchmark.extra_info |= {"cores": os.cpu_count(), "load": os.getloadavg()[0]}


@pytest.mark.parametrize("rows", [10**4, 10**5, 10**6])
@pytest.mark.parametrize("dtype", ["str", "object"])
def test_against_the_post(benchmark: BenchmarkFixture, rows: int, dtype: str) -> None:
    """Time both sides in turns and record the ratios of their best and median times."""
    table = make_table(rows, dtype)
    index = build_index(table, LEVELS)
    assert_same_tree(index, table)
    pairs = [
        (seconds(lambda: build_index(table, LEVELS)), seconds(lambda: post_recipe(table)))
        for _ in range(ROUNDS)
    ]
    benchmark.pedantic(build_index, (table, LEVELS), rounds=ROUNDS)
    describe(benchmark, rows, index)
    print(f"\n{dtype}, {rows:,} rows, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for reduce, word in ((np.min, "best"), (np.median, "median")):
        ours, post = reduce(np.array(pairs), axis=0)  # each: wall, CPU
        for clock, mine, theirs in zip(("wall", "cpu"), ours, post, strict=True):
            benchmark.extra_info |= {
                f"post_{word}_{clock}_s": float(theirs),
                f"times_faster_{word}_{clock}": float(theirs / mine),
            }
            print(f"{word:6} {clock:4}: {1e3 * mine:.1f} ms against {1e3 * theirs:.1f} ms, "
                  f"{theirs / mine:.1f} times faster")  # fmt: skip


@pytest.mark.parametrize("dtype", ["category", "int64", "string[pyarrow]"])
def test_other_columns(benchmark: BenchmarkFixture, dtype: str) -> None:
    rows = 10**6
    table = make_table(rows, dtype)
    index = benchmark.pedantic(build_index, (table, LEVELS), rounds=5, warmup_rounds=1)
    describe(benchmark, rows, index)


def test_growth_with_rows(benchmark: BenchmarkFixture) -> None:
    """Fit the exponent of time against rows, 10^5 to 10^7; the row count timed is the largest."""
    sizes, times = np.array([10**5, 10**6, 10**7]), []
    for rows in sizes:
        table = make_table(rows)
        index = build_index(table, LEVELS)
        rounds = [seconds(lambda: build_index(table, LEVELS)) for _ in range(5)]  # noqa: B023
        times.append(np.min(rounds, axis=0))
    benchmark.pedantic(build_index, (table, LEVELS), rounds=3)
    describe(benchmark, int(sizes[-1]), index)
    for clock, spent in zip(("wall", "cpu"), np.array(times).T, strict=True):
        exponent = float(np.polyfit(np.log(sizes), np.log(spent), 1)[0])
        benchmark.extra_info |= {f"{clock}_s": spent.tolist(), f"{clock}_exponent": exponent}
        shown = ", ".join(f"{n:,} rows {s:.4f} s" for n, s in zip(sizes, spent, strict=True))
        print(f"\n{clock}: {shown}; grows as rows^{exponent:.2f}")


def test_paths(benchmark: BenchmarkFixture) -> None:
    """Writing the paths of 50,000 counties, which is left until somebody asks for them."""
    table = make_table(10**6)

    def fresh() -> tuple[tuple[NestedIndex], dict[str, Any]]:
        return (build_index(table, LEVELS),), {}

    benchmark.pedantic(lambda index: index.levels[-1].paths, setup=fresh, rounds=5)
    describe(benchmark, 10**6, build_index(table, LEVELS))
