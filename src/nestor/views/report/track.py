"""The tracks of a scenario, one shown at a time: table, bars by size, curves across sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nestor.views.format import COLD, WARM, count, duration, memory, size_number, size_text
from nestor.views.report.bars import Series, bars
from nestor.views.report.figure import plot
from nestor.views.report.growth import crossover_list, growth_plots, scaling_plots
from nestor.views.report.markup import Html, label, tag
from nestor.views.report.phases import phases
from nestor.views.report.verdict_table import verdict_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.views.report.groups import GroupRow, Section, Track

_COLD = Series(COLD, "time_to_ess_s")
_WARM = Series(WARM, "time_to_ess_warm_s", pale=True)
_HOST = Series("host", "peak_bytes")
_GPU = Series("GPU", "device_peak_bytes", pale=True)


def track_panels(prefix: str, section: Section) -> Html:
    """Return the tracks, with a switch where there are several."""
    ids = [f"{prefix}t{i}" for i in range(len(section.tracks))]
    names = [track.name or "track" for track in section.tracks]
    panels = [
        tag(
            "div",
            tag("h3", "Track ", label(name), class_="panel-title") if len(ids) > 1 else None,
            _track(panel, track, section),
            class_="panel",
            id=panel,
        )
        for panel, name, track in zip(ids, names, section.tracks, strict=True)
    ]
    return Html(_switch("Track", f"{prefix}track", ids, names, 0) + "".join(panels))


def _switch(title: str, name: str, ids: Sequence[str], texts: Sequence[str], chosen: int) -> Html:
    """Radio buttons that show one panel of several; nothing where there is but one."""
    if len(ids) < 2:
        return Html("")
    buttons = []
    for i, (panel, text) in enumerate(zip(ids, texts, strict=True)):
        checked = {"checked": ""} if i == chosen else {}
        button = tag("input", type="radio", name=name, value=panel, autocomplete="off", **checked)
        buttons.append(tag("label", button, tag("span", label(text))))
    return tag("fieldset", tag("legend", title), buttons, class_="switch")


def _track(prefix: str, track: Track, section: Section) -> Html:
    parts = [
        tag("h3", "Verdicts and speeds"),
        verdict_table(track),
        _by_size(prefix, track),
        scaling_plots(track),
        growth_plots(track, section),
        crossover_list(section, track.name),
    ]
    return Html("".join(part for part in parts if part))


def _by_size(prefix: str, track: Track) -> Html:
    """Bars, phases and memory of one size at a time; at first of the largest at which anything ran."""
    sizes = [
        size for size in track.sizes if not all(li.summary.skipped for li in track.of_size(size))
    ]
    ids = [f"{prefix}z{i}" for i in range(len(sizes))]
    texts = ["no size" if size is None else size_number(size) for size in sizes]
    panels = []
    for panel, size in zip(ids, sizes, strict=True):
        lines = [line for line in track.of_size(size) if not line.summary.skipped]
        named = tag("h3", "At ", label(size_text(track.sweep, size)), class_="panel-title")
        plots = [plot for plot in (_times(lines), _phases(lines), _memory(lines)) if plot]
        panels.append(tag("div", named if len(ids) > 1 else None, plots, class_="panel", id=panel))
    title = track.sweep or "Size"
    return Html(_switch(title, f"{prefix}size", ids, texts, len(ids) - 1) + "".join(panels))


def _times(lines: Sequence[GroupRow]) -> Html:
    series = [_COLD]
    if any(line.estimate(_WARM.metric).value is not None for line in lines):
        series.append(_WARM)
    targets = sorted({s.target_ess for line in lines if (s := line.summary).target_ess is not None})
    target = (
        f"{' or '.join(count(t) for t in targets)} effective draws" if targets else "the target"
    )
    found = [line.estimate(one.metric) for line in lines for one in series]
    whiskers = any(one.low is not None or one.high is not None for one in found)
    note = (
        "Compile and warmup included. "
        f"Medians{' with 95% intervals' if whiskers else ''}; less is better."
    )
    if any(line.speed == "muted" for line in lines):
        note += " Pale: not known to be a right answer."
    return plot(
        f"Time to {target}", note, *bars(_quickest_first(lines), series, duration, "seconds")
    )


def _quickest_first(lines: Sequence[GroupRow]) -> list[GroupRow]:
    """Sort groups by their time: then those with a bound only, then those without."""

    def order(line: GroupRow) -> tuple[bool, bool, float]:
        found = line.estimate(_COLD.metric)
        return line.speed == "none", found.value is None, found.value or found.at_least or 0.0

    return sorted(lines, key=order)


def _phases(lines: Sequence[GroupRow]) -> Html | None:
    drawn = phases(_quickest_first(lines))
    note = (
        f"Upper bar: {COLD}; lower: {WARM}. Medians of each phase for the draws that were made, "
        "which are not the time to the target."
    )
    return plot("Where the seconds went", note, *drawn) if drawn else None


def _memory(lines: Sequence[GroupRow]) -> Html | None:
    series = [s for s in (_HOST, _GPU) if any(line.estimate(s.metric).n for line in lines)]
    if not series:
        return None
    in_gb = "Largest memory of the process tree"
    in_gb += ", and on the GPU." if _GPU in series else "."
    return plot("Memory", in_gb, *bars(_quickest_first(lines), series, memory, "", _memory_ticks))


def _memory_ticks(most: float) -> dict[str, Any]:
    """Round numbers of bytes up to the largest."""
    step = next(
        s for power in range(16) for s in (k * 10.0**power for k in (1, 2, 5)) if most <= 5 * s
    )
    values = [step * i for i in range(7)]
    return {"tickvals": values, "ticktext": ["0", *(memory(value) for value in values[1:])]}
