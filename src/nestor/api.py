"""The functions of ``import nestor``: fit one engine, compare several, calibrate one, leave data out.

The first three have a second form that takes its settings as objects: `fit_engine`, `run_comparison` and
`run_calibration`. The command line calls these, with the console on which it describes the problem.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING

from nestor.engines.protocol import SamplerConfig
from nestor.errors import ConvergenceWarning, EngineFailed, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import xarray as xr
    from rich.console import Console

    from nestor.agreement.comparison import Comparison
    from nestor.agreement.criteria import Criteria
    from nestor.agreement.engine_result import EngineResult, EngineRow
    from nestor.agreement.events import Event, Listener
    from nestor.calibration.result import Calibration
    from nestor.calibration.run import StudyProgress
    from nestor.calibration.tasks import Around
    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.posterior.leave_one_out import LeaveOneOut
    from nestor.posterior.progress import Progress


def fit(
    problem: Problem,
    engine: str,
    *,
    chains: int = 4,
    warmup: int = 1000,
    draws: int = 1000,
    seed: int = 1,
    target_accept: float | None = None,
    max_tree_depth: int | None = None,
    cores: int | None = None,
    timeout: float | None = None,
    progress: bool = True,
) -> xr.DataTree:
    """Sample a problem with one engine, in a process of its own.

    Parameters
    ----------
    problem : Problem
        Model and data.
    engine : str
        Contender, such as ``"numpyro"`` or ``"numpyro@centered"``; without a word for it the
        formulation is chosen for the problem (see `nestor.engines.auto.choose`) and stored with the draws.
    chains, warmup, draws, seed, target_accept, max_tree_depth, cores
        See `nestor.SamplerConfig`; None leaves the library's own setting.
    timeout : float, optional
        Seconds that the engine may take.
    progress : bool
        Whether to show progress on standard error.

    Returns
    -------
    DataTree
        Groups posterior, sample_stats, observed_data and constant_data, ready for ArviZ. What is known of
        the run is in its attributes, as JSON text where it is not plain; ``json.loads(fit.attrs["gates"])``
        has the convergence gates: ``passed``, ``failures`` and ``notes`` in words, and the figures.

    Warns
    -----
    ConvergenceWarning
        If the draws do not pass the gates; names the worst quantity.

    Raises
    ------
    SpecError, Unsupported
        If the engine or a setting is wrong.
    DataError
        If nothing of the outcome is left for sigma: see `nestor.data.propriety`.
    EngineFailed
        If the engine crashes or runs out of time; the message has the end of its log.

    Notes
    -----
    Checking takes about a millisecond of CPU for each scalar, of 4,000 draws.
    """
    config = SamplerConfig(chains, warmup, draws, seed, target_accept, max_tree_depth, cores=cores)
    row = fit_engine(problem, engine, config, timeout=timeout, progress=progress, log_lines=25)
    if not row.gates.passed:
        warnings.warn(_not_converged(problem, row, config), ConvergenceWarning, stacklevel=2)
    return row.tree


def fit_engine(
    problem: Problem,
    engine: str | Contender,
    config: SamplerConfig,
    *,
    timeout: float | None = None,
    progress: bool = True,
    console: Console | None = None,
    log_lines: int = 0,
) -> EngineResult:
    """Sample with one engine and check its draws, whether or not they pass; see `fit`.

    Parameters
    ----------
    problem, engine, timeout, progress
        See `fit`; the engine may be a contender that has been read already.
    config : SamplerConfig
        How hard it tries.
    console : Console, optional
        Where the problem is described before anything runs. Without it notes about the problem, and the
        formulation that was chosen, go where progress goes.
    log_lines : int
        How many of the last lines of its log the message of a failure has.

    Returns
    -------
    EngineResult
        Draws, gates and summaries.

    Raises
    ------
    SpecError, Unsupported, DataError, EngineFailed
        See `fit`.
    """
    from nestor.agreement.arguments import check_memory, check_timeout, read_contender
    from nestor.agreement.engine_result import EngineFailure
    from nestor.data.problem import check_problem
    from nestor.data.propriety import check_sigma
    from nestor.engines import registry
    from nestor.runner import store

    check_problem(problem)
    contender = read_contender(engine, problem)
    check_timeout(timeout)
    check_memory(problem, config)
    check_sigma(problem)
    if refused := contender.refusal(registry.get(contender.backend).backend, problem, config):
        raise Unsupported(refused)
    with store.scratch_folder() as (folder, logs):
        log = folder / f"{contender.file_stem}.log"
        with _shown(problem, [contender], config, progress=progress, console=console) as listener:
            row = _sampled(problem, contender, config, log, timeout, listener)
        if isinstance(row, EngineFailure):
            if str(log) in row.message:
                logs.add(log)
            lines = log.read_text(errors="replace").strip().splitlines()
            tail = lines[-log_lines:] if log_lines else []
            raise EngineFailed("\n".join([f"{contender.name}: {row.message}", *tail]))
    return row


def _sampled(
    problem: Problem,
    contender: Contender,
    config: SamplerConfig,
    log: Path,
    timeout: float | None,
    listener: Listener,
) -> EngineRow:
    """Sample in a process of its own and check the draws; densities are not compared."""
    from nestor.agreement.engine_result import EngineFailure
    from nestor.agreement.events import EngineFinished
    from nestor.agreement.pipeline import run_engine

    def tell(event: Event) -> None:
        # The caller raises for a failure, which needs no line of its own then.
        if not (isinstance(event, EngineFinished) and isinstance(event.row, EngineFailure)):
            listener(event)

    return run_engine(
        problem, contender, contender.config(config), log, timeout=timeout, listener=tell
    )


def _not_converged(problem: Problem, row: EngineResult, config: SamplerConfig) -> str:
    """Say what is worst about draws that did not pass the gates, and what to do."""
    from nestor.data.notes import gate_hint

    first, *others = row.gates.failures
    more = f" ({len(others)} more in the draws' attribute gates)" if others else ""
    hint = gate_hint(problem, row.contender.formulation)
    reason = f" {hint}." if hint else ""
    return f"{row.name} has not converged: {first}{more}.{reason} {advice(row, config)}"


def advice(row: EngineResult, config: SamplerConfig) -> str:
    """Say what to do about draws that did not pass the gates."""
    ways = [f"more warmup and draws than {config.warmup:,} + {config.draws:,} per chain"]
    if row.gates.n_divergent:
        ways.append("a higher target acceptance")
    if not row.contender.formulation.is_marginalized:
        ways.append("another formulation")
    ways += ["tighter priors", "a model with fewer levels"]
    return f"Do not rely on these draws. Try {', '.join(ways[:-1])} or {ways[-1]}."


def compare(
    problem: Problem,
    engines: Sequence[str],
    *,
    chains: int = 4,
    warmup: int = 1000,
    draws: int = 1000,
    seed: int = 1,
    target_accept: float | None = None,
    max_tree_depth: int | None = None,
    cores: int | None = None,
    margin: float = 0.2,
    until_verdict: int | None = None,
    timeout: float | None = None,
    out: str | Path | None = None,
    progress: bool = True,
) -> Comparison:
    """Run the same posterior on several engines and judge every pair.

    Parameters
    ----------
    problem : Problem
        Model and data.
    engines : sequence of str
        Contenders, such as ``["pymc", "numpyro@centered"]``; at least two, all different. Formulations
        that are not named are chosen for the problem.
    chains, warmup, draws, seed, target_accept, max_tree_depth, cores
        See `nestor.SamplerConfig`; None leaves each library's own setting.
    margin : float
        Largest difference of means, in posterior standard deviations, that counts as none.
    until_verdict : int, optional
        Go on drawing, twice as many draws each time, while a pair is inconclusive, up to so many draws
        per chain.
    timeout : float, optional
        Seconds that each engine may take: for its densities, and again to sample.
    out : path, optional
        Run directory for draws, logs and ``comparison.json``; what is finished there is used again.
    progress : bool
        Whether to show progress on standard error.

    Returns
    -------
    Comparison
        With `verdict`, `table()`, `to_json()`, `draws` and plots.

    Raises
    ------
    SpecError, Unsupported, DataError
        If the engines, settings or directory are wrong; nothing has been run then.
    """
    from nestor.agreement.criteria import Criteria

    config = SamplerConfig(chains, warmup, draws, seed, target_accept, max_tree_depth, cores=cores)
    criteria = Criteria(margin, until_verdict)
    return run_comparison(
        problem, engines, config, criteria, timeout=timeout, out=out, progress=progress
    )


def run_comparison(
    problem: Problem,
    engines: Sequence[str | Contender],
    config: SamplerConfig,
    criteria: Criteria,
    *,
    timeout: float | None = None,
    out: str | Path | None = None,
    progress: bool = True,
    console: Console | None = None,
) -> Comparison:
    """Run the same posterior on several engines and judge every pair; see `compare`.

    Parameters
    ----------
    problem, engines, timeout, out, progress
        See `compare`; engines may be contenders that have been read already.
    config : SamplerConfig
        How hard each engine tries.
    criteria : Criteria
        What is asked of a pair before it is said to agree.
    console : Console, optional
        Where the problem is described before anything runs; see `fit_engine`.
    """
    from nestor.agreement import arguments, run
    from nestor.data.problem import check_problem
    from nestor.data.propriety import check_sigma
    from nestor.errors.arguments import path
    from nestor.runner import store

    check_problem(problem)
    contenders = arguments.read_contenders(engines, problem)
    arguments.check_timeout(timeout)
    criteria.check(config.draws)
    arguments.check_memory(problem, config, criteria.until_verdict)
    check_sigma(problem)
    folder = None if out is None else path("out", out)
    if folder is not None:
        store.claim(folder, problem)
    note = criteria.foregone(config.chains, config.draws)
    with _shown(problem, contenders, config, note, progress=progress, console=console) as listener:
        return run.compare(
            problem,
            contenders,
            config=config,
            criteria=criteria,
            timeout=timeout,
            out=folder,
            listener=listener,
        )


def calibrate(
    problem: Problem,
    engine: str,
    simulations: int = 500,
    *,
    around: Around = "prior",
    ranked_draws: int = 63,
    chains: int = 2,
    warmup: int = 500,
    draws: int = 500,
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
    config = SamplerConfig(chains, warmup, draws, seed, target_accept, max_tree_depth)
    return run_calibration(
        problem,
        engine,
        config,
        simulations=simulations,
        around=around,
        ranked_draws=ranked_draws,
        jobs=jobs,
        timeout=timeout,
        out=out,
        progress=progress,
    )


def run_calibration(
    problem: Problem,
    engine: str | Contender,
    config: SamplerConfig,
    *,
    simulations: int,
    around: Around,
    ranked_draws: int,
    jobs: int | None = None,
    timeout: float | None = None,
    out: str | Path | None = None,
    progress: bool = True,
    console: Console | None = None,
) -> Calibration:
    """Check an engine by simulation-based calibration; see `calibrate`.

    Parameters
    ----------
    problem, engine, simulations, around, ranked_draws, jobs, timeout, out, progress
        See `calibrate`; the engine may be a contender that has been read already.
    config : SamplerConfig
        How hard the engine tries in each simulation.
    console : Console, optional
        Where the problem is described before anything runs; see `fit_engine`.
    """
    from nestor.calibration.judge import foregone
    from nestor.calibration.run import check_study, run_study
    from nestor.data.problem import check_problem
    from nestor.errors.arguments import path
    from nestor.posterior.quantities import ComparedQuantities
    from nestor.runner import store

    check_problem(problem)
    contender = check_study(
        problem, engine, config, simulations, around, ranked_draws, jobs, timeout
    )
    folder = None if out is None else path("out", out)
    if folder is not None:
        store.claim(folder, problem)
    note = foregone(simulations, ranked_draws, len(ComparedQuantities(problem)))
    stderr = _describe(problem, [contender], note, progress=progress, console=console)
    with contextlib.ExitStack() as stack:
        on_progress: Callable[[StudyProgress], None] = _ignore
        if stderr is not None:
            from nestor.views.terminal.calibration import StudyBar

            on_progress = stack.enter_context(StudyBar(stderr, contender.name))
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


@contextlib.contextmanager
def _shown(
    problem: Problem,
    contenders: Sequence[Contender],
    config: SamplerConfig,
    note: str = "",
    *,
    progress: bool,
    console: Console | None,
) -> Iterator[Listener]:
    """Describe the problem, then show what engines do; yields what hears of it."""
    from nestor.agreement.events import ignore

    stderr = _describe(problem, contenders, note, progress=progress, console=console)
    if stderr is None:
        yield ignore
        return
    from nestor.views.terminal.progress import LiveProgress

    names = [contender.name for contender in contenders]
    with LiveProgress(stderr, names, config.chains) as live:
        yield live


def _describe(
    problem: Problem,
    contenders: Sequence[Contender],
    note: str,
    *,
    progress: bool,
    console: Console | None,
) -> Console | None:
    """Say what the user should know before anything is sampled; return where progress goes, if anywhere."""
    from rich.console import Console as RichConsole

    from nestor.views.terminal.problem import print_notes, print_problem

    stderr = RichConsole(stderr=True, emoji=False, highlight=False) if progress else None
    if console is not None:
        print_problem(problem, contenders, console)
    elif stderr is not None:
        print_notes(problem, contenders, stderr)
    if stderr is not None and note:
        stderr.print(f"note: {note}", markup=False, soft_wrap=True)
    return stderr


def _ignore(_: StudyProgress) -> None:
    """Hear of a study's progress, and show nothing."""


