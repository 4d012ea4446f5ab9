"""From which size on a GPU pays, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.views.report.markup import Content, Html, breakable, tag
from nestor.views.report.wording import count, number

if TYPE_CHECKING:
    from nestor.bench.crossover import Crossover
    from nestor.views.report.lines import Section

_CACHES = {"time_to_ess_s": "with empty caches", "time_to_ess_warm_s": "with filled caches"}


def crossing(section: Section, track: str) -> Html | None:
    """Return a list of the crossovers of CPU and GPU in a track; None where there was no such pair."""
    found = [
        one
        for one in section.statistics.crossovers
        if (one.scenario, one.track) == (section.info.name, track)
    ]
    if not found:
        return None
    items = [tag("li", _sentence(one)) for one in found]
    return Html(tag("h3", "Where a GPU pays") + tag("ul", items, class_="rules"))


def _sentence(one: Crossover) -> Content:
    more = [f" ({count(one.chains)} chains)"] if one.chains is not None else []
    parts: list[Content] = [
        *(
            breakable(one.gpu),
            _cores(one, one.gpu_cores),
            " against ",
            breakable(one.cpu),
            _cores(one, one.cpu_cores),
            *more,
            ", ",
            _CACHES[one.metric],
            ": ",
        ),
        *_answer(one),
        _ends(one),
    ]
    if one.changes > 1:
        parts.append(
            f" Who is quicker changes {one.changes} times over the sizes, so the crossing is not sharp."
        )
    return parts


def _cores(one: Crossover, cores: int | None) -> str:
    """What a contender's cells had, where the two differ in that too."""
    if one.cpu_cores == one.gpu_cores or cores is None:
        return ""
    return f" ({cores} core{'' if cores == 1 else 's'})"


def _answer(one: Crossover) -> list[Content]:
    sweep = one.sweep
    if one.answer == "always":
        return [
            tag("b", "the GPU is quicker from the smallest size on"),
            f" ({sweep} = {_size(one.sizes[0])}).",
        ]
    if one.answer == "never":
        return [tag("b", "the GPU does not pay"), f" up to {sweep} = {_size(one.sizes[-1])}."]
    low, high = one.between or (one.sizes[0], one.sizes[-1])
    at = (
        f"the GPU pays from about {sweep} = {_size(float(f'{one.size:.2g}'))} on"
        if one.size
        else "they cross"
    )
    return [tag("b", at), f", between the measured {_size(low)} and {_size(high)}."]


def _ends(one: Crossover) -> str:
    """How many times as long the CPU takes at both ends."""
    words = [
        f"{_size(size)}: {number(ratio)}"
        for size, ratio in zip(
            (one.sizes[0], one.sizes[-1]), (one.ratios[0], one.ratios[-1]), strict=True
        )
        if ratio is not None
    ]
    return f" Time on the CPU over time on the GPU at {'; at '.join(words)}." if words else ""


def _size(value: float) -> str:
    return count(value) if value == round(value) else f"{value:g}"
