"""A comparison of two benchmarks in a terminal: what became worse, and what became better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from nestor.bench.bootstrap import LEAST_RUNS
from nestor.bench.regression import RegressionVerdict
from nestor.views.format import (
    MISSING,
    count,
    counted,
    interval_text,
    median_text,
    metric_text,
    metric_writer,
    number,
    sizes_text,
)
from nestor.views.sentences import reasons_text
from nestor.views.terminal.layout import Column, Fitted, Prose, Unpadded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from nestor.bench.bootstrap import Ratio
    from nestor.bench.groups import GroupKey
    from nestor.bench.regression import Change, Regressions, StatusChange

_STYLES = {
    RegressionVerdict.REGRESSION: "bold red",
    RegressionVerdict.NO_REGRESSION: "bold green",
    RegressionVerdict.INCONCLUSIVE: "bold yellow",
}


def regression_view(found: Regressions) -> RenderableType:
    """Show what became worse or better, which groups fail now, and what could not be compared."""
    word = Text(found.outcome.value, _STYLES[found.outcome])
    compared = {change.key for change in found.changes}
    word.append(
        f"  {count(len(found.worse))} of {count(len(found.changes))} figures of "
        f"{counted(len(compared), 'group')} are worse by more than {found.threshold:g} times; "
        f"{counted(len(found.broken), 'group')} {'is' if len(found.broken) == 1 else 'are'} ok no more.",
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


def _suspect(one: Change, threshold: float) -> bool:
    """Return whether a figure that has no interval exceeds the threshold in either direction."""
    value = one.ratio.value
    return not one.judged and value is not None and not 1 / threshold <= value <= threshold


def _unknown(found: Regressions) -> Iterator[str]:
    """Say what could not be judged, and how many more runs are needed."""
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
    """List the groups that only one of the tables has, one line per contender."""
    found: dict[tuple[str, str, str], list[GroupKey]] = {}
    for key in keys:
        found.setdefault((key.scenario, key.track, key.contender), []).append(key)
    return [
        Prose(
            f"{', '.join(filter(None, (*name, sizes_text(some))))}: in the {table} table only, not judged",
            2,
        )
        for name, some in found.items()
    ]


def _change_table(changes: Sequence[Change]) -> RenderableType:
    columns = [Column("", "name"), Column("", "prose")]
    columns += [*map(Column, ("old", "new", "times worse")), Column("")]
    rows: list[list[Text | str]] = []
    for one in changes:
        form = metric_writer(one.metric)
        style = {"worse": "bold red", "better": "green", "": "yellow"}[one.word]
        rows.append(
            [
                one.key.label,
                metric_text(one.metric),
                *(median_text(found, form) for found in (one.old, one.new)),
                ratio_text(one.ratio),
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
    why = reasons_text(one.reasons)
    return Prose(line.append(f": {why}" if why else ""), 2)


def ratio_text(found: Ratio) -> str:
    """A ratio and its interval on one line."""
    if found.value is None:
        if found.at_least is not None:
            return f"> {number(found.at_least)}"
        return MISSING if found.at_most is None else f"< {number(found.at_most)}"
    interval = interval_text(found.low, found.high, number)
    if not interval and found.n < LEAST_RUNS:
        return f"{number(found.value)} (no interval: {counted(found.n, 'run')})"
    if not interval:
        return f"{number(found.value)} (interval open: censored runs)"
    return f"{number(found.value)} ({interval})"
