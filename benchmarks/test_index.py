"""Building the index: cost per row, growth with rows, and the ratio to plain pandas.

The yardstick is the recipe that a careful user writes by hand: number the groups of each level
with a group-by and reset_index, merge the numbers back onto the rows, and look up the parents.
"""

from __future__ import annotations

import gc
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from nestor.index import NestedIndex, build_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

LEVELS = ["degree", "state", "county"]
SEED = 20_240_229
ROWS_PER_COUNTY = 20
DEGREES, STATES = 2, 50


def make_table(rows: int, dtype: Any = "str") -> pd.DataFrame:
    """Draw rows of a tree that grows with them, in random order; one outcome column beside."""
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
    return pd.DataFrame({**columns, "income": rng.normal(size=rows)})


def pandas_recipe(table: pd.DataFrame) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """Put a number on the groups of each level, merged onto the rows and onto the children."""
    indexed, groups = table, []
    for depth in range(1, len(LEVELS) + 1):
        keys, number = LEVELS[:depth], f"{LEVELS[depth - 1]}_index"
        level = table.groupby(keys).size().reset_index(name="rows")
        level = level.reset_index(names=number)[[number, *keys]]
        indexed = indexed.merge(level, on=keys)
        if groups:
            level = level.merge(groups[-1], on=keys[:-1])
        groups.append(level)
    return indexed, groups


def seconds(call: Callable[[], object]) -> float:
    gc.collect()
    start = perf_counter()
    call()
    return perf_counter() - start


def assert_same_tree(index: NestedIndex, table: pd.DataFrame) -> None:
    """Check that both sides did the same work."""
    indexed, groups = pandas_recipe(table)
    counts = indexed["county_index"].value_counts().sort_index().to_numpy()
    np.testing.assert_array_equal(index.rows_per_leaf, counts)
    for depth in (1, 2):
        parents = groups[depth][f"{LEVELS[depth - 1]}_index"].to_numpy()
        np.testing.assert_array_equal(index.levels[depth].parent, parents)


def describe(benchmark: BenchmarkFixture, rows: int, index: NestedIndex) -> None:
    benchmark.extra_info |= {"rows": rows, "leaves": index.n_leaves, "seed": SEED}


@pytest.mark.parametrize("rows", [10**4, 10**5, 10**6])
@pytest.mark.parametrize("dtype", ["str", "object"])
def test_against_pandas_recipe(benchmark: BenchmarkFixture, rows: int, dtype: str) -> None:
    """Time both sides in turns and record the ratio of their medians."""
    table = make_table(rows, dtype)
    index = build_index(table, LEVELS)
    assert_same_tree(index, table)
    pairs = [
        (seconds(lambda: build_index(table, LEVELS)), seconds(lambda: pandas_recipe(table)))
        for _ in range(5)
    ]
    ours, recipe = np.median(np.array(pairs), axis=0)
    benchmark.pedantic(build_index, (table, LEVELS), rounds=5, warmup_rounds=1)
    describe(benchmark, rows, index)
    benchmark.extra_info |= {"recipe_seconds": recipe, "times_faster": recipe / ours}
    print(f"\n{dtype}, {rows:,} rows: {1e3 * ours:.1f} ms against {1e3 * recipe:.1f} ms, "
          f"{recipe / ours:.1f} times faster")  # fmt: skip


@pytest.mark.parametrize("dtype", ["category", "int64", "string[pyarrow]"])
def test_other_columns(benchmark: BenchmarkFixture, dtype: str) -> None:
    rows = 10**6
    table = make_table(rows, dtype)
    index = benchmark.pedantic(build_index, (table, LEVELS), rounds=5, warmup_rounds=1)
    describe(benchmark, rows, index)


def test_growth_with_rows(benchmark: BenchmarkFixture) -> None:
    """Fit the exponent of time against rows, 10^4 to 10^7; the row count timed is the largest."""
    sizes, times = [10**4, 10**5, 10**6, 10**7], []
    for rows in sizes:
        table = make_table(rows)
        index = build_index(table, LEVELS)
        times.append(min(seconds(lambda: build_index(table, LEVELS)) for _ in range(3)))  # noqa: B023
    benchmark.pedantic(build_index, (table, LEVELS), rounds=3)
    exponent = float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
    describe(benchmark, sizes[-1], index)
    benchmark.extra_info |= {"sizes": sizes, "seconds": times, "growth_exponent": exponent}
    shown = ", ".join(f"{rows:,} rows {t:.4f} s" for rows, t in zip(sizes, times, strict=True))
    print(f"\n{shown}: time grows as rows^{exponent:.2f}")


def test_paths(benchmark: BenchmarkFixture) -> None:
    """Writing the paths of 50,000 counties, which is left until somebody asks for them."""
    table = make_table(10**6)

    def fresh() -> tuple[tuple[NestedIndex], dict[str, Any]]:
        return (build_index(table, LEVELS),), {}

    benchmark.pedantic(lambda index: index.levels[-1].paths, setup=fresh, rounds=5)
    describe(benchmark, 10**6, build_index(table, LEVELS))
