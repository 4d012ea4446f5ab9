"""Who is fastest and by how much, in a sentence for each track."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.bench.bootstrap import ratio
from nestor.bench.groups import runs
from nestor.views.format import (
    count,
    counted,
    duration,
    interval_text,
    median_text,
    number,
    size_text,
)
from nestor.views.report.markup import Content, Html, breakable, tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.bench.bootstrap import Ratio
    from nestor.bench.statistics import BenchStatistics
    from nestor.views.report.groups import GroupRow, Section, Track

_METRIC = "time_to_ess_s"


def headline(section: Section) -> Html | None:
    """Return a sentence for each track: the fastest right answer, and by how much; None without any run."""
    several = len(section.tracks) > 1
    found = [
        tag("p", tag("b", f"{track.name}: ") if several else None, sentence, class_="headline")
        for track in section.tracks
        if (sentence := _sentence(track, section.statistics))
    ]
    return Html("".join(found)) if found else None


def _sentence(track: Track, statistics: BenchStatistics) -> list[Content]:
    """At the largest size at which anything ran: the one that a reader asks for."""
    sizes = [size for size in track.sizes if any(_ran(li) for li in track.of_size(size))]
    if not sizes:
        return []
    lines = [line for line in track.of_size(sizes[-1]) if _ran(line)]
    right = sorted(
        (li for li in lines if li.speed == "shown" and li.estimate(_METRIC).value is not None),
        key=lambda li: li.estimate(_METRIC).value or 0.0,
    )
    where = f"At {size_text(track.sweep, sizes[-1])}, " if sizes[-1] is not None else ""
    targets = {line.summary.target_ess for line in lines if line.summary.target_ess is not None}
    target = f"{count(targets.pop())} effective draws" if len(targets) == 1 else "the target"
    if not right:
        start = "no contender" if where else "No contender"
        return [where, f"{start} reached {target} with an answer that is known to be right."]
    first = right[0]
    parts: list[Content] = [where, *_named(first), f" is the fastest to {target}"]
    if len(right) == 1:
        parts.append(", and the only one that reached it with an answer known to be right.")
    else:
        parts += _against(first, right[1], statistics)
    return [*parts, _others(lines, right)]


def _ran(line: GroupRow) -> bool:
    return not line.summary.skipped


def _named(line: GroupRow) -> list[Content]:
    """A contender, its verdict and its time."""
    time = median_text(line.estimate(_METRIC), duration, bound=line.is_bound(_METRIC))
    detail = f"{line.detail}, " if line.detail else ""
    return [tag("b", breakable(line.key.contender)), f" ({detail}{line.verdict}, {time})"]


def _against(first: GroupRow, second: GroupRow, statistics: BenchStatistics) -> list[Content]:
    """Say by how much the first is faster than the second, if the runs show it."""
    timed = {group.key: runs(group, _METRIC) for group in statistics.groups}
    label = f"{second.key.label} over {first.key.label}"
    times = ratio(timed[second.key], timed[first.key], label)
    if times.low is not None and times.low <= 1:
        return [", but is not told apart from ", *_named(second), f": {_times(times)} as fast."]
    return [f", {_times(times)} as fast as ", *_named(second), "."]


def _times(found: Ratio) -> str:
    value = "some" if found.value is None else number(found.value)
    if text := interval_text(found.low, found.high, number):
        return f"{value} times (95% interval {text})"
    return f"{value} times (no interval: {counted(found.n, 'run')})"


def _others(lines: Sequence[GroupRow], right: Sequence[GroupRow]) -> str:
    """Say how many contenders have no such time, and why."""
    wrong = sum(line.speed == "none" for line in lines)
    unsure = sum(
        line.speed == "muted" and line.estimate(_METRIC).value is not None for line in lines
    )
    late = len(lines) - len(right) - wrong - unsure
    told = [
        f"{count(n)} {words}"
        for n, words in (
            (late, "did not reach it"),
            (unsure, "reached it with an answer not known to be right"),
            (wrong, "gave a wrong answer"),
        )
        if n
    ]
    return f" Of the others {', '.join(told)}." if told else ""
