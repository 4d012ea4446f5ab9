"""What a benchmark says in a terminal: groups, failures, growth, crossovers and regressions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from nestor.terminal.bench_groups import GroupsView
from nestor.terminal.bench_growth import crossover_view, growth_view
from nestor.terminal.bench_regression import regression_view
from nestor.terminal.bench_words import sweep_words
from nestor.terminal.tables import STYLES
from nestor.terminal.words import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from nestor.bench.aggregate import GroupSummary

__all__ = ["crossover_view", "groups_view", "growth_view", "notes_view", "regression_view"]


def groups_view(summaries: Sequence[GroupSummary]) -> RenderableType:
    """Verdicts, times, rates and memory of each group: one table per scenario and track."""
    return GroupsView(summaries)


def notes_view(summaries: Sequence[GroupSummary]) -> RenderableType:
    """A line for each reason why runs are not ok, were skipped, or do not agree."""
    places: dict[tuple[str, str, str], list[GroupSummary]] = {}
    runs: dict[tuple[str, str, str], int] = {}
    for one in summaries:
        for name, message, n in _notes(one):
            at = (one.key.contender, name, message)
            places.setdefault(at, []).append(one)
            runs[at] = runs.get(at, 0) + n
    return Group(*(_note(*at, found, runs[at]) for at, found in places.items()))


def _notes(one: GroupSummary) -> Iterator[tuple[str, str, int]]:
    for note in one.notes:
        yield note.status.replace("_", " "), note.message, len(note.seeds)
    if one.verdict in ("DISAGREE", "INCONCLUSIVE"):
        runs = one.verdicts.get(one.verdict) or sum(one.verdicts.values())
        yield one.verdict, "; ".join(one.reasons), runs


def _note(
    contender: str, name: str, message: str, found: Sequence[GroupSummary], runs: int
) -> RenderableType:
    line = Text(f"{contender}  ", "bold")
    line.append(name, STYLES.get(name, "not bold"))
    line.append(f": {message}  " if message else "  ", "not bold")
    tracks = ", ".join(dict.fromkeys(one.key.track for one in found))
    sizes = sweep_words([one.key for one in found])
    runs_text = f"{count(runs)} run{'' if runs == 1 else 's'}"
    line.append(f"({'; '.join(filter(None, (tracks, sizes, runs_text)))})", "dim not bold")
    return line
