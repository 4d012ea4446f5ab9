"""Where the suites run, which contenders they time, and what every record says about the place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, get_args

import contenders
import pytest
from trees import SIZES

from nestor.backend import Device
from nestor.engines import registry
from nestor.errors import SpecError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestor.engines.contender import Contender

DEVICES: tuple[Device, ...] = get_args(Device)
LOAD = pytest.StashKey[tuple[float, float, float]]()
LIBRARIES = ("nestor", "numpy", "pandas", "arviz-stats")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that say where engines are timed, and how many rows are read from files."""
    parser.addoption(
        "--device",
        choices=(*DEVICES, "auto"),
        default="auto",
        help="where engines are timed: cpu, gpu, or auto (both, if a backend sees a GPU). "
        "What cannot run there is skipped with the backend's reason.",
    )
    parser.addoption(
        "--rows",
        type=float,
        default=1e7,
        help="rows of the largest Parquet file that is made and read: 1e7, or 1e8 (3 GB of disk, a minute).",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Look at the load before anything runs."""
    config.stash[LOAD] = os.getloadavg()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test for every contender, if it asks for one by the name of its argument."""
    makers = {
        "sampler": contenders.names,
        "density": lambda devices: contenders.names(devices, samplers=False),
        "single": lambda devices: contenders.names(devices, dtypes=("float32",)),
        "vectorized": contenders.vectorized,
    }
    for argument, make in makers.items():
        if argument in metafunc.fixturenames:
            found = make(_devices(metafunc.config.getoption("device")))
            metafunc.parametrize(argument, found, indirect=True)
    if "size" in metafunc.fixturenames:
        metafunc.parametrize("size", SIZES)


def _devices(asked: str) -> Sequence[Device]:
    if asked != "auto":
        return tuple(device for device in DEVICES if device == asked)
    return tuple(d for d in DEVICES if d != "gpu" or contenders.why_no_gpu() is None)


def _contender(request: pytest.FixtureRequest, *, density_only: bool = False) -> Contender:
    try:
        return contenders.parse(request.param, density_only=density_only)
    except Unsupported as refusal:
        pytest.skip(str(refusal))
    except SpecError as absence:
        # The names are our own, so the only thing wrong with one is that its backend is not installed.
        if not registry.backends()[request.param.partition("@")[0].partition(":")[0]].missing:
            raise
        pytest.skip(str(absence))


@pytest.fixture
def sampler(request: pytest.FixtureRequest) -> Contender:
    """An engine with its sampler, formulation, precision and device."""
    return _contender(request)


@pytest.fixture
def density(request: pytest.FixtureRequest) -> Contender:
    """A backend's density, which no sampler changes, with formulation, precision and device."""
    return _contender(request, density_only=True)


@pytest.fixture
def single(request: pytest.FixtureRequest) -> Contender:
    """An engine in single precision."""
    return _contender(request)


@pytest.fixture
def vectorized(request: pytest.FixtureRequest) -> Contender:
    """An engine that runs all chains in one program."""
    return _contender(request)


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Leave out the host's name and what is long or never the same; add cores, GPU and versions.

    pytest-benchmark warns where two records differ in any of it, so that the load is kept elsewhere.
    """
    for name in ("node", "release", "python_build"):
        machine_info.pop(name, None)
    for name in ("flags", "hz_actual", "hz_actual_friendly"):
        machine_info["cpu"].pop(name, None)
    machine_info["cores_usable"] = len(os.sched_getaffinity(0))
    machine_info["gpu"] = _gpu()
    machine_info["libraries"] = _versions()


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Add the load before anything ran; the rest of the record is made after the last test."""
    output_json["load_at_start"] = config.stash[LOAD]


def _versions() -> dict[str, str]:
    found = {name: version(name) for name in LIBRARIES}
    for entry in registry.backends().values():
        if entry.installed:
            found |= entry.backend.versions()
    return found


def _gpu() -> str | None:
    """Name the GPU, as JAX does where it runs already, or else the driver."""
    if "jax" in sys.modules:
        import jax

        try:
            return str(jax.devices("gpu")[0].device_kind)
        except RuntimeError:
            return None
    if (tool := shutil.which("nvidia-smi")) is None:
        return None
    command = [tool, "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout else None
