"""The functions of ``import nestor`` that show something while they work: fit, compare, loo and others."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING

from nestor.engines.protocol import SamplerConfig
from nestor.errors import ConvergenceWarning, EngineFailed, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import xarray as xr
    from rich.console import Console

    from nestor.agreement.comparison import Comparison
    from nestor.agreement.engine_result import EngineResult, EngineRow
    from nestor.agreement.events import Event, Listener
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
    console = _console(progress)
    _say(problem, [contender], console)
    with store.scratch_folder() as (folder, logs):
        log = folder / "engine.log"
        row = fit_one(problem, contender, config, log, timeout, console)
        if isinstance(row, EngineFailure):
            if str(log) in row.message:
                logs.add(log)
            tail = log.read_text(errors="replace").strip().splitlines()[-25:]
            raise EngineFailed("\n".join([f"{contender.name}: {row.message}", *tail]))
    if not row.gates.passed:
        warnings.warn(_not_converged(problem, row, config), ConvergenceWarning, stacklevel=2)
    return row.tree


def fit_one(
    problem: Problem,
    contender: Contender,
    config: SamplerConfig,
    log: Path,
    timeout: float | None,
    console: Console | None,
) -> EngineRow:
    """Sample with one engine, show its progress, and check its draws.

    Returns
    -------
    EngineResult or EngineFailure
        Densities are not compared with the reference's.
    """
    from nestor.agreement.engine_result import EngineFailure
    from nestor.agreement.events import EngineFinished
    from nestor.agreement.pipeline import run_engine

    with _listener(console, [contender.name], config.chains) as listen:

        def tell(event: Event) -> None:
            # The caller raises for a failure, which needs no line of its own then.
            if not (isinstance(event, EngineFinished) and isinstance(event.row, EngineFailure)):
                listen(event)

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
    from nestor.agreement.arguments import engine_list, read_contenders
    from nestor.agreement.criteria import Criteria
    from nestor.agreement.run import compare as run
    from nestor.data.problem import check_problem
    from nestor.data.propriety import check_sigma

    config = SamplerConfig(chains, warmup, draws, seed, target_accept, max_tree_depth, cores=cores)
    check_problem(problem)
    engines = engine_list(engines)
    contenders = read_contenders(engines, problem)
    console = _console(progress)
    check_sigma(problem)
    _say(problem, contenders, console)
    names = [contender.name for contender in contenders]
    with _listener(console, names, config.chains) as listener:
        return run(
            problem,
            engines,
            config=config,
            criteria=Criteria(margin, until_verdict),
            timeout=timeout,
            out=out,
            listener=listener,
        )


def _say(problem: Problem, contenders: Sequence[Contender], console: Console | None) -> None:
    """Say what the user should know before anything is sampled: notes, and what auto chose."""
    from nestor.views.terminal.words import chosen_lines, note_lines

    lines = [*note_lines(problem, contenders), *chosen_lines(contenders)]
    if console is not None and lines:
        # At once, since each print is an output of its own in a notebook.
        console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _console(progress: bool) -> Console | None:
    from rich.console import Console as RichConsole

    return RichConsole(stderr=True, emoji=False) if progress else None


@contextlib.contextmanager
def _listener(console: Console | None, names: Sequence[str], chains: int) -> Iterator[Listener]:
    from nestor.agreement.events import ignore
    from nestor.views.terminal.live import LiveProgress

    if console is None:
        yield ignore
    else:
        with LiveProgress(console, names, chains) as live:
            yield live


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
    from nestor.views.terminal.working import working_bar

    return working_bar if progress else no_progress
