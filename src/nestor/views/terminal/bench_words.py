"""Figures of benchmarks in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.bench.bootstrap import LEAST_RUNS
from nestor.views.terminal.words import MISSING, count, duration, number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nestor.bench.bootstrap import MedianInterval, Ratio
    from nestor.bench.groups import GroupKey

_REASON = 200  # characters of a reason
#: Columns in words.
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


def metric_words(name: str) -> str:
    """A column in words."""
    return _METRICS.get(name, name.removesuffix("_s").replace("_", " "))


def metric_form(metric: str) -> Callable[[float], str]:
    """How numbers of a column are written, with their unit."""
    if metric.endswith("_bytes"):
        return lambda value: f"{count(value / 1e6)} MB"
    return duration if metric.endswith("_s") and not metric.endswith("per_s") else number


def size_words(key: GroupKey) -> str:
    """The size in words; empty where nothing is swept."""
    return "" if key.sweep_value is None else f"{key.sweep} {size_number(key)}"


def sweep_words(keys: Sequence[GroupKey]) -> str:
    """The sizes of several groups in words; of more than three the first and the last."""
    sizes = list(dict.fromkeys(size_number(key) for key in keys if key.sweep_value is not None))
    if not sizes:
        return ""
    listed = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 3 else ", ".join(sizes)
    return f"{keys[0].sweep} {listed}"


def size_number(key: GroupKey) -> str:
    """The size as a number."""
    return MISSING if key.sweep_value is None else f"{key.sweep_value:,.12g}"


def value_words(found: MedianInterval, form: Callable[[float], str]) -> str:
    """A median without its interval."""
    return MISSING if found.value is None else form(found.value)


def time_words(found: MedianInterval, *, bound: bool = False) -> str:
    """A time on one line and its interval on the next; ``>`` is censored, ``≤`` an upper bound."""
    if not found.n:
        return MISSING
    if found.value is None:
        return "not reached" if found.at_least is None else f"> {duration(found.at_least)}"
    value = f"{'≤ ' if bound else ''}{duration(found.value)}"
    interval = interval_words(found.low, found.high, duration)
    return f"{value}\n({interval})" if interval else value


def interval_words(low: float | None, high: float | None, form: Callable[[float], str]) -> str:
    """The ends of an interval, without a unit where both are in seconds; empty where neither is known."""
    if low is None:
        return "" if high is None else f"up to {form(high)}"
    if high is None:
        return f"from {form(low)}"
    ends = (form(low), form(high))
    plain = all(" min " not in end for end in ends)
    return " to ".join(end.removesuffix(" s") if plain else end for end in ends)


def reason_words(reasons: Sequence[str]) -> str:
    """The first of several reasons, on one line and cut where it is long, and how many more there are."""
    told = list(dict.fromkeys(" ".join(reason.split()) for reason in reasons))
    told = [reason for reason in told if reason]
    if not told:
        return ""
    first, more = told[0], len(told) - 1
    if len(first) > _REASON:
        first = f"{first[: _REASON - 1].rstrip()}…"
    return f"{first}; and {count(more)} more" if more else first


def power_words(exponent: float) -> str:
    """An exponent with two decimals, and no minus before a zero."""
    return f"{round(exponent, 2) + 0.0:.2f}"


def ratio_words(found: Ratio) -> str:
    """A ratio and its interval on one line."""
    if found.value is None:
        if found.at_least is not None:
            return f"> {number(found.at_least)}"
        return MISSING if found.at_most is None else f"< {number(found.at_most)}"
    interval = interval_words(found.low, found.high, number)
    if not interval and found.n < LEAST_RUNS:
        return f"{number(found.value)} (no interval: {found.n} run{'' if found.n == 1 else 's'})"
    if not interval:
        return f"{number(found.value)} (interval open: censored runs)"
    return f"{number(found.value)} ({interval})"
