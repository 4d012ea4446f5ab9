"""The compare command: what is printed while and after engines run."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from rich.console import Group

from nestor.agreement.arguments import (
    check_memory,
    check_timeout,
    read_contenders,
)
from nestor.agreement.run import compare
from nestor.data.propriety import check_sigma
from nestor.errors import Unsupported
from nestor.runner import store
from nestor.views.terminal.lines import Unpadded
from nestor.views.terminal.live import LiveProgress, shows_bars
from nestor.views.terminal.narrow import Prose
from nestor.views.terminal.tables import chosen_view, problem_view, results_view

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from nestor.agreement.comparison import Comparison
    from nestor.agreement.criteria import Criteria
    from nestor.data.problem import Problem
    from nestor.engines.protocol import SamplerConfig


def compare_and_print(
    problem: Problem,
    engines: Sequence[str],
    config: SamplerConfig,
    criteria: Criteria,
    timeout: float | None,
    out: Path | None,
    printed: Console,
    progress: Console,
) -> Comparison:
    """Compare engines; print the problem, live progress, tables, verdicts and what was written."""
    check_timeout(timeout)
    criteria.check(config.draws)
    contenders = read_contenders(engines, problem)
    check_memory(problem, config, criteria.until_verdict)
    check_sigma(problem)
    folder = out or store.default_folder(problem)
    store.claim(folder, problem)
    printed.print(Unpadded(Group(problem_view(problem, contenders), *chosen_view(contenders))))
    if foregone := criteria.foregone(config.chains, config.draws):
        progress.print(f"note: {foregone}", markup=False, soft_wrap=True)
    try:
        names = [contender.name for contender in contenders]
        with LiveProgress(progress, names, config.chains) as live:
            comparison = compare(
                problem,
                engines,
                config=config,
                criteria=criteria,
                timeout=timeout,
                out=folder,
                listener=live,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"What is finished is kept in {folder}: the same command goes on from there."
        ) from None
    try:
        printed.print(Unpadded(results_view(comparison)))
        _print_files(comparison, folder, printed, progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"The verdict and the draws are kept in {folder} (comparison.json and the files .nc); pictures "
            "are not all drawn: the same command draws them, and runs nothing again that is finished."
        ) from None
    return comparison


def _print_files(comparison: Comparison, folder: Path, console: Console, progress: Console) -> None:
    names = ["comparison.json"]
    names += [f"{comparison.row(name).contender.file_stem}.nc" for name in comparison.draws]
    if comparison.draws:
        try:
            with _status("drawing pictures", progress):
                names += [path.name for path in comparison.save_plots()]
        except Unsupported as error:
            console.print(Prose(f"No pictures: {error}", 2))
    console.print(Prose(f"Written to {folder}/: {', '.join(names)}", 2))


@contextlib.contextmanager
def _status(what: str, console: Console) -> Iterator[None]:
    """Say what is being done: a line that vanishes at its end, and elsewhere one that stays."""
    if shows_bars(console):
        with console.status(what):
            yield
    else:
        console.print(what, markup=False, highlight=False, soft_wrap=True)
        yield
