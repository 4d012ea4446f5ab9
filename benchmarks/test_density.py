"""One evaluation of a log density, and of what a sampler evaluates with its gradient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from contenders import built, described, sampled_density
from trees import make_problem

from nestor.agreement.density import TOLERANCE, density_points
from nestor.agreement.oracle import Oracle
from nestor.errors import Unsupported

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from nestor.backend import TargetDensity
    from nestor.engines.contender import Contender
    from nestor.engines.formulation import Formulation

#: Of a central difference: rounding of a value of 1e6 is 1e-10, of a slope of 1e3 or more then 1e-8 relative.
STEP = 1e-5

#: Rounds of a millisecond, so that a record with all of them stays small.
pytestmark = pytest.mark.benchmark(min_time=0.001, max_time=0.3, min_rounds=5)


def per_row(benchmark: BenchmarkFixture, rows: int) -> dict[str, float]:
    """Nanoseconds for each row of the data; nothing where nothing was timed."""
    if benchmark.stats is None:  # run with --benchmark-disable
        return {}
    return {"ns_per_row": 1e9 * float(benchmark.stats.stats.median) / rows}


def reference_value(size: str, formulation: Formulation, point: dict[str, Any]) -> float:
    """The reference's joint density, or that of the scales where coefficients are marginalized."""
    return Oracle(make_problem(size), n=1).model(formulation).log_density(point)


def test_log_density(benchmark: BenchmarkFixture, size: str, density: Contender) -> None:
    """The density of the canonical variables, a point from the host and a number back."""
    problem = make_problem(size)
    # The second kind of point, near the pooled fit: there float32 has not lost the residuals.
    point = density_points(problem, 2, seed=1)[1]
    model = built(density, size)
    value = model.log_density(point)
    expected = reference_value(size, density.formulation, point)
    assert value == pytest.approx(expected, rel=TOLERANCE[density.dtype])
    benchmark(model.log_density, point)
    benchmark.extra_info |= described(density, size) | per_row(benchmark, problem.n_rows)


def test_value_and_gradient(benchmark: BenchmarkFixture, size: str, sampler: Contender) -> None:
    """What the sampler pays for one step of a trajectory, without the sampler."""
    try:
        sampled = sampled_density(sampler, size)
    except Unsupported as refusal:
        pytest.skip(str(refusal))
    check_gradient(sampled, exact=sampler.dtype == "float64")
    benchmark(sampled.value_and_gradient, sampled.start)
    rows = make_problem(size).n_rows
    benchmark.extra_info |= described(sampler, size) | per_row(benchmark, rows)
    benchmark.extra_info["dimension"] = sampled.dimension


def check_gradient(sampled: TargetDensity, *, exact: bool) -> None:
    """Refuse to time a gradient that is not one: it is the slope in its own direction."""
    value, gradient = sampled.value_and_gradient(sampled.start)
    assert math.isfinite(value)
    assert gradient.shape == (sampled.dimension,)
    assert np.isfinite(gradient).all()
    if not exact:  # differences of float32 values have no digits left; test_precision compares them
        return
    length = float(np.linalg.norm(gradient))
    step = STEP * gradient / length
    ends = [sampled.value_and_gradient(sampled.start + sign * step)[0] for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * STEP) == pytest.approx(length, rel=1e-4)
