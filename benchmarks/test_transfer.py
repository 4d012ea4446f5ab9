"""Arrays to a GPU and back, beside which the time of one gradient is to be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from contenders import why_no_gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

BYTES = (2**10, 2**20, 2**28)
ROUNDS = 20


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Any:
    """JAX's GPU."""
    if request.config.getoption("device") == "cpu":
        pytest.skip("--device cpu: nothing is transferred")
    jax = pytest.importorskip("jax")
    if (reason := why_no_gpu()) is not None:
        pytest.skip(reason)
    try:
        return jax.devices("gpu")[0]
    except RuntimeError as absence:
        pytest.skip(f"JAX sees no GPU: {absence}")


@pytest.mark.parametrize("n_bytes", BYTES)
@pytest.mark.parametrize("way", ["to_device", "to_host"])
def test_transfer(benchmark: BenchmarkFixture, device: Any, way: str, n_bytes: int) -> None:
    move, ready = transfer(device, way, n_bytes)
    assert move(ready()) == n_bytes
    benchmark.pedantic(move, setup=lambda: ((ready(),), {}), rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info |= {"bytes": n_bytes, "device": "gpu", "dtype": "float32"}
    if benchmark.stats is not None:  # not run with --benchmark-disable
        benchmark.extra_info["gb_per_s"] = n_bytes / benchmark.stats.stats.median / 1e9


def transfer(device: Any, way: str, n_bytes: int) -> tuple[Callable[[Any], int], Callable[[], Any]]:
    """Make what moves an array, and returns its bytes when it has arrived, and what makes such an array."""
    import jax

    host = np.random.default_rng(0).random(n_bytes // 4, dtype=np.float32)

    def to_device(array: Any) -> int:
        return int(jax.device_put(array, device).block_until_ready().nbytes)

    if way == "to_device":
        return to_device, lambda: host
    there = jax.device_put(host, device)
    # A JAX array keeps the copy that it has once given out; one that is new each time has none yet.
    renew = jax.jit(lambda array: array + 1)
    return lambda array: int(np.asarray(array).nbytes), lambda: renew(there).block_until_ready()
