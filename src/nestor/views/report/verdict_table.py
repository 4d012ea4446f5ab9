"""The main table of a track: verdicts beside speeds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nestor.views.format import (
    COLD,
    MISSING,
    WARM,
    count,
    duration,
    interval_text,
    median_text,
    memory,
    number,
    size_text,
)
from nestor.views.report.markup import Html, breakable, label, tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from nestor.bench.bootstrap import MedianInterval, Ratio
    from nestor.bench.groups import GroupKey
    from nestor.views.report.groups import GroupRow, Track

#: Characters of a reason that are shown before it is opened.
_SHORT = 72
#: With more lines, the table scrolls below its head.
_TALL = 30


@dataclass(frozen=True)
class Column:
    """A figure of the table: what stands above it, and how its numbers are written."""

    title: str
    unit: str
    metric: str
    write: Callable[[float], str]
    is_speed: bool = True


def _columns(lines: tuple[GroupRow, ...]) -> tuple[Column, ...]:
    targets = {line.summary.target_ess for line in lines if line.summary.target_ess is not None}
    target = f"to {count(targets.pop())} ESS" if len(targets) == 1 else "to the target"
    every = (
        Column(f"Time {target}", COLD, "time_to_ess_s", duration),
        Column(f"Time {target}", WARM, "time_to_ess_warm_s", duration),
        Column("ESS/s", "sampling", "ess_per_s_sampling", number),
        Column("ESS/s", "warmup and sampling", "ess_per_s", number),
        Column("ESS", "per gradient", "ess_per_gradient", number),
        Column("Gradients/s", "sampling", "gradients_per_s", number),
        Column("Memory", "host, peak", "peak_bytes", memory, is_speed=False),
        Column("Memory", "GPU, peak", "device_peak_bytes", memory, is_speed=False),
    )
    optional = {"time_to_ess_warm_s", "device_peak_bytes"}
    return tuple(
        c for c in every if c.metric not in optional or any(li.estimate(c.metric).n for li in lines)
    )


def verdict_table(track: Track) -> Html:
    """Return the table of a track: a line for each size and contender."""
    columns, judge = _columns(track.rows), _one_judge(track)
    bounds = {line.key for line in track.rows if line.summary.time_is_bound}
    heads = [
        tag("th", "Contender", class_="first"),
        _verdict_head(judge),
        _head("Runs", "ok of all"),
    ]
    heads += [_head(c.title, c.unit) for c in columns[:1]]
    heads += [_head("Ratio", "to the quickest")]
    heads += [_head(c.title, c.unit) for c in columns[1:]]
    heads += [tag("th", "Worst quantity")]
    bodies = []
    for size in track.sizes:
        rows = [_row(line, columns, judge, bounds) for line in track.of_size(size)]
        if size is not None:
            title = tag("th", tag("span", label(size_text(track.sweep, size))), colspan=len(heads))
            rows.insert(0, tag("tr", title, class_="group"))
        bodies.append(tag("tbody", rows))
    table = tag("table", tag("thead", tag("tr", heads)), bodies, class_="summary")
    return tag(
        "div", table, class_=f"scroll{' tall' if len(track.rows) > _TALL else ''}", tabindex=0
    )


def _head(title: str, unit: str) -> Html:
    return tag("th", title, tag("small", unit), class_="num")


def _one_judge(track: Track) -> str:
    """Return the contender that all groups were judged against; empty if there are several."""
    judges = {line.summary.against for line in track.rows if line.summary.against}
    return judges.pop() if len(judges) == 1 else ""


def _verdict_head(judge: str) -> Html:
    against = tag("small", "against ", breakable(judge)) if judge else None
    return tag("th", "Verdict", against)


def _row(line: GroupRow, columns: tuple[Column, ...], judge: str, bounds: set[GroupKey]) -> Html:
    name = tag("th", _dot(line), breakable(line.key.contender), _small(line.detail), class_="first")
    cells = [name, _verdict(line, judge), _runs(line)]
    cells += [_figure(line, c) for c in columns[:1]]
    cells += [_times(line, bounds)]
    cells += [_figure(line, c) for c in columns[1:]]
    cells += [_worst(line)]
    key = line.key
    return tag(
        "tr",
        cells,
        data_contender=key.contender,
        data_track=key.track,
        data_size=key.sweep_value,
        data_chains=key.chains,
        data_cores=key.cores,
    )


def _dot(line: GroupRow) -> Html:
    return tag("span", class_="dot", style=f"background:{line.pen.colour}")


def _small(text: str) -> Html | None:
    return tag("small", " ", text) if text else None


def _verdict(line: GroupRow, judge: str) -> Html:
    verdict, against = line.summary.verdict, line.summary.against
    parts: list[Html | None] = [
        tag("span", line.verdict, class_=f"verdict {verdict or 'unjudged'}")
    ]
    if verdict and against and not judge:
        parts.append(tag("small", "against ", breakable(against)))
    if verdict and len(line.summary.verdicts) > 1:
        found = ", ".join(f"{n} {word}" for word, n in line.summary.verdicts.items())
        parts.append(tag("small", f"single runs: {found}"))
    # Whose reason it is stands at the line's head.
    own = f"{line.key.contender}: "
    parts.append(_reason("; ".join(why.removeprefix(own) for why in line.summary.reasons)))
    return tag("td", parts, class_="judged")


def _reason(text: str) -> Html | None:
    if len(text) <= _SHORT:
        return tag("small", label(text)) if text else None
    short = text[:_SHORT].rsplit(" ", 1)[0]
    return tag("details", tag("summary", label(f"{short} …")), label(text))


def _runs(line: GroupRow) -> Html:
    return tag("td", f"{count(line.summary.n_ok)} of {count(line.summary.n)}", class_="num")


def _figure(line: GroupRow, column: Column) -> Html:
    """A median over its interval; with its full digits in attributes, for whoever reads by machine."""
    found = line.estimate(column.metric)
    if column.is_speed and line.speed == "none":
        return tag("td", MISSING, class_="num", data_metric=column.metric)
    text = median_text(found, column.write, bound=line.is_bound(column.metric))
    return tag(
        "td",
        text,
        _interval(found, column.write),
        class_="num pale" if column.is_speed and line.speed == "muted" else "num",
        data_metric=column.metric,
        data_value=found.value,
        data_at_least=found.at_least,
    )


def _interval(found: MedianInterval | Ratio, write: Callable[[float], str]) -> Html | None:
    """Write an interval that may be broken only after its dash."""
    text = interval_text(found.low, found.high, write, "–")
    if not text:
        return None
    parts = [tag("span", part, class_="whole") for part in re.split("(?<=–)", text)]
    return tag("small", parts[0], [[tag("wbr"), part] for part in parts[1:]])


def _times(line: GroupRow, bounds: set[GroupKey]) -> Html:
    found = line.relative.ratio
    if found is None or line.speed == "none":
        return tag("td", MISSING, class_="num")
    if line.relative.baseline == line.key:
        return tag("td", "1", class_="num pale" if line.speed == "muted" else "num")
    return tag(
        "td",
        f"{_sign(line.key in bounds, line.relative.baseline in bounds)}{_ratio(found)}",
        _interval(found, _factor),
        class_="num pale" if line.speed == "muted" else "num",
        data_metric="ratio",
        data_value=found.value,
    )


def _sign(over: bool, under: bool) -> str:
    """Mark a ratio whose numerator, denominator or both are upper bounds."""
    return {(False, False): "", (True, False): "≤ ", (False, True): "≥ "}.get(
        (over, under), "about "
    )


def _ratio(found: Ratio) -> str:
    if found.value is not None:
        return _factor(found.value)
    return f"> {_factor(found.at_least)}" if found.at_least is not None else MISSING


def _factor(value: float) -> str:
    """A ratio; 1.04 is not 1."""
    return f"{value:.2f}" if value < 10 else number(value)


def _worst(line: GroupRow) -> Html:
    found = line.summary
    if not found.worst_quantity:
        return tag("td", MISSING)
    kind = f" ({found.worst_kind})" if found.worst_kind else ""
    return tag("td", label(found.worst_quantity), kind, class_="text")