def loo(
    problem: Problem,
    fit: xr.DataTree,
    *,
    chunk: int | None = None,
    reff: float | None = None,
    progress: bool = False,
) -> LeaveOneOut:
    """Leave-one-out cross-validation of rows by Pareto-smoothed importance sampling.

    The numbers equal those of `arviz_stats.loo`, whose smoothing it uses. But rows come in chunks, so that
    memory does not grow with rows times draws. A row is predicted from its own leaf's coefficients, which
    the leaf's other rows inform: for predictions of new leaves see `leave_one_leaf_out`.

    Parameters
    ----------
    problem : Problem
        Model and data of the fit, with rows.
    fit : DataTree
        As `nestor.fit` returns it, of at least 25 draws.
    chunk : int, optional
        Rows at a time; by default as many as 64 MB hold.
    reff : float, optional
        Effective draws over draws; by default, as in ArviZ, its mean over all entries of the posterior.
    progress : bool
        Whether to show progress on standard error.

    Returns
    -------
    LeaveOneOut
        Of rows, labelled as in the fit's observed_data.

    Raises
    ------
    SpecError
        If `problem` is none, `chunk` is no positive whole number, or `reff` no positive number.
    DataError
        If draws are missing, too few, of another posterior (other data or another model, which is
        compared with what the fit stored), or give a row no finite density, or if the rows are not in
        memory.

    Notes
    -----
    Vehtari, Gelman and Gabry (2017), Statistics and Computing 27; Vehtari, Simpson, Gelman, Yao and Gabry
    (2024), JMLR 25.
    """
    from nestor.posterior import leave_one_out

    return leave_one_out.loo(problem, fit, chunk=chunk, reff=reff, progress=_bar(progress))


