"""How costs grow, and where a GPU starts to pay, in a terminal."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from nestor.views.terminal.bench_words import metric_words, power_words
from nestor.views.terminal.lines import Unpadded
from nestor.views.terminal.narrow import Column, Fitted, Prose
from nestor.views.terminal.words import MISSING, count, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from nestor.bench.crossover import Crossover
    from nestor.bench.growth import Growth


def growth_view(found: Sequence[Growth]) -> RenderableType:
    """Growth exponents: one table per scenario, track and sweep, contenders beside each other."""
    parts = [
        _growth_table(*name, list(members))
        for name, members in groupby(found, lambda one: (one.scenario, one.track, one.sweep))
    ]
    return Unpadded(Group(*parts))


def _growth_table(
    scenario: str, track: str, sweep: str, members: Sequence[Growth]
) -> RenderableType:
    head = Text(f"{scenario}, {track}: cost grows as {sweep} to the power of", "bold")
    headings = ("exponent", "95% interval", "two largest\nsizes", "up to", "runs", "left out")
    settings = _varying(members)
    rows: list[list[Text | str]] = []
    for metric in dict.fromkeys(one.metric for one in members):
        rows.append([metric_words(metric), *[""] * len(headings)])
        rows += [_growth_cells(one, settings) for one in members if one.metric == metric]
    table = Fitted([Column("", "name"), *map(Column, headings)], rows)
    return Group(Prose(head, 2), table, Text(""))


def _varying(members: Sequence[Growth]) -> list[str]:
    """Settings that a contender's name does not tell apart."""
    return [
        name for name in ("chains", "cores") if len({getattr(one, name) for one in members}) > 1
    ]


def _growth_cells(one: Growth, settings: Sequence[str]) -> list[Text | str]:
    name = ", ".join([one.contender, *(f"{name} {getattr(one, name)}" for name in settings)])
    return [
        Text(f"  {name}"),
        power_words(one.exponent),
        f"{power_words(one.low)} to {power_words(one.high)}",
        power_words(one.last),
        count(one.sizes[-1]),
        count(one.n),
        count(one.left_out) if one.left_out else MISSING,
    ]


def crossover_view(found: Sequence[Crossover]) -> RenderableType:
    """A sentence for each pair on CPU and GPU: from which size on the GPU is quicker, and by how much."""
    return Unpadded(Group(*(Prose(_sentence(one), 2) for one in found)))


def _sentence(one: Crossover) -> str:
    where = f"{one.scenario}, {one.track}, {metric_words(one.metric)}"
    gpu, cpu = f"{one.gpu}{_cores(one, one.gpu_cores)}", f"{one.cpu}{_cores(one, one.cpu_cores)}"
    answer = f"{gpu} against {cpu}: {_answer(one)}."
    several = f" The quicker one changes {one.changes} times." if one.changes > 1 else ""
    return f"{where}: {answer} {_ratios(one)}{several}".rstrip()


def _cores(one: Crossover, cores: int | None) -> str:
    """What a contender's cells had, where the two differ in that too."""
    if one.cpu_cores == one.gpu_cores or cores is None:
        return ""
    return f" ({cores} core{'' if cores == 1 else 's'})"


def _answer(one: Crossover) -> str:
    if one.answer == "never":
        return f"never quicker up to {one.sweep} = {count(one.sizes[-1])}"
    if one.answer == "always":
        return f"quicker from the smallest size on ({one.sweep} = {count(one.sizes[0])})"
    low, high = one.between or (one.sizes[0], one.sizes[-1])
    if one.size is None:
        return f"quicker from somewhere between {one.sweep} = {count(low)} and {count(high)} on"
    size = count(float(f"{one.size:.2g}"))
    return (
        f"quicker from about {one.sweep} = {size} on (measured at {count(low)} and {count(high)})"
    )


def _ratios(one: Crossover) -> str:
    """How much quicker or slower the GPU is at the smallest and at the largest size."""
    ends = [(one.sizes[i], one.ratios[i]) for i in (0, -1)]
    parts = [f"{_times(ratio)} at {count(size)}" for size, ratio in ends if ratio is not None]
    return f"It is {', '.join(parts)}." if parts else ""


def _times(ratio: float) -> str:
    return f"{number(ratio)} times as fast" if ratio >= 1 else f"{number(1 / ratio)} times as slow"
