"""How numbers, units, phases and names are written: the same in the terminal, the pictures and the report."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nestor.bench.bootstrap import MedianInterval
    from nestor.bench.crossover import Crossover
    from nestor.bench.groups import GroupKey

MISSING: Final = "-"
ELLIPSIS: Final = "…"
#: Compile caches of the two times to a target.
COLD, WARM = "empty caches", "filled caches"

#: Colours of contenders: Okabe and Ito's palette, told apart with every common colour vision;
#: https://jfly.uni-koeln.de/color/. The seventh is black in pictures and grey on the page, which may be dark.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
#: Phases of a run in their order, and their colours: Paul Tol's light scheme, of which no contender has one.
PHASES: Final = {
    "import_s": ("import", "#DDDDDD"),
    "upload_s": ("upload", "#99DDFF"),
    "compile_s": ("compile", "#FFAABB"),
    "warmup_s": ("warmup", "#EEDD88"),
    "sampling_s": ("sampling", "#77AADD"),
    "warmup_and_sampling_s": ("warmup and sampling", "#44BB99"),  # where a sampler knows no more
    "postprocess_s": ("postprocess", "#BBCC33"),
    "transfer_s": ("transfer", "#AAAA00"),
}
#: The phases that a benchmark measures one by one.
BENCH_PHASES: Final = {k: v for k, v in PHASES.items() if k != "warmup_and_sampling_s"}
#: The name of the seconds of a run that belong to no phase.
REST: Final = "not told apart"

#: Columns of a benchmark's table whose names are not their words.
_METRICS = {
    "sampling_s_per_gradient": "sampling per gradient",
    "time_to_ess_s": "time to ESS, cold",
    "time_to_ess_warm_s": "time to ESS, warm",
    "compile_s": "compile",
    "warm_compile_s": "compile, warm",
    "sampling_s": "sampling",
    "ess_per_s_sampling": "ESS/s",
    "ess_per_s": "ESS/s incl. warmup",
    "ess_per_gradient": "ESS per gradient",
    "gradients_per_s": "gradients/s",
    "peak_bytes": "peak memory",
    "device_peak_bytes": "peak memory of the GPU",
}


# --- numbers ---------------------------------------------------------------------------------


def count(value: float) -> str:
    """A whole number with thousands separators."""
    return f"{value:,.0f}"


def number(value: float) -> str:
    """Three significant digits, without an exponent where it reads well."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def size_number(value: float) -> str:
    """A size with thousands separators; a fraction keeps all its digits."""
    return f"{value:,.12g}"


def duration(seconds: float) -> str:
    """Seconds, or minutes and seconds where there are many."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def short_duration(seconds: float) -> str:
    """Seconds in the unit that reads best, down to nanoseconds."""
    for unit, size in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)):
        if seconds < 999.5 * size:
            return f"{number(seconds / size)} {unit}"
    return duration(seconds) if seconds >= 120 else f"{number(seconds)} s"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as ``0:01:30``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def memory(value: float) -> str:
    """Bytes in the unit that reads best; 1 GB is 1e9 bytes."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


def estimate(value: float, error: float) -> str:
    """A number rounded to the leading digit of its Monte Carlo error; to four digits if that is unknown."""
    if not math.isfinite(value):
        return MISSING
    if not (math.isfinite(error) and error > 0):
        return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    decimals = -math.floor(math.log10(error))
    rounded = round(value, decimals) + 0.0  # no minus before a zero
    leading = math.floor(math.log10(abs(rounded))) if rounded else -decimals
    if decimals > 6 or leading >= 9:
        return f"{rounded:.{min(max(leading + decimals, 0), 15)}e}"
    return f"{rounded:,.{max(decimals, 0)}f}"


def exponent(value: float) -> str:
    """A growth exponent with two decimals, and no minus before a zero."""
    return f"{round(value, 2) + 0.0:.2f}"


def counted(n: int, noun: str) -> str:
    """A number of things, with an s where there are several: ``1 run``, ``2 runs``."""
    return f"{count(n)} {noun}{'' if n == 1 else 's'}"


# --- benchmarks ------------------------------------------------------------------------------


def median_text(
    found: MedianInterval, write: Callable[[float], str], *, bound: bool = False
) -> str:
    """A median: ``≤`` marks an upper bound, ``>`` what it is only known to exceed."""
    if found.value is not None:
        return f"{'≤ ' if bound else ''}{write(found.value)}"
    return MISSING if found.at_least is None else f"> {write(found.at_least)}"


def interval_text(
    low: float | None, high: float | None, write: Callable[[float], str], between: str = " to "
) -> str:
    """The ends of an interval that stands beside its median; empty if neither is known.

    A unit that both ends share is left out, since the median has it too.
    """
    if low is None:
        return "" if high is None else f"up to {write(high)}"
    if high is None:
        return f"above {write(low)}"
    ends = (write(low), write(high))
    units = {end.partition(" ")[2] for end in ends}
    if len(units) == 1 and " " not in (unit := units.pop()):
        return between.join(end.removesuffix(f" {unit}") for end in ends)
    return between.join(ends)


def metric_text(name: str) -> str:
    """A column of a benchmark's table in words."""
    return _METRICS.get(name, name.removesuffix("_s").replace("_", " "))


def metric_writer(name: str) -> Callable[[float], str]:
    """How the numbers of a column are written, with their unit."""
    if name.endswith("_bytes"):
        return memory
    return duration if name.endswith("_s") and not name.endswith("per_s") else number


def size_text(sweep: str, value: float | None) -> str:
    """The size of a cell, such as ``rows 1,000``; empty where nothing is swept."""
    return "" if value is None else f"{sweep or 'size'} {size_number(value)}"


def sizes_text(keys: Sequence[GroupKey]) -> str:
    """The sizes of several groups; of more than three the first and the last."""
    found = [size_number(key.sweep_value) for key in keys if key.sweep_value is not None]
    listed = list(dict.fromkeys(found))
    if not listed:
        return ""
    words = f"{listed[0]} to {listed[-1]}" if len(listed) > 3 else ", ".join(listed)
    return f"{keys[0].sweep} {words}"


def cores_text(found: Crossover, cores: int | None) -> str:
    """The cores of one side of a crossover, if the two sides differ in cores."""
    if found.cpu_cores == found.gpu_cores or cores is None:
        return ""
    return f" ({counted(cores, 'core')})"


def status_text(name: str) -> str:
    """A run's status in words."""
    return name.replace("_", " ")


# --- names -----------------------------------------------------------------------------------


def and_list(names: Sequence[str]) -> str:
    """Join names: ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def one_line(text: object) -> str:
    """Join lines and mark characters that cannot be drawn."""
    joined = " ".join(str(text).split())
    drawn = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in joined)
    return drawn or "(empty)"


def columns(text: str) -> int:
    """Width of `text` in columns: East Asian wide characters take two, combining marks none."""
    return sum(_columns(c) for c in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shorten(text: str, width: int) -> str:
    """Cut the middle out of a text wider than `width` columns, since both ends tell nodes apart."""
    if columns(text) <= width:
        return text
    head = _take(text, width // 2)
    tail = _take(reversed(text), width - 1 - width // 2)
    return head + ELLIPSIS + tail[::-1]


def _take(characters: Iterable[str], width: int) -> str:
    taken, used = [], 0
    for character in characters:
        used += _columns(character)
        if used > width:
            break
        taken.append(character)
    return "".join(taken)
