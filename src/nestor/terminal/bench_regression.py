"""What has become worse between two benchmarks, in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from nestor.terminal.bench_words import (
    metric_form,
    metric_words,
    ratio_words,
    reason_words,
    sweep_words,
    value_words,
)
from nestor.terminal.lines import Unpadded
from nestor.terminal.narrow import Column, Fitted, Prose
from nestor.terminal.words import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from nestor.bench.changes import Change, Ending, Regressions
    from nestor.bench.grouping import GroupKey


def regression_view(found: Regressions) -> RenderableType:
    """What has become worse or better, what is ok no more, and what could not be compared."""
    word = Text("REGRESSION", "bold red") if found.any else Text("no regression", "bold green")
    compared = {change.key for change in found.changes}
    word.append(
        f"  {count(len(found.worse))} of {count(len(found.changes))} figures of {count(len(compared))} "
        f"groups are worse by more than {found.threshold:g} times; "
        f"{count(len(found.broken))} groups are ok no more.",
        "not bold default",
    )
    told = [change for change in found.changes if change.word]
    parts: list[RenderableType] = [
        Prose(Text(f"warning: {text}", "yellow"), 2) for text in found.warnings
    ]
    parts += [_change_table(told)] if told else []
    parts += [_ending(one) for one in found.endings]
    parts += _alone(found.only_old, "old")
    parts += _alone(found.only_new, "new")
    return Unpadded(Group(*parts, Prose(word, 2)))


def _alone(keys: Sequence[GroupKey], table: str) -> list[RenderableType]:
    """Say which groups one table alone has, a line per contender."""
    found: dict[tuple[str, str, str], list[GroupKey]] = {}
    for key in keys:
        found.setdefault((key.scenario, key.track, key.contender), []).append(key)
    return [
        Prose(
            f"{', '.join(filter(None, (*name, sweep_words(some))))}: in the {table} table only, not judged",
            2,
        )
        for name, some in found.items()
    ]


def _change_table(changes: Sequence[Change]) -> RenderableType:
    columns = [Column("", "name"), Column("", "prose")]
    columns += [*map(Column, ("old", "new", "times worse")), Column("")]
    rows: list[list[Text | str]] = []
    for one in changes:
        form = metric_form(one.metric)
        style = {"worse": "bold red", "better": "green"}[one.word]
        rows.append(
            [
                one.key.label,
                metric_words(one.metric),
                *(value_words(found, form) for found in (one.old, one.new)),
                ratio_words(one.ratio),
                Text(one.word, style),
            ]
        )
    return Group(Fitted(columns, rows), Text(""))


def _ending(one: Ending) -> RenderableType:
    line = Text(f"{one.key.label}: ")
    words = f"was {one.was}, is {one.now}"
    if (one.was, one.now) == ("ok", "skipped"):
        words = "was measured, is skipped now"
    line.append(words, "bold red" if one.broken else "")
    why = reason_words(one.reasons)
    return Prose(line.append(f": {why}" if why else ""), 2)
