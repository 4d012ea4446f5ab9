"""The part of a track that looks across sizes, chains, cores and devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.views.format import (
    COLD,
    WARM,
    cores_text,
    count,
    exponent,
    memory,
    number,
    short_duration,
    size_number,
)
from nestor.views.report.curves import PER_GRADIENT, Axes, Curve, curves
from nestor.views.report.figure import plot
from nestor.views.report.markup import Content, Html, breakable, tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nestor.bench.crossover import Crossover
    from nestor.bench.growth import Growth
    from nestor.views.report.groups import GroupRow, Section, Track

_CACHES = {"time_to_ess_s": f"with {COLD}", "time_to_ess_warm_s": f"with {WARM}"}
_TIME_NOTE = (
    "Empty caches. Open markers: not known to be a right answer; arrows: the target was not reached, it "
    "takes longer."
)


def tick_seconds(seconds: float) -> str:
    """Seconds beside an axis, where minutes would not be round."""
    return short_duration(seconds) if seconds < 1 else f"{seconds:,.4g} s"


_GROWING: tuple[tuple[str, str, str, Callable[[float], str]], ...] = (
    ("time_to_ess_s", "Time to the target", _TIME_NOTE, short_duration),
    (PER_GRADIENT, "Time per gradient", "sampling, all chains together", short_duration),
    ("sampling_s", "Sampling time", "kept draws", short_duration),
    ("compile_s", "Compile time", "empty caches", short_duration),
    ("peak_bytes", "Peak memory", "host", memory),
)


def growth_plots(track: Track, section: Section) -> Html | None:
    """Return the growth curves of a track; None where nothing is swept, or at one size only."""
    if not track.sweep or len(track.sizes) < 2:
        return None
    every = section.statistics.growth
    fits = {_series(fit): fit for fit in every if fit.scenario == section.info.name}
    made = []
    for metric, title, note, write in _GROWING:
        found = [
            Curve(
                lines,
                [li.key.sweep_value or 0.0 for li in lines],
                lines[-1].detail,
                _exponent(fits.get((track.name, *key, metric))),
            )
            for key, lines in _by(track.rows, lambda li: _growing_key(li, track.sweep)).items()
        ]
        tick = memory if write is memory else tick_seconds
        drawn = curves(found, Axes(metric, track.sweep, title.lower(), write, tick))
        if drawn is not None:
            made.append(plot(f"{title} against {track.sweep}", note, *drawn))
    return Html(tag("h3", f"Growth with {track.sweep}") + _grid(made)) if made else None


def _grid(made: Sequence[Html]) -> Html:
    """The first over the whole width, the others in pairs."""
    return Html(made[0] + (tag("div", made[1:], class_="pair") if made[1:] else ""))


def _series(fit: Growth) -> tuple[object, ...]:
    return fit.track, fit.contender, fit.chains, fit.cores, fit.metric


def _growing_key(line: GroupRow, sweep: str) -> tuple[str, int | None, int | None]:
    """What all points of a curve share, as in `nestor.bench.growth.series`."""
    chains = None if sweep == "chains" else line.key.chains
    return line.key.contender, chains, None if sweep == "cores" else line.key.cores


def _exponent(fit: Growth | None) -> tuple[str, ...]:
    if fit is None:
        return ()
    words = [
        f"exponent {exponent(fit.exponent)} ({exponent(fit.low)} to {exponent(fit.high)})",
        f"two largest sizes {exponent(fit.last)}",
    ]
    if fit.left_out:
        words.append(f"without {fit.left_out} runs not ok")
    return tuple(words)


def _by[Key](
    lines: Iterable[GroupRow], key: Callable[[GroupRow], Key]
) -> dict[Key, list[GroupRow]]:
    found: dict[Key, list[GroupRow]] = {}
    for line in lines:
        found.setdefault(key(line), []).append(line)
    return found


def scaling_plots(track: Track) -> Html | None:
    """Return ESS per second against chains and against cores, where a track has several."""
    made = []
    for noun in ("cores", "chains"):
        found = _scaling(track, noun)
        axes = Axes("ess_per_s_sampling", noun, "ESS/s of sampling", number, number)
        drawn = curves(found, axes) if found else None
        if drawn is not None:
            note = "Effective draws per second of sampling, worst quantity, medians."
            made.append(plot(f"ESS per second against {noun}", note, *drawn))
    return (
        Html(tag("h3", "More cores, more chains") + tag("div", made, class_="pair"))
        if made
        else None
    )


def _scaling(track: Track, noun: str) -> list[Curve]:
    """Curves over at least two numbers of cores or chains; at the largest size that has such."""
    if track.sweep == noun:
        return _over(track.rows, noun)
    return next(
        (found for size in reversed(track.sizes) if (found := _over(track.of_size(size), noun))), []
    )


def _over(lines: Sequence[GroupRow], noun: str) -> list[Curve]:
    other = "chains" if noun == "cores" else "cores"
    by = _by(lines, lambda line: (line.key.contender, getattr(line.key, other)))
    several = len({rest for _, rest in by}) > 1
    found = []
    for (_, rest), own in by.items():
        places = sorted((x, i) for i, line in enumerate(own) if (x := getattr(line.key, noun)))
        if len({x for x, _ in places}) > 1:
            lines_along, x = [own[i] for _, i in places], [x for x, _ in places]
            found.append(Curve(lines_along, x, f"{rest} {other}" if several else ""))
    return found


def crossover_list(section: Section, track: str) -> Html | None:
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
            cores_text(one, one.gpu_cores),
            " against ",
            breakable(one.cpu),
            cores_text(one, one.cpu_cores),
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


def _answer(one: Crossover) -> list[Content]:
    sweep = one.sweep
    if one.answer == "always":
        return [
            tag("b", "the GPU is quicker from the smallest size on"),
            f" ({sweep} = {size_number(one.sizes[0])}).",
        ]
    if one.answer == "never":
        return [tag("b", "the GPU does not pay"), f" up to {sweep} = {size_number(one.sizes[-1])}."]
    low, high = one.between or (one.sizes[0], one.sizes[-1])
    at = (
        f"the GPU pays from about {sweep} = {size_number(float(f'{one.size:.2g}'))} on"
        if one.size
        else "they cross"
    )
    return [tag("b", at), f", between the measured {size_number(low)} and {size_number(high)}."]


def _ends(one: Crossover) -> str:
    """How many times as long the CPU takes at both ends."""
    words = [
        f"{size_number(size)}: {number(ratio)}"
        for size, ratio in zip(
            (one.sizes[0], one.sizes[-1]), (one.ratios[0], one.ratios[-1]), strict=True
        )
        if ratio is not None
    ]
    return f" Time on the CPU over time on the GPU at {'; at '.join(words)}." if words else ""