def leave_one_leaf_out(
    problem: Problem, fit: xr.DataTree, *, progress: bool = False
) -> LeaveOneOut:
    """Leave-one-leaf-out cross-validation: how well is a leaf predicted from all others?

    At each draw theta of the scales, log p(y_v | y_-v, theta) is exact for every leaf v: one pass up the
    tree and one down integrate all coefficients out, given the other leaves' rows (see
    `nestor.posterior.message_passing.predictive`). The draws of theta were given all leaves, v included.
    Importance sampling with smoothed weights, proportional to 1 / p(y_v | y_-v, theta), turns them into an
    expectation over p(theta | y_-v). The density is that of all rows of a leaf together. The weights stay
    tame, because only the few scales are reweighted. Weights from the conditional likelihood of a leaf's
    rows would not, because the leaf's coefficients have seen these rows.

    Parameters
    ----------
    problem : Problem
        Model and data of the fit: a gaussian outcome, Normal priors of population coefficients. Rows need
        not be in memory.
    fit : DataTree
        As `nestor.fit` returns it, of any engine and formulation: only the scales are read.
    progress : bool
        Whether to show progress on standard error.

    Returns
    -------
    LeaveOneOut
        Of leaves, labelled by their paths.

    Raises
    ------
    Unsupported
        If the problem is not of that kind.
    DataError
        If draws of scales are missing, too few (25) or of another posterior: other data or another
        model, which is compared with what the fit stored.

    Notes
    -----
    Merkle, Furr and Rabe-Hesketh (2019), Psychometrika 84, on conditional and marginal likelihoods and
    leaving out clusters; Vehtari, Gelman and Gabry (2017), Statistics and Computing 27, on smoothed
    importance sampling.
    """
    from nestor.posterior import leave_one_out

    return leave_one_out.leave_one_leaf_out(problem, fit, progress=_bar(progress))


