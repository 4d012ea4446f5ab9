"""What the pictures of benchmarks share: names of groups, words on bars, legends and plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from nestor.views.format import size_number, size_text, status_text
from nestor.views.plots.canvas import INK, MUTED, PANEL, Pen, number_axis
from nestor.views.plots.text import label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nestor.bench.bootstrap import MedianInterval
    from nestor.bench.groups import GroupSummary

_MANY_DECADES = 2.5
_LEAST_LABELS = 2


@dataclass(frozen=True)
class TrackTable:
    """One track of one scenario, as its pictures take it.

    Parameters
    ----------
    scenario, track : str
        Which.
    members : tuple of GroupSummary
        Its groups, in increasing size.
    looks : mapping of str to Pen
        Each contender's pen, the same in all pictures of a table.
    """

    scenario: str
    track: str
    members: tuple[GroupSummary, ...]
    looks: Mapping[str, Pen]

    @property
    def at_largest(self) -> tuple[GroupSummary, ...]:
        """The groups of the largest size at which any run is ok; of the largest if none is."""
        sizes = [one.key.sweep_value for one in self.members if one.n_ok]
        sizes = sizes or [one.key.sweep_value for one in self.members]
        return tuple(one for one in self.members if one.key.sweep_value == sizes[-1])

    @property
    def varying(self) -> tuple[str, ...]:
        """Settings besides the sweep that a contender has several of."""
        return tuple(
            name
            for name in ("chains", "cores")
            if len({getattr(o.key, name) for o in self.members if o.key.sweep != name}) > 1
        )

    def name(self, one: GroupSummary) -> str:
        """The contender, with settings that it has several of."""
        extra = [f"{name} {getattr(one.key, name)}" for name in self.varying]
        return ", ".join([one.key.contender, *extra])

    def lines(self, shown: Sequence[GroupSummary], *words: str) -> list[str]:
        """Lines below the title: which scenario, track and size, and what else is to be known."""
        sizes = dict.fromkeys(size_text(one.key.sweep, one.key.sweep_value) for one in shown)
        place = ", ".join(filter(None, (self.scenario, f"track {self.track}", *sizes)))
        return [place, *words]


def shows_speed(one: GroupSummary) -> bool:
    """A fast wrong answer has no speed."""
    return one.verdict != "DISAGREE" and not one.skipped


def why_nothing(one: GroupSummary) -> str:
    """Say why a group has no figure."""
    if one.verdict == "DISAGREE":
        return f"disagrees with {one.against or 'the others'}: no speed"
    words = ", ".join(f"{n} {status_text(status)}" for status, n in one.statuses.items())
    message = next((note.message for note in one.notes if note.message), "")
    return f"{words}: {message}" if message else words


def name_rows(axis: Any, table: TrackTable, shown: Sequence[GroupSummary]) -> None:
    """Write the groups' names beside their bars, each in its contender's colour."""
    axis.set_yticks(range(len(shown)), [label(table.name(one), 46) for one in shown], size=PANEL)
    for text, one in zip(axis.get_yticklabels(), shown, strict=True):
        text.set(color=table.looks[one.key.contender].colour, weight="bold")
    axis.set_ylim(len(shown) - 0.45, -0.55)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x")


def write_beside(axis: Any, y: float, at: float, text: str) -> None:
    """Write a value at the end of its bar."""
    axis.annotate(
        text, (at, y), (4, 0), textcoords="offset points", va="center", size=PANEL - 0.5, color=INK
    )


def write_note(axis: Any, y: float, text: str) -> None:
    """Write what stands in place of a bar."""
    axis.text(
        0.012,
        y,
        label(text, 70),
        transform=axis.get_yaxis_transform(),
        va="center",
        color=MUTED,
        style="italic",
        size=PANEL - 0.5,
    )


def bar_axis(axis: Any, values: Sequence[float], *, room: float) -> None:
    """Let bars start at zero, with `room` for what is written beside them.

    Never logarithmic, however far the values lie apart: where an axis has no zero, the length of a bar means
    nothing.
    """
    longest = max(values, default=0.0)
    axis.set_xlim(0, (1 + room) * (longest or 1.0))
    number_axis(axis.xaxis, 5)


def plain_log(axis: Any, decades: float) -> None:
    """Write plain numbers on a logarithmic axis, between powers of ten too where there are few of them."""
    subs = (1.0,) if decades > _MANY_DECADES else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=6 if len(subs) == 1 else 10))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: size_number(value) if value >= 1 else f"{value:.6g}")
    )
    axis.set_minor_formatter(NullFormatter())


def label_sizes(axis: Any, sizes: Sequence[float]) -> None:
    """Write the measured sizes themselves on a logarithmic axis that has fewer than two labels otherwise."""
    low, high = sorted(axis.get_view_interval())
    if sizes and sum(low <= tick <= high for tick in axis.get_majorticklocs()) < _LEAST_LABELS:
        axis.set_major_locator(FixedLocator(sorted(set(sizes))))
        axis.set_minor_locator(NullLocator())


def legend_below(axis: Any, handles: Sequence[Any], ncols: int = 7) -> None:
    """Put a legend half an inch below a panel, whatever the panel's height."""
    below = ScaledTranslation(0, -0.5, axis.figure.dpi_scale_trans)
    axis.legend(
        handles=list(handles),
        loc="upper left",
        bbox_to_anchor=(0.0, 0.0),
        bbox_transform=axis.transAxes + below,
        ncols=max(1, min(ncols, len(handles))),
        columnspacing=1.2,
        handlelength=1.6,
        borderaxespad=0,
        fontsize=PANEL - 0.5,
    )


def error_bar(found: MedianInterval, value: float) -> list[list[float]] | None:
    """Distances to the ends of an interval, for matplotlib; an end that is open is not drawn."""
    if found.low is None and found.high is None:
        return None
    low = value if found.low is None else found.low
    high = value if found.high is None else found.high
    return [[max(0.0, value - low)], [max(0.0, high - value)]]
