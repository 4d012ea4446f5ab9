"""What the exact fast path costs as rows and leaves grow; writes a record and renews the page that shows it.

    python benchmarks/exact_path.py RECORD.json [--quick] [--page docs/exact-path.md]
    python benchmarks/exact_path.py RECORD.json --only-page --page docs/exact-path.md --chem97 RESULTS

Rows: two levels, 5,000 leaves, an intercept and a slope, 10^4 to 10^8 rows in a Parquet file that is read
in batches; then one run of numba@marginalized, each in a process of its own. Leaves: 10^2 to 10^6 of them,
the time of one value and gradient beside that of a plain read-modify-write of as many float64s as the
leaves' arrays hold, in turns. Memory: leaf statistics of 10^7 rows that are in memory, beside adding up the
same two columns, in turns, and beside building the problem from its table. Growth exponents are slopes of
log seconds on log size.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet
from rich.console import Console
from rich.progress import track

from nestor.bench.environment import environment, load_average
from nestor.data.problem import Problem
from nestor.data.statistics import leaf_statistics
from nestor.model.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from nestor_numba.evaluating import Density

SPEC = ModelSpec.from_formula(
    "y ~ x + (x || region/place)",
    priors={"beta": "Normal(0, 10)", "tau": "HalfNormal(5)", "sigma": "HalfNormal(5)"},
)
SEED = 20_261_126
REGIONS, PLACES = 50, 100
ROWS, QUICK_ROWS = (10**4, 10**5, 10**6, 10**7, 10**8), (10**4, 10**5)
LEAVES, QUICK_LEAVES = (10**2, 10**3, 10**4, 10**5, 10**6), (10**2, 10**3)
CHILDREN = 20
IN_MEMORY, QUICK_IN_MEMORY, PER_LEAF = 10**7, 10**5, (10_000, 100, 10)
CHUNK = 10**6
ROUNDS = 9
BLOCK = "<!-- exact path: {} -->"

# Linux's VmHWM is the peak of this process alone. The libraries are imported before the clock starts.
RUN = """
import json, re, sys, time
from pathlib import Path
import numba, nutpie
from nestor import ModelSpec, Problem
from nestor.backend import SamplerConfig
from nestor.engines.formulation import Formulation
from nestor.engines.registry import get
spec = ModelSpec.from_toml(sys.argv[2])
clock = [time.perf_counter()]
problem = Problem.from_parquet(spec, sys.argv[1])
clock.append(time.perf_counter())
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
model = get("numba").backend.compile(
    problem, Formulation.marginalized(spec.level_names), sampler="nutpie", device="cpu", dtype="float64"
)
clock.append(time.perf_counter())
draws = model.with_lazy_draws().sample(SamplerConfig(chains=4, warmup=500, draws=2000, seed=1))
clock.append(time.perf_counter())
gradients = int(draws.stats["n_steps"].sum())
json.dump({"read_s": clock[1] - clock[0], "compile_s": clock[2] - clock[1], "peak_bytes": peak,
           "warmup_and_sampling_s": draws.timings.warmup + draws.timings.sampling,
           "sampling_s": draws.timings.sampling, "gradients": gradients,
           "us_per_gradient": 1e6 * draws.timings.sampling / gradients,
           "leaves": problem.statistics.n_leaves, "rows": problem.n_rows}, sys.stdout)
"""
SUM = """
import json, sys, time
import numpy as np
from pyarrow import parquet
begin = time.perf_counter()
total = 0.0
for batch in parquet.ParquetFile(sys.argv[1]).iter_batches(columns=["x", "y"]):
    total += float(np.sum(batch["x"].to_numpy())) + float(np.sum(batch["y"].to_numpy()))
json.dump({"seconds": time.perf_counter() - begin}, sys.stdout)
"""


def write_rows(path: Path, rows: int) -> None:
    """Write a file of simulated rows in no order of their leaves, a row group at a time."""
    rng = np.random.default_rng(SEED)
    leaves = REGIONS * PLACES
    effects = rng.normal(size=(leaves, 2)) * 0.5 + [1.0, 2.0]
    schema = pa.schema([("region", "int32"), ("place", "int32"), ("x", "double"), ("y", "double")])
    with parquet.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, CHUNK):
            n = min(CHUNK, rows - first)
            # Every leaf has a row.
            leaf = np.where(
                first + np.arange(n) < leaves, first + np.arange(n), rng.integers(leaves, size=n)
            )
            x = rng.normal(size=n)
            y = effects[leaf, 0] + effects[leaf, 1] * x + rng.normal(size=n)
            columns = [(leaf // PLACES).astype(np.int32), (leaf % PLACES).astype(np.int32), x, y]
            writer.write_table(pa.table(dict(zip(schema.names, columns, strict=True)), schema))


def in_process(code: str, *arguments: str) -> dict[str, float]:
    """Run a piece of code in a fresh interpreter; what it prints."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout))


