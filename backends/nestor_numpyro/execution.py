"""Where and in which precision a model runs, without touching the process's own JAX settings."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nestor.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nestor.engines.protocol import Device, DType


@dataclass(frozen=True)
class Execution:
    """A device and a precision.

    Parameters
    ----------
    kind : {"cpu", "gpu"}
        What was asked for.
    dtype : {"float64", "float32"}
        Precision of everything that is computed.
    device : jax.Device
        The device.
    """

    kind: Device
    dtype: DType
    device: Any

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Make JAX use this device and precision inside the block, in the calling thread only.

        Both are global switches of JAX; as context managers they are local to a thread, so every thread
        that calls JAX needs a scope of its own, and the user's own settings stay as they are.
        """
        import jax

        with jax.enable_x64(self.dtype == "float64"), jax.default_device(self.device):
            yield

    def peak_bytes(self) -> int | None:
        """Largest memory in use on the device so far; None where it does not say (a CPU does not)."""
        stats = self.device.memory_stats() or {}
        peak = stats.get("peak_bytes_in_use")
        return None if peak is None else int(peak)


@contextmanager
def failing_allocations() -> Iterator[None]:
    """Turn JAX's word for an allocation that fails, on a device or the host, into Python's.

    Raises
    ------
    MemoryError
        In its execution.
    """
    import jax

    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise MemoryError(str(error)) from error
        raise


def find_execution(kind: Device, dtype: DType) -> Execution:
    """Look up a device.

    Raises
    ------
    Unsupported
        If JAX sees no such device, or the precision is unknown.
    """
    if dtype not in ("float64", "float32"):
        raise Unsupported(f"numpyro computes in float64 or float32, not {dtype!r}.")
    if kind not in ("cpu", "gpu"):
        raise Unsupported(f"numpyro runs on cpu or gpu, not {kind!r}.")
    # JAX would otherwise take three quarters of a GPU's memory at once, which falsifies peak memory and
    # starves whatever shares the GPU. Read when the first device is asked for; later it has no effect.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    try:
        device = jax.devices(kind)[0]
    except RuntimeError as error:
        raise Unsupported(_absent(kind, str(error))) from None
    return Execution(kind, dtype, device)


def _absent(kind: Device, detail: str) -> str:
    if kind == "gpu":
        return (
            "no GPU is visible to JAX: check the driver and install a JAX with CUDA "
            f"(pip install 'jax[cuda12]'), or use the cpu. JAX said: {detail}"
        )
    return f"JAX shows no CPU device; is JAX_PLATFORMS set without cpu? JAX said: {detail}"