def leave_one_row_out(problem: Problem, fit: xr.DataTree, *, progress: bool = False) -> LeaveOneOut:
    """Leave-one-out cross-validation of rows, exact given the scales.

    Like `nestor.loo` it estimates the density of each row given all other rows, including rows of its own
    leaf. But it integrates all coefficients out given the other rows, as `leave_one_leaf_out` does. Its
    importance weights correct only the few scales, while the weights of `loo` correct coefficients that have
    seen the row. So they also hold for outliers and for rows that are alone in their leaf.

    Parameters
    ----------
    problem, fit, progress
        See `leave_one_leaf_out`; rows must be in memory.

    Returns
    -------
    LeaveOneOut
        Of rows, labelled as in the fit's observed_data.

    Raises
    ------
    Unsupported, DataError
        As there.
    """
    from nestor.posterior import leave_one_out

    return leave_one_out.leave_one_row_out(problem, fit, progress=_bar(progress))


def with_log_likelihood(
    problem: Problem, fit: xr.DataTree, *, chunk: int | None = None, progress: bool = False
) -> xr.DataTree:
    """Return the draws with a group log_likelihood, which many functions of ArviZ need.

    It holds a number for each row and draw: `nestor.loo` needs no such array.

    Parameters
    ----------
    problem, fit, chunk
        See `nestor.log_likelihood`, as for errors; but the data must be the fit's own, since the group stands
        beside them.
    progress : bool
        Whether to show progress on standard error.

    Returns
    -------
    DataTree
        A copy that shares the draws of `fit`.

    Raises
    ------
    DataError
        Also if the draws are of another posterior, as for `nestor.loo`.
    """
    from nestor.posterior import log_likelihood

    return log_likelihood.with_log_likelihood(problem, fit, chunk=chunk, progress=_bar(progress))


def _bar(progress: bool) -> Progress:
    from nestor.posterior.progress import no_progress
    from nestor.views.terminal.progress import progress_bar

    return progress_bar if progress else no_progress
