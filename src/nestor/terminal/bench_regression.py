"""What has become worse between two benchmarks, in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nestor.terminal.bench_words import (
    metric_form,
    metric_words,
    ratio_words,
    sweep_words,
    value_words,
)
from nestor.terminal.words import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from nestor.bench.grouping import GroupKey
    from nestor.bench.regression import Change, Regressions


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
    parts: list[RenderableType] = [Text(f"warning: {text}", "yellow") for text in found.warnings]
    parts += [_change_table(told)] if told else []
    parts += [_ending(one.key, one.was, one.now, one.message) for one in found.endings]
    parts += _alone(found.only_old, "old")
    parts += _alone(found.only_new, "new")
    return Group(*parts, word)


def _alone(keys: Sequence[GroupKey], table: str) -> list[RenderableType]:
    """Say which groups one table alone has, a line per contender."""
    found: dict[tuple[str, str, str], list[GroupKey]] = {}
    for key in keys:
        found.setdefault((key.scenario, key.track, key.contender), []).append(key)
    return [
        Text(f"{', '.join(filter(None, (*name, sweep_words(some))))}: in the {table} table only")
        for name, some in found.items()
    ]


def _change_table(changes: Sequence[Change]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", overflow="fold")
    table.add_column("")
    for heading in ("old", "new", "times worse"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for one in changes:
        form = metric_form(one.metric)
        style = {"worse": "bold red", "better": "green"}[one.word]
        table.add_row(
            Text(one.key.label),
            Text(metric_words(one.metric)),
            *(Text(value_words(found, form)) for found in (one.old, one.new)),
            Text(ratio_words(one.ratio)),
            Text(one.word, style),
        )
    return Padding(table, (0, 0, 1, 0))


def _ending(key: GroupKey, was: str, now: str, message: str) -> RenderableType:
    line = Text(f"{key.label}: ")
    line.append(f"was {was}, is {now}", "bold red" if was == "ok" and now != "skipped" else "")
    return line.append(f": {message}" if message else "")
