"""The size from which a GPU pays, read off the measured times of contenders that differ in device only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

from nestor.bench.bootstrap import MedianInterval, estimate
from nestor.bench.groups import TIMES, Group, group_verdict, runs, series

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nestor.bench.groups import SeriesKey

Answer = Literal["crosses", "always", "never"]
#: What must be the same; the chain method may differ, for a device has one that suits it.
_SAME: Final = ("engine", "formulation", "dtype")


@dataclass(frozen=True)
class Crossover:
    """Where two curves of time over size cross.

    Parameters
    ----------
    scenario, track, sweep : str
        Of which sweep.
    cpu, gpu : str
        The two contenders.
    chains : int or None
        What both had; None where that is what is swept.
    cpu_cores, gpu_cores : int or None
        What the cells of each had, which may differ, as the GPU may be in another machine; None where that
        is what is swept.
    metric : {"time_to_ess_s", "time_to_ess_warm_s"}
        Which time.
    answer : {"crosses", "always", "never"}
        Whether the GPU is quicker from some measured size on to the largest, at every size from the
        smallest on, or not at the largest.
    size : float or None
        Where they cross: linear in the logarithms of ratio and size between the two measured sizes
        around it. None unless they cross, or where one time there is known to be larger only.
    between : tuple of float or None
        These two sizes; None unless they cross.
    changes : int
        How often the quicker of the two changes over all sizes; more than once says that it is noise, or
        that size is not all that matters.
    sizes : tuple of float
        Sizes at which it is known which of them is quicker, increasing.
    ratios : tuple of (float or None)
        Time of the CPU over time of the GPU at each; None where only the sign is known.
    """

    scenario: str
    track: str
    sweep: str
    cpu: str
    gpu: str
    chains: int | None
    cpu_cores: int | None
    gpu_cores: int | None
    metric: str
    answer: Answer
    size: float | None
    between: tuple[float, float] | None
    changes: int
    sizes: tuple[float, ...]
    ratios: tuple[float | None, ...]


@dataclass(frozen=True)
class _SizeRatio:
    """Log of the CPU's over the GPU's time at one size; infinite where only the sign is known."""

    size: float
    log_ratio: float


def crossovers(groups: Sequence[Group]) -> list[Crossover]:
    """Find for each pair of contenders on CPU and GPU from which size on the GPU reaches the target sooner.

    A size counts if both medians are known, or one of them and the other is censored beyond it. Groups
    that disagree count nowhere. Pairs with fewer than two such sizes are left out. Of a contender that ran
    on several numbers of cores the largest counts.
    """
    curves = list(_on_most_cores(series(groups)).items())
    found = []
    for of_cpu, cpu in curves:
        for of_gpu, gpu in curves:
            if _devices_alone_differ(cpu[0], gpu[0]) and _same_problem(of_cpu, of_gpu):
                found += [_cross(cpu, gpu, metric) for metric in TIMES]
    return [one for one in found if one is not None]


def _on_most_cores(curves: Mapping[SeriesKey, list[Group]]) -> dict[SeriesKey, list[Group]]:
    """Of series that differ only in their cores, keep the one with most."""
    by_cores = sorted(curves, key=lambda key: key[5] or 0)
    most = {key[:5]: key for key in by_cores}
    return {key: members for key, members in curves.items() if most[key[:5]] == key}


def _same_problem(cpu: SeriesKey, gpu: SeriesKey) -> bool:
    """Whether scenario, track, sweep and chains are the same; cores may differ, as between two machines."""
    return (*cpu[:3], cpu[4]) == (*gpu[:3], gpu[4])


def _devices_alone_differ(cpu: Group, gpu: Group) -> bool:
    a, b = cpu.rows[0], gpu.rows[0]
    return (a["device"], b["device"]) == ("cpu", "gpu") and all(a[k] == b[k] for k in _SAME)


def _cross(cpu: Sequence[Group], gpu: Sequence[Group], metric: str) -> Crossover | None:
    of_cpu, of_gpu = _times(cpu, metric), _times(gpu, metric)
    places = [
        _SizeRatio(size, log_ratio)
        for size in sorted(of_cpu.keys() & of_gpu.keys())
        if (log_ratio := _log_ratio(of_cpu[size], of_gpu[size])) is not None
    ]
    if len(places) < 2:
        return None
    answer, around = _answer(places)
    key, other = cpu[0].key, gpu[0].key
    on_cores = key.sweep == "cores"
    return Crossover(
        *(key.scenario, key.track, key.sweep, key.contender, other.contender),
        chains=None if key.sweep == "chains" else key.chains,
        cpu_cores=None if on_cores else key.cores,
        gpu_cores=None if on_cores else other.cores,
        metric=metric,
        answer=answer,
        size=_between(*around) if around else None,
        between=(around[0].size, around[1].size) if around else None,
        changes=sum((a.log_ratio > 0) != (b.log_ratio > 0) for a, b in pairwise(places)),
        sizes=tuple(place.size for place in places),
        ratios=tuple(math.exp(p.log_ratio) if math.isfinite(p.log_ratio) else None for p in places),
    )


def _times(members: Sequence[Group], metric: str) -> dict[float, MedianInterval]:
    return {
        group.key.sweep_value or 0.0: estimate(runs(group, metric), "")
        for group in members
        if group_verdict(group.rows) != "DISAGREE"
    }


def _log_ratio(cpu: MedianInterval, gpu: MedianInterval) -> float | None:
    """Positive where the GPU is quicker; None where it cannot be told."""
    if cpu.value and gpu.value:
        return math.log(cpu.value / gpu.value)
    if gpu.value and cpu.at_least and cpu.at_least >= gpu.value:
        return math.inf
    if cpu.value and gpu.at_least and gpu.at_least >= cpu.value:
        return -math.inf
    return None


def _answer(places: Sequence[_SizeRatio]) -> tuple[Answer, tuple[_SizeRatio, _SizeRatio] | None]:
    if places[-1].log_ratio <= 0:
        return "never", None
    around = [(a, b) for a, b in pairwise(places) if a.log_ratio <= 0 < b.log_ratio]
    return ("crosses", around[-1]) if around else ("always", None)


def _between(below: _SizeRatio, above: _SizeRatio) -> float | None:
    rise = above.log_ratio - below.log_ratio
    if not math.isfinite(rise):
        return None
    share = -below.log_ratio / rise
    return float(below.size * (above.size / below.size) ** share)
