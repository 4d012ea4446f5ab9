"""The functions of ``import nestor``: fit one engine, compare several."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestor.backend import SamplerConfig
from nestor.errors import DataError, EngineFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    import xarray as xr
    from rich.console import Console

    from nestor.comparison import Comparison
    from nestor.contender import Contender
    from nestor.events import Listener
    from nestor.problem import Problem


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
        formulation is chosen for the problem (see `nestor.auto.choose`) and stored with the draws.
    chains, warmup, draws, seed, target_accept, max_tree_depth, cores
        See `nestor.SamplerConfig`; None leaves the library's own setting.
    timeout : float, optional
        Seconds that the engine may take.
    progress : bool
        Whether to show progress on standard error.

    Returns
    -------
    DataTree
        Groups posterior, sample_stats, observed_data and constant_data, ready for ArviZ.

    Raises
    ------
    SpecError, Unsupported
        If the engine or a setting is wrong.
    EngineFailed
        If the engine crashes or runs out of time; the message has the end of its log.
    """
    config = SamplerConfig(chains, warmup, draws, seed, target_accept, max_tree_depth, cores=cores)
    from nestor.session import check_problem, check_timeout, read_contender

    check_problem(problem)
    contender = read_contender(engine, problem)
    check_timeout(timeout)
    console = _console(progress)
    _say_chosen([contender], console)
    with tempfile.TemporaryDirectory(prefix="nestor-") as folder:
        log = Path(folder) / "engine.log"
        tree, message = sample_one(problem, contender, config, log, timeout, console)
        if tree is None:
            tail = (
                log.read_text(errors="replace").strip().splitlines()[-25:] if log.exists() else []
            )
            raise EngineFailed("\n".join([f"{contender.name}: {message}", *tail]))
    return tree


def sample_one(
    problem: Problem,
    contender: Contender,
    config: SamplerConfig,
    log: Path,
    timeout: float | None,
    console: Console | None,
) -> tuple[xr.DataTree | None, str]:
    """Sample with one engine and show its progress; return its draws, or None and why not."""
    from nestor.events import WorkerEvent
    from nestor.runner.engine import sample
    from nestor.terminal.live import LiveProgress

    with contextlib.ExitStack() as stack:
        live = (
            None
            if console is None
            else stack.enter_context(LiveProgress(console, [contender.name]))
        )
        outcome, tree = sample(
            problem,
            contender,
            contender.config(config),
            log,
            timeout=timeout,
            listener=None
            if live is None
            else lambda event: live(WorkerEvent(contender.name, "sample", event)),
        )
    return tree, outcome.message


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
    joint: bool = False,
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
    joint : bool
        Whether a classifier also tries to tell the joint distributions apart: needs at least 8 chains
        and scikit-learn.
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
    from nestor.session import check_problem, read_contenders
    from nestor.session import compare as run

    config = SamplerConfig(chains, warmup, draws, seed, target_accept, max_tree_depth, cores=cores)
    check_problem(problem)
    engines = engines if isinstance(engines, str) else list(engines)
    contenders = read_contenders(engines, problem)
    console = _console(progress)
    _say_chosen(contenders, console)
    with _listener(console, [contender.name for contender in contenders]) as listener:
        return run(
            problem,
            engines,
            config=config,
            criteria=Criteria(margin, joint, until_verdict),
            timeout=timeout,
            out=out,
            listener=listener,
        )


def summary(
    fit: xr.DataTree, var_names: Sequence[str] | None = None, **options: Any
) -> pd.DataFrame:
    """Summarize the posterior by `arviz.summary`, with the names that all of nestor's tables use.

    `arviz.summary` itself works as well, and names effects before nodes:
    ``beta_county[month, CA/Lake]`` where this says ``beta_county[CA/Lake, month]``.

    Parameters
    ----------
    fit : DataTree
        As `fit` returns it.
    var_names : sequence of str, optional
        Variables, by default all.
    **options
        Go to `arviz_stats.summary`, which refuses unknown ones.

    Raises
    ------
    DataError
        If the posterior has no variable of a given name.
    """
    import pandas as pd
    from arviz_stats import summary as arviz_summary

    posterior = fit["posterior"].to_dataset()
    known = [str(name) for name in posterior.data_vars]
    names = known if var_names is None else list(var_names)
    if unknown := [name for name in names if name not in known]:
        raise DataError(f"the posterior has no {', '.join(unknown)}; it has {', '.join(known)}.")
    tables: list[pd.DataFrame] = []
    for name in names:  # one by one, as ArviZ mixes up names of variables that have nodes first
        effects = [d for d in posterior[name].dims if str(d).split("_", 1)[0] == "effect"]
        tables.append(arviz_summary(posterior[[name]].transpose(..., *effects), **options))
    return pd.concat(tables)


def _say_chosen(contenders: Sequence[Contender], console: Console | None) -> None:
    from nestor.terminal.words import chosen_lines

    if console is None:
        return
    for line in chosen_lines(contenders):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _console(progress: bool) -> Console | None:
    from rich.console import Console as RichConsole

    return RichConsole(stderr=True, emoji=False) if progress else None


@contextlib.contextmanager
def _listener(console: Console | None, names: Sequence[str]) -> Iterator[Listener]:
    from nestor.events import ignore
    from nestor.terminal.live import LiveProgress

    if console is None:
        yield ignore
    else:
        with LiveProgress(console, names) as live:
            yield live
