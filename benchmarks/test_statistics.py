"""Leaf statistics against the least that can be done with the same columns, adding them up; from files."""

from __future__ import annotations

import json
import subprocess
import sys
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from trees import PRIORS

from nestor.data.problem import Problem
from nestor.data.statistics import leaf_statistics
from nestor.model.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from pytest_benchmark.fixture import BenchmarkFixture

ROUNDS = 7
SIZES = (10**5, 10**6, 10**7)
SEED = 20_261_126
SPEC = ModelSpec.from_formula("y ~ x + (x || region/place)", priors=PRIORS)
REGIONS, PLACES = 50, 100
CHUNK = 10**6

# In a process of its own. Linux's VmHWM is its peak; what getrusage says may be that of its parent.
READ = """
import json, re, sys, time
from pathlib import Path
from nestor import ModelSpec, Problem
spec = ModelSpec.from_toml(sys.argv[2])
begin = time.perf_counter()
problem = Problem.from_parquet(spec, sys.argv[1])
seconds = time.perf_counter() - begin
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
found = problem.statistics
json.dump({"seconds": seconds, "peak_bytes": peak, "rows": problem.n_rows, "leaves": found.n_leaves,
           "slope": float(found.pooled[1, 0])}, sys.stdout)
"""


def make_rows(rows: int, per_leaf: int) -> Problem:
    """Two levels, an intercept and a slope, equal leaves."""
    rng = np.random.default_rng(SEED)
    place = np.arange(rows) // per_leaf
    table = pd.DataFrame({"region": place % 10, "place": place, "x": rng.normal(size=rows)})
    return Problem(SPEC, table.assign(y=table.x + rng.normal(size=rows)))


def columns(problem: Problem) -> list[NDArray[np.float64]]:
    """What both sides read: effects but for the constant and outcome, each column contiguous."""
    return [np.ascontiguousarray(problem.X[:, 1]), problem.y]


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
        (seconds(lambda: leaf_statistics(problem)), seconds(lambda: plain_sum(read)))
        for _ in range(ROUNDS)
    ]
    return np.min(rounds, axis=0)


@pytest.mark.parametrize("per_leaf", [10, 1000])
@pytest.mark.parametrize("rows", SIZES)
def test_leaf_statistics(benchmark: BenchmarkFixture, rows: int, per_leaf: int) -> None:
    problem = make_rows(rows, per_leaf)
    found = leaf_statistics(problem)
    # The intercept's squares count rows, and its products with the fit sum y.
    assert found.gram[:, 0, 0].sum() == pytest.approx(rows)
    summed = np.einsum("nj,nj->", found.gram[:, 0], found.fit[:, :, 0])
    assert summed == pytest.approx(problem.y.sum(), abs=1e-6 * rows)
    ours, plain = in_turns(problem)
    benchmark.pedantic(leaf_statistics, (problem,), rounds=ROUNDS)
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
    print(f"\n{rows:,} rows, {per_leaf} a leaf: {gigabytes / ours:.2f} GB/s, {1e9 * ours / rows:.1f} ns a "
          f"row; sum {gigabytes / plain:.1f} GB/s")  # fmt: skip


def test_growth_of_leaf_statistics(benchmark: BenchmarkFixture) -> None:
    """Fit the exponent of time against rows; the row count timed is the largest."""
    problems = [make_rows(rows, 10) for rows in SIZES]
    spent = np.array([in_turns(problem) for problem in problems])
    benchmark.pedantic(leaf_statistics, (problems[-1],), rounds=3)
    exponents = np.polyfit(np.log(SIZES), np.log(spent), 1)[0]
    benchmark.extra_info |= {
        "rows": list(SIZES),
        "seconds": spent[:, 0].tolist(),
        "exponent": float(exponents[0]),
        "plain_sum_exponent": float(exponents[1]),
    }


def write_rows(path: Path, rows: int) -> None:
    """Write rows of 5,000 leaves in random order, and a column that nobody reads, a row group at a time."""
    rng = np.random.default_rng(SEED)
    regions = pa.array([f"Region {i:02d}" for i in range(REGIONS)])
    places = pa.array([f"Place {i:03d}" for i in range(PLACES)])
    writer = None
    for start in range(0, rows, CHUNK):
        n = min(CHUNK, rows - start)
        leaf = rng.integers(0, REGIONS * PLACES, n)
        x = rng.normal(size=n)
        table = pa.table(
            {
                "region": regions.take(pa.array(leaf // PLACES)),
                "place": places.take(pa.array(leaf % PLACES)),
                "x": x,
                "y": x + rng.normal(size=n),
                "other": rng.normal(size=n),
            }
        )
        if writer is None:
            writer = parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def read_rows(path: Path) -> dict[str, float]:
    command = [sys.executable, "-c", READ, str(path), SPEC.to_toml()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_parquet(benchmark: BenchmarkFixture, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Rows per second and peak memory of a process that reads a file; --rows says how many."""
    rows = int(pytestconfig.getoption("rows"))
    path = tmp_path / "rows.parquet"
    write_rows(path, rows)
    runs: list[dict[str, float]] = []
    benchmark.pedantic(lambda: runs.append(read_rows(path)), rounds=3 if rows <= 10**7 else 1)
    best = min(run["seconds"] for run in runs)
    assert runs[0]["rows"] == rows
    # The slope of all rows is 1 but for noise of rows^-1/2.
    assert runs[0]["slope"] == pytest.approx(1.0, abs=6 / rows**0.5)
    benchmark.extra_info |= {
        "rows": rows,
        "leaves": runs[0]["leaves"],
        "rows_per_s": rows / best,
        "file_bytes": path.stat().st_size,
        "peak_bytes": max(run["peak_bytes"] for run in runs),
    }
    print(f"\n{rows:,} rows: {rows / best / 1e6:.1f} million rows/s, "
          f"{max(run['peak_bytes'] for run in runs) / 1e6:.0f} MB at most")  # fmt: skip
