"""What a benchmark says in a terminal: groups, failures, growth, crossovers and regressions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.console import Group
from rich.text import Text

from nestor.views.terminal.bench_groups import GroupsView
from nestor.views.terminal.bench_growth import crossover_view, growth_view
from nestor.views.terminal.bench_regression import regression_view
from nestor.views.terminal.bench_words import reason_words, sweep_words
from nestor.views.terminal.lines import Unpadded
from nestor.views.terminal.narrow import Prose
from nestor.views.terminal.tables import STYLES
from nestor.views.terminal.words import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from nestor.bench.groups import GroupSummary

__all__ = ["crossover_view", "groups_view", "growth_view", "notes_view", "regression_view"]


def groups_view(summaries: Sequence[GroupSummary]) -> RenderableType:
    """Verdicts, times, rates and memory of each group: one table per scenario and track."""
    return Unpadded(GroupsView(summaries))


class _Noted(NamedTuple):
    """Runs of a group that are not as they should be: what became of them, why, and how many."""

    one: GroupSummary
    word: str
    reasons: tuple[str, ...]
    runs: int


def notes_view(summaries: Sequence[GroupSummary]) -> RenderableType:
    """A line for each contender and way in which its runs are not ok, were skipped, or do not agree."""
    lines: dict[tuple[str, str], list[_Noted]] = {}
    for one in summaries:
        for noted in _notes(one):
            lines.setdefault((one.key.contender, noted.word), []).append(noted)
    return Unpadded(Group(*(_line(*at, found) for at, found in lines.items())))


def _notes(one: GroupSummary) -> Iterator[_Noted]:
    for note in one.notes:
        yield _Noted(one, note.status.replace("_", " "), (note.message,), len(note.seeds))
    if one.verdict == "DISAGREE":
        yield _Noted(one, one.verdict, one.reasons, one.verdicts[one.verdict])
    elif one.verdict == "INCONCLUSIVE":
        yield from _inconclusive(one)


def _inconclusive(one: GroupSummary) -> Iterator[_Noted]:
    """Runs that passed their gates and were not shown to agree: that gates failed is told already."""
    runs = one.verdicts.get(one.verdict, 0) - one.statuses.get("gates_failed", 0)
    if runs > 0:
        told = tuple(note.message for note in one.notes if note.message)
        name = f"{one.key.contender}: "  # stands before each reason why a run cannot be judged
        reasons = (why for why in one.reasons if not why.replace(name, "").endswith(told))
        yield _Noted(one, one.verdict, tuple(reasons), runs)


def _line(contender: str, word: str, found: Sequence[_Noted]) -> RenderableType:
    why = reason_words([reason for noted in found for reason in noted.reasons])
    keys = [noted.one.key for noted in found]
    tracks = ", ".join(dict.fromkeys(key.track for key in keys))
    runs = sum(noted.runs for noted in found)
    runs_text = f"{count(runs)} run{'' if runs == 1 else 's'}"
    line = Text(f"{contender}  ", "bold")
    line.append(word, STYLES.get(word, "not bold"))
    line.append(f": {why}  " if why else "  ", "not bold")
    where = "; ".join(filter(None, (tracks, sweep_words(keys), runs_text)))
    return Prose(line.append(f"({where})", "dim not bold"), 2)
