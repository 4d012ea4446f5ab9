"""``nestor demo``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from nestor.cli.arguments import (
    Engines,
    Json,
    Margin,
    Out,
    SamplerOptions,
    Timeout,
    UntilVerdict,
    make_console,
)
from nestor.cli.command import takes_groups
from nestor.cli.compare import compare_and_exit

_SAMPLER = SamplerOptions(draws=2000)


@takes_groups
def demo(
    model: Annotated[
        Literal["income", "blog"],
        typer.Option(help="income: a simulated tree. blog: the blog post's own data and model."),
    ] = "income",
    *,
    engine: Engines = None,
    data_seed: Annotated[int, typer.Option(help="Seed of the simulated data.")] = 1,
    sampler: SamplerOptions = _SAMPLER,
    margin: Margin = 0.2,
    until_verdict: UntilVerdict = None,
    timeout: Timeout = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Run the main job on example data: income by month within degree, state and county."""
    from nestor.agreement.criteria import Criteria
    from nestor.data.demo import demo_problem
    from nestor.views.terminal.layout import Prose

    criteria, config = Criteria(margin, until_verdict), sampler.config()
    problem, about = demo_problem(model, data_seed)
    make_console(stderr=json).print(Prose(about))
    engines = engine or ["numba", "pymc", "numpyro"]
    compare_and_exit(problem, engines, config, criteria, timeout, out, as_json=json)
