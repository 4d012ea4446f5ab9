"""Who is fastest and by how much, in a sentence for each track."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.bench.bootstrap import ratio
from nestor.bench.groups import runs
from nestor.views.report.markup import Content, Html, breakable, tag
from nestor.views.report.wording import count, duration, estimate, interval, number, size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.bench.bootstrap import Ratio
    from nestor.bench.statistics import BenchStatistics
    from nestor.views.report.lines import Line, Section, Track

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


def _ran(line: Line) -> bool:
    return not line.summary.skipped


def _named(line: Line) -> list[Content]:
    """A contender, its verdict and its time."""
    time = estimate(line.estimate(_METRIC), duration, bound=line.is_bound(_METRIC))
    detail = f"{line.detail}, " if line.detail else ""
    return [tag("b", breakable(line.key.contender)), f" ({detail}{line.verdict}, {time})"]


def _against(first: Line, second: Line, statistics: BenchStatistics) -> list[Content]:
    """By how much the first is faster than the second, as far as the runs tell."""
    timed = {group.key: runs(group, _METRIC) for group in statistics.groups}
    label = f"{second.key.label} over {first.key.label}"
    times = ratio(timed[second.key], timed[first.key], label)
    if times.low is not None and times.low <= 1:
        return [", but is not told apart from ", *_named(second), f": {_times(times)} as fast."]
    return [f", {_times(times)} as fast as ", *_named(second), "."]


def _times(found: Ratio) -> str:
    value = "some" if found.value is None else number(found.value)
    if text := interval(found.low, found.high, number):
        return f"{value} times (95% interval {text})"
    runs_text = f"{found.n} run{'' if found.n == 1 else 's'}"
    return f"{value} times (no interval: {runs_text})"


def _others(lines: Sequence[Line], right: Sequence[Line]) -> str:
    """How many have no such time, and why."""
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
