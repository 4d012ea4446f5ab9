"""What has become worse between two benchmarks, in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from nestor.bench.bootstrap import LEAST_RUNS
from nestor.bench.regression import RegressionVerdict
from nestor.views.terminal.bench_words import (
    metric_form,
    metric_words,
    ratio_words,
    reason_words,
    sweep_words,
    value_words,
)
from nestor.views.terminal.lines import Unpadded
from nestor.views.terminal.narrow import Column, Fitted, Prose
from nestor.views.terminal.words import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from nestor.bench.groups import GroupKey
    from nestor.bench.regression import Change, Regressions, StatusChange

_STYLES = {
    RegressionVerdict.REGRESSION: "bold red",
    RegressionVerdict.NO_REGRESSION: "bold green",
    RegressionVerdict.INCONCLUSIVE: "bold yellow",
}


def regression_view(found: Regressions) -> RenderableType:
    """What has become worse or better, what is ok no more, and what could not be compared."""
    word = Text(found.outcome.value, _STYLES[found.outcome])
    compared = {change.key for change in found.changes}
    word.append(
        f"  {count(len(found.worse))} of {count(len(found.changes))} figures of "
        f"{_groups(len(compared))} are worse by more than {found.threshold:g} times; "
        f"{_groups(len(found.broken))} {'is' if len(found.broken) == 1 else 'are'} ok no more.",
        "not bold default",
    )
    told = [change for change in found.changes if change.word or _suspect(change, found.threshold)]
    parts: list[RenderableType] = [
        Prose(Text(f"warning: {text}", "yellow"), 2) for text in found.warnings
    ]
    parts += [_change_table(told)] if told else []
    parts += [_ending(one) for one in found.endings]
    parts += _alone(found.only_old, "old")
    parts += _alone(found.only_new, "new")
    return Unpadded(Group(*parts, *(Prose(text, 2) for text in _unknown(found)), Prose(word, 2)))


def _groups(n: int) -> str:
    return f"{count(n)} group{'' if n == 1 else 's'}"


def _suspect(one: Change, threshold: float) -> bool:
    """Whether a figure without an interval is beyond the threshold, either way."""
    value = one.ratio.value
    return not one.judged and value is not None and not 1 / threshold <= value <= threshold


def _unknown(found: Regressions) -> Iterator[str]:
    """What the runs could not tell, and how many more it takes."""
    if unjudged := found.unjudged:
        lacks = [
            f"{n} more of the {table} ones"
            for n, table in zip(found.missing, ("old", "new"), strict=True)
            if n
        ]
        yield (
            f"{count(len(unjudged))} of {count(len(found.changes))} figures have no interval and are not "
            f"judged: it takes {LEAST_RUNS} runs (seeds) of each group in both tables that end well; "
            f"needed are {' and '.join(lacks)}."
        )
    if unsure := found.unsure:
        yield (
            f"{count(len(unsure))} figures that are not found worse may be so by more than "
            f"{found.threshold:g} times: their intervals reach beyond it, and more runs narrow them."
        )


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
        style = {"worse": "bold red", "better": "green", "": "yellow"}[one.word]
        rows.append(
            [
                one.key.label,
                metric_words(one.metric),
                *(value_words(found, form) for found in (one.old, one.new)),
                ratio_words(one.ratio),
                Text(one.word or "not judged", style),
            ]
        )
    return Group(Fitted(columns, rows), Text(""))


def _ending(one: StatusChange) -> RenderableType:
    line = Text(f"{one.key.label}: ")
    words = f"was {one.was}, is {one.now}"
    if (one.was, one.now) == ("ok", "skipped"):
        words = "was measured, is skipped now"
    line.append(words, "bold red" if one.broken else "")
    why = reason_words(one.reasons)
    return Prose(line.append(f": {why}" if why else ""), 2)
