"""``nestor compare`` and ``nestor demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nestor.cli.arguments import (
    Chains,
    Cores,
    Data,
    DrawsOption,
    Engines,
    Family,
    Formula,
    InBatches,
    Json,
    Margin,
    MaxTreeDepth,
    Missing,
    Offset,
    Out,
    PriorOption,
    ScaleOption,
    Seed,
    Spec,
    TargetAccept,
    Timeout,
    UntilVerdict,
    Warmup,
    Weights,
    make_config,
    make_console,
    make_problem,
)

if TYPE_CHECKING:
    from nestor.agreement.criteria import Criteria
    from nestor.data.problem import Problem
    from nestor.engines.protocol import SamplerConfig


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
    in_batches: InBatches = False,
    chains: Chains = 4,
    warmup: Warmup = 1000,
    draws: DrawsOption = 1000,
    seed: Seed = 1,
    target_accept: TargetAccept = None,
    max_tree_depth: MaxTreeDepth = None,
    cores: Cores = None,
    margin: Margin = 0.2,
    until_verdict: UntilVerdict = None,
    timeout: Timeout = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Run one model on several engines: do they agree, and what does each cost?

    "All in" is all that an engine takes to its last draw, compiling and warmup included, the import of its
    libraries not.
    """
    from nestor.agreement.criteria import Criteria
    from nestor.cli.options import read_model
    from nestor.engines.contender import Contender

    model = read_model(formula, spec, prior, family, scale, offset, weights)
    config = make_config(chains, warmup, draws, seed, target_accept, max_tree_depth, cores)
    criteria = Criteria(margin, until_verdict)
    # Before the data are read, which may take long.
    for one in engine or []:
        Contender.parse_sampler(one, model.level_names)
    problem = make_problem(model, data, missing, in_batches=in_batches)
    _compare(problem, engine or [], config, criteria, timeout, out, as_json=json)


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
    until_verdict: UntilVerdict = None,
    timeout: Timeout = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Run the main job on example data: income by month within degree, state and county."""
    from nestor.agreement.criteria import Criteria
    from nestor.data.demo import demo_problem
    from nestor.views.terminal.narrow import Prose

    criteria = Criteria(margin, until_verdict)
    config = make_config(chains, warmup, draws, seed, target_accept, max_tree_depth, cores)
    problem, about = demo_problem(model, data_seed)
    console = make_console(stderr=json)
    console.print(Prose(about))
    _compare(
        problem,
        engine or ["numba", "pymc", "numpyro"],
        config,
        criteria,
        timeout,
        out,
        as_json=json,
    )


def _compare(
    problem: Problem,
    engines: list[str],
    config: SamplerConfig,
    criteria: Criteria,
    timeout: float | None,
    out: Path | None,
    *,
    as_json: bool,
) -> None:
    """Compare, print, write pictures, and leave with the verdict's exit code."""
    from nestor.agreement.verdict import exit_code
    from nestor.views.terminal.comparing import compare_and_print

    printed = make_console(stderr=as_json)
    comparison = compare_and_print(
        problem, engines, config, criteria, timeout, out, printed, make_console(stderr=True)
    )
    if as_json:
        typer.echo(comparison.to_json())
    raise typer.Exit(exit_code(comparison.verdict, engine_failed=comparison.engine_failed))
