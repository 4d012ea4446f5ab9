"""The function `nestor.calibrate`, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from nestor.calibration.tasks import Around
from nestor.engines.protocol import SamplerConfig
from nestor.errors.arguments import MOST_ITERATIONS, one_of, path, seconds, whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nestor.calibration.result import Calibration
    from nestor.calibration.run import StudyProgress
    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender

SIMULATIONS = 500
RANKED_DRAWS = 63
CHAINS, WARMUP, DRAWS = 2, 500, 500


def calibrate(
    problem: Problem,
    engine: str,
    simulations: int = SIMULATIONS,
    *,
    around: Around = "prior",
    ranked_draws: int = RANKED_DRAWS,
    chains: int = CHAINS,
    warmup: int = WARMUP,
    draws: int = DRAWS,
    seed: int = 1,
    target_accept: float | None = None,
    max_tree_depth: int | None = None,
    jobs: int | None = None,
    timeout: float | None = None,
    out: str | Path | None = None,
    progress: bool = True,
) -> Calibration:
    """Check an engine by simulation-based calibration.

    Parameters are drawn from the problem's priors, as they are resolved on its data, and outcomes on its
    design, by a simulator that knows no engine. The engine samples each simulated posterior; the rank of
    every parameter, and of the log-likelihood, among near-independent draws must be uniform.

    Parameters
    ----------
    problem : Problem
        Design and priors; around the posterior the outcome too.
    engine : str
        Contender, such as ``"numpyro@centered"``. Chains run one after another, simulations side by side.
    simulations : int
        Number of simulations. More of them go on from what an earlier run left in `out`. Too few to find
        a mean that is off by half a posterior sd, or an sd twice or half as large, with 90% probability
        (113 for 7 quantities, 211 for 5,000) cannot end in CALIBRATED.
    around : {"prior", "posterior"}
        Whether parameters come from the priors, or from the engine's own posterior given the data, whose
        outcomes are then observed beside the simulated ones (Säilynoja et al. 2025). A fault that it
        has in both fits alike then shows only in part.
    ranked_draws : int
        Draws L among which a parameter is ranked, so that ranks take 0 to L. A run whose smallest ESS
        is below 2 L goes on, up to 8 times its draws.
    chains, warmup, draws, seed, target_accept, max_tree_depth
        See `nestor.SamplerConfig`; of each simulation.
    jobs : int, optional
        Processes side by side; by default as many as there are cores.
    timeout : float, optional
        Seconds that compiling, and each simulation, may take.
    out : path, optional
        Run directory for records, ``calibration.json`` and pictures; what is finished there is used again.
    progress : bool
        Whether to show progress on standard error.

    Returns
    -------
    Calibration
        With `verdict`, `ranks`, `to_json()` and plots.

    Raises
    ------
    SpecError, Unsupported, DataError
        If an argument or the directory is wrong, or the priors generate numbers that cannot be computed
        with; nothing has been run then.
    EngineFailed
        If the engine cannot be compiled, or none of the first simulations ends well.
    """
    from nestor.data.problem import check_problem

    check_problem(problem)
    config = SamplerConfig(chains, warmup, draws, seed, target_accept, max_tree_depth)
    contender = check_study(
        problem, engine, config, simulations, around, ranked_draws, jobs, timeout
    )
    folder = None if out is None else path("out", out)

    def run(on_progress: Callable[[StudyProgress], None]) -> Calibration:
        from nestor.calibration.run import run_study

        return run_study(
            problem,
            contender,
            config,
            simulations=simulations,
            around=around,
            ranked_draws=ranked_draws,
            jobs=jobs,
            timeout=timeout,
            out=folder,
            on_progress=on_progress,
        )

    if not progress:
        return run(lambda _: None)
    from rich.console import Console

    from nestor.views.terminal.calibrating import Bar, print_foregone
    from nestor.views.terminal.words import chosen_lines, note_lines

    console = Console(stderr=True, emoji=False)
    for line in (*note_lines(problem, [contender]), *chosen_lines([contender])):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    print_foregone(problem, simulations, ranked_draws, console)
    bar = Bar(console, contender.name)
    with bar.bars:
        return run(bar)


def check_study(
    problem: Problem,
    engine: str,
    config: SamplerConfig,
    simulations: object,
    around: object,
    ranked_draws: object,
    jobs: object,
    timeout: object,
) -> Contender:
    """Refuse wrong arguments, and read the engine as it will run.

    Raises
    ------
    SpecError, Unsupported
        With what is wrong.
    DataError
        If simulations are to be around the posterior, and there is none: see `nestor.data.residual`.
    """
    from nestor.agreement.arguments import check_memory, read_contender
    from nestor.calibration.run import one_at_a_time
    from nestor.data.residual import check_sigma

    contender = one_at_a_time(read_contender(engine, problem))
    whole("simulations", simulations, least=1, most=MOST_ITERATIONS)
    whole("ranked_draws", ranked_draws, least=9, most=MOST_ITERATIONS)
    if jobs is not None:
        whole("jobs", jobs, least=1)
    one_of("around", around, get_args(Around))
    seconds("timeout", timeout)
    check_memory(problem, config)
    if around == "posterior":
        # Around the prior the data's own outcome is not looked at.
        check_sigma(problem)
    return contender
