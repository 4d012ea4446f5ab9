"""Single against double precision, both sides in turns: what float32 gains on each device."""

from __future__ import annotations

import statistics
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

import pytest
from contenders import described, parse, sampled_density

from nestor.agreement.density import TOLERANCE
from nestor.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

    from nestor.engines.contender import Contender

ROUNDS, CALLS = 7, 10


def seconds(call: Callable[[], object]) -> float:
    begin = perf_counter()
    for _ in range(CALLS):
        call()
    return (perf_counter() - begin) / CALLS


def test_single_against_double(benchmark: BenchmarkFixture, size: str, single: Contender) -> None:
    """Value and gradient; `times_faster` is the median of double over single, round by round."""
    try:
        double = parse(replace(single, dtype="float64").name)
        pair = [sampled_density(side, size) for side in (double, single)]
    except Unsupported as refusal:
        pytest.skip(str(refusal))
    start = pair[0].start
    calls = [lambda side=side: side.value_and_gradient(start) for side in pair]
    values = [call()[0] for call in calls]
    assert values[1] == pytest.approx(values[0], rel=TOLERANCE["float32"])
    rounds: list[tuple[float, float]] = []
    benchmark.pedantic(lambda: rounds.append((seconds(calls[0]), seconds(calls[1]))), rounds=ROUNDS)
    benchmark.extra_info |= described(single, size) | {
        "us_float64": 1e6 * statistics.median(a for a, _ in rounds),
        "us_float32": 1e6 * statistics.median(b for _, b in rounds),
        "times_faster": statistics.median(a / b for a, b in rounds),
    }
