"""Pictures of benchmarks: time to the target, growth, phases, and rates over chains or cores."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from nestor.views.plots.bench_axis import TrackTable
from nestor.views.plots.bench_curves import growth_curves, rate_curves
from nestor.views.plots.bench_times import phase_bars, time_bars
from nestor.views.plots.canvas import Picture, pens
from nestor.views.plots.text import file_stems

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nestor.bench.crossover import Crossover
    from nestor.bench.growth import Growth
    from nestor.bench.statistics import BenchStatistics


def bench_pictures(statistics: BenchStatistics) -> dict[str, Callable[[], Picture]]:
    """Return what draws each picture, by its name; see `nestor.views.plots.save_bench_plots`."""
    tracks = track_tables(statistics)
    fits, crossings = statistics.growth, statistics.crossovers
    stems = file_stems(dict.fromkeys(one.scenario for one in tracks))
    pictures: dict[str, Callable[[], Picture]] = {}
    for track in tracks:
        before = f"{stems[track.scenario]}-" if len(stems) > 1 else ""
        drawn = _pictures(track, fits, crossings)
        pictures |= {f"{before}{kind}-{track.track}": draw for kind, draw in drawn.items()}
    return pictures


def track_tables(statistics: BenchStatistics) -> list[TrackTable]:
    """Split results into tracks of scenarios, each contender with one pen in all of them."""
    summaries = statistics.summaries
    looks = pens(dict.fromkeys(one.key.contender for one in summaries))
    return [
        TrackTable(scenario, track, tuple(members), looks)
        for (scenario, track), members in groupby(
            summaries, lambda one: (one.key.scenario, one.key.track)
        )
    ]


def _pictures(
    track: TrackTable, fits: Sequence[Growth], crossings: Sequence[Crossover]
) -> dict[str, Callable[[], Picture]]:
    """Say which pictures apply to a track."""
    here = (track.scenario, track.track)
    found: dict[str, Callable[[], Picture]] = {
        "time": partial(time_bars, track),
        "phases": partial(phase_bars, track),
    }
    sizes = {one.key.sweep_value for one in track.members if one.n_ok and one.key.sweep_value}
    if len(sizes) > 1:
        found["growth"] = partial(
            growth_curves,
            track,
            [one for one in fits if (one.scenario, one.track) == here],
            [one for one in crossings if (one.scenario, one.track) == here],
        )
    for over in ("chains", "cores"):
        if len({getattr(one.key, over) for one in track.members if one.n_ok} - {None}) > 1:
            found[f"rates-{over}"] = partial(rate_curves, track, over)
    return found