def grow_rows(sizes: tuple[int, ...], console: Console) -> list[dict[str, float]]:
    """Read and sample problems of more and more rows."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for rows in track(sizes, "rows", console=console):
            path = Path(folder) / "rows.parquet"
            write_rows(path, rows)
            plain = in_process(SUM, str(path))["seconds"]
            one = in_process(RUN, str(path), SPEC.to_toml())
            found.append({**one, "plain_sum_s": plain, "file_bytes": path.stat().st_size})
    return found


def make_leaves(leaves: int) -> Problem:
    """Two rows in each leaf, `CHILDREN` leaves of each parent."""
    rng = np.random.default_rng(SEED)
    place = np.repeat(np.arange(leaves), 2)
    x = rng.normal(size=len(place))
    table = pd.DataFrame({"region": place // CHILDREN, "place": place, "x": x})
    return Problem(SPEC, table.assign(y=x + rng.normal(size=len(place))))


def bare(density: Density, z: np.ndarray) -> Callable[[], int]:
    """A call of the compiled function as a sampler calls it: by address, with nothing to be converted."""
    out, value = np.empty(density.dimension), np.empty(1)
    double = ctypes.POINTER(ctypes.c_double)
    pointers = [array.ctypes.data_as(double) for array in (z, out, value)]
    function, data = density.function.ctypes, density.data.ctypes.data

    def call() -> int:
        return int(function(density.dimension, *pointers, data))

    return call


def grow_leaves(sizes: tuple[int, ...], console: Console) -> list[dict[str, float]]:
    """Time one value and gradient beside a read-modify-write, in turns; least seconds of each."""
    from nestor_numba.marginal import MarginalPosterior

    found = []
    for leaves in track(sizes, "leaves", console=console):
        marginal = MarginalPosterior.build(make_leaves(leaves), sampling=False)
        p = 2
        arrays = np.ones(leaves * (p * (p + 1) // 2 + p))
        gradient = bare(marginal.density, marginal.initial(1))
        calls = max(1, 200_000 // leaves)

        def rewrite(arrays: np.ndarray = arrays) -> None:
            np.multiply(arrays, 1.0, out=arrays)

        seconds = {"gradient_s": np.inf, "rewrite_s": np.inf}
        for _ in range(ROUNDS):
            for name, call in (("gradient_s", gradient), ("rewrite_s", rewrite)):
                begin = perf_counter()
                for _ in range(calls):
                    call()
                seconds[name] = min(seconds[name], (perf_counter() - begin) / calls)
        found.append(
            {"leaves": leaves, **seconds, "ratio": seconds["gradient_s"] / seconds["rewrite_s"]}
        )
    return found


def summed_in_memory(rows: int, console: Console) -> list[dict[str, float]]:
    """Time leaf statistics of rows in memory beside a plain sum of the same columns; least seconds."""
    found = []
    for per_leaf in track(PER_LEAF, "memory", console=console):
        rng = np.random.default_rng(SEED)
        place = np.arange(rows) // per_leaf
        table = pd.DataFrame(
            {"region": place % REGIONS, "place": place, "x": rng.normal(size=rows)}
        )
        table["y"] = table.x + rng.normal(size=rows)
        begin = perf_counter()
        problem = Problem(SPEC, table)
        build = perf_counter() - begin
        columns = [np.ascontiguousarray(problem.X[:, 1]), problem.y]
        calls = {
            "statistics_s": lambda problem=problem: leaf_statistics(problem),
            "plain_sum_s": lambda columns=columns: [column.sum() for column in columns],
        }
        seconds = dict.fromkeys(calls, np.inf)
        for _ in range(ROUNDS):
            for name, call in calls.items():
                begin = perf_counter()
                call()
                seconds[name] = min(seconds[name], perf_counter() - begin)
        found.append({"rows": rows, "per_leaf": per_leaf, "build_s": build, **seconds})
    return found


def exponent(rows: list[dict[str, float]], size: str, seconds: str, last: int) -> float:
    """Slope of log seconds on log size over the `last` sizes."""
    x = np.log([row[size] for row in rows[-last:]])
    return float(np.polyfit(x, np.log([row[seconds] for row in rows[-last:]]), 1)[0])


def tables(record: dict[str, object]) -> dict[str, str]:
    """The record as Markdown."""
    rows, leaves, memory = record["rows"], record["leaves"], record["memory"]
    heads = ("rows", "read and summed up, s", "plain sum of x and y, s", "GB/s", "peak MB")
    first = _table((*heads, "sampling, s", "us/gradient"))
    first += [
        f"| {r['rows']:,} | {r['read_s']:.2f} | {r['plain_sum_s']:.2f} | "
        f"{16e-9 * r['rows'] / r['read_s']:.2f} | {r['peak_bytes'] / 1e6:,.0f} | "
        f"{r['sampling_s']:.2f} | {r['us_per_gradient']:.1f} |"
        for r in rows
    ]
    heads = ("leaves", "value and gradient, us", "rewriting their arrays, us")
    second = _table((*heads, "ratio"))
    second += [
        f"| {r['leaves']:,} | {1e6 * r['gradient_s']:,.1f} | {1e6 * r['rewrite_s']:,.1f} | "
        f"{r['ratio']:.1f} |"
        for r in leaves
    ]
    heads = ("rows", "rows in a leaf", "building the problem, s", "statistics, s", "GB/s")
    third = _table((*heads, "plain sum, s", "GB/s"))
    third += [
        f"| {r['rows']:,} | {r['per_leaf']:,} | {r['build_s']:.2f} | {r['statistics_s']:.3f} | "
        f"{16e-9 * r['rows'] / r['statistics_s']:.1f} | {r['plain_sum_s']:.4f} | "
        f"{16e-9 * r['rows'] / r['plain_sum_s']:.1f} |"
        for r in memory
    ]
    found, place = record["exponents"], record["environment"]
    growth = (
        f"Growth exponents: sampling by rows {found['sampling_by_rows']:.3f}, seconds a gradient by rows "
        f"{found['gradient_by_rows']:.3f}, a gradient by leaves {found['gradient_by_leaves']:.2f}. "
        f"Measured on {place['cpu']}, {place['machine_cores']} cores, commit "
        f"`{str(place['commit'])[:10]}`, load at the start {record['load']}."
    )
    blocks = {"rows": first, "memory": third, "leaves": second, "growth": [growth]}
    return {name: "\n".join(lines) for name, lines in blocks.items()}


def chem97(folder: Path) -> str:
    """What `nestor bench chem97` measured, matched, fastest first, and ratios to the fastest sampled engine.

    Medians over seeds with the least and the largest; ratios are of runs with the same seed.
    """
    table = pd.read_parquet(folder / "results.parquet")
    table = table[(table.track == "matched") & (table.status == "ok")]
    rates = table.groupby("contender").ess_per_s_sampling.median()
    ours = "numba:nutpie@marginalized"
    best = rates[[not name.endswith("@marginalized") for name in rates.index]].idxmax()
    columns = ("ess_per_s_sampling", "time_to_ess_s", "time_to_ess_warm_s")
    runs_of = {
        n: table[table.contender == n].set_index("seed") for n in rates.sort_values().index[::-1]
    }
    one, other = runs_of[ours], runs_of[best]
    lines = _table(("", "verdict", "runs", "ESS/s of sampling", "to 400 ESS, cold, s", "warm, s"))
    for name, runs in runs_of.items():
        spread = " | ".join(_spread(runs[column]) for column in columns)
        lines.append(
            f"| `{name}` | {', '.join(sorted(set(runs.verdict)))} | {len(runs)} | {spread} |"
        )
    ratios = [one[columns[0]] / other[columns[0]], *(other[c] / one[c] for c in columns[1:])]
    spread = " | ".join(_spread(ratio.dropna()) for ratio in ratios)
    lines.append(f"| ratio of `{ours}` to `{best}` | | | {spread} |")
    return "\n".join(lines)


def _spread(values: pd.Series) -> str:
    middle, low, high = (
        f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"
        for value in (values.median(), values.min(), values.max())
    )
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def _table(heads: tuple[str, ...]) -> list[str]:
    return [f"| {' | '.join(heads)} |", "|" + "---:|" * len(heads)]


def renew(page: Path, blocks: dict[str, str]) -> None:
    """Put tables between their markers."""
    text = page.read_text(encoding="utf-8")
    for name, table in blocks.items():
        begin, end = BLOCK.format(name), BLOCK.format(f"end of {name}")
        head, _, rest = text.partition(begin)
        text = f"{head}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Measure, write the record, and renew the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("record", type=Path)
    parser.add_argument("--quick", action="store_true", help="the smallest sizes only")
    parser.add_argument("--page", type=Path, help="a page with markers, whose tables are renewed")
    parser.add_argument("--only-page", action="store_true", help="measure nothing; read the record")
    parser.add_argument("--chem97", type=Path, help="results of `nestor bench chem97`")
    options = parser.parse_args()
    console = Console(stderr=True)
    if options.only_page:
        record = json.loads(options.record.read_text(encoding="utf-8"))
    else:
        load = load_average()
        leaves = grow_leaves(QUICK_LEAVES if options.quick else LEAVES, console)
        rows = grow_rows(QUICK_ROWS if options.quick else ROWS, console)
        memory = summed_in_memory(QUICK_IN_MEMORY if options.quick else IN_MEMORY, console)
        exponents = {
            "sampling_by_rows": exponent(rows, "rows", "sampling_s", len(rows)),
            "gradient_by_rows": exponent(rows, "rows", "us_per_gradient", len(rows)),
            "gradient_by_leaves": exponent(leaves, "leaves", "gradient_s", 3),
        }
        record = {
            "environment": environment(),
            "load": load,
            "rows": rows,
            "leaves": leaves,
            "memory": memory,
            "exponents": exponents,
        }
        options.record.parent.mkdir(parents=True, exist_ok=True)
        options.record.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    blocks = tables(record)
    if options.chem97:
        blocks["chem97"] = chem97(options.chem97)
    for table in blocks.values():
        print(table, end="\n\n")
    if options.page:
        renew(options.page, blocks)


if __name__ == "__main__":
    main()
