"""The environment of a measurement: hardware, libraries, commit; nothing that identifies the machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil

from nestor.engines.support import usable_cores

_LIBRARIES = ("nestor", "numpy", "scipy", "pandas", "xarray", "arviz-stats")
_GIT_SECONDS = 10.0
#: A benchmark by itself leaves a load of at most one for each core that its last run used: 0.9 to 2.3 before
#: each of the 50 committed runs on two cores. What is more than this beyond the machine's cores is others'.
OTHERS_LOAD: Final = 0.5


@cache
def environment() -> dict[str, Any]:
    """Return hardware, libraries and commit, without the load and the engines' own libraries.

    Returns
    -------
    dict
        system, python, cpu, machine_cores, machine_bytes, gpu and gpu_driver (None without one),
        libraries, commit (None if unknown).
    """
    gpu, driver = _gpu()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cpu": _cpu(),
        "machine_cores": len(usable_cores()),
        "machine_bytes": int(psutil.virtual_memory().total),
        "gpu": gpu,
        "gpu_driver": driver,
        "libraries": _libraries(),
        "commit": _commit(),
    }


def place_of(environment: dict[str, Any]) -> str:
    """Return a short hash of a machine, nestor's libraries and commit: equal for cells of one place."""
    text = json.dumps(environment, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_average() -> float | None:
    """Return the machine's load over the last minute; None where the system does not say."""
    with contextlib.suppress(OSError, AttributeError):
        return round(os.getloadavg()[0], 2)
    return None


def is_loaded(load: float | None, cores: int | None) -> bool:
    """Whether a load average shows that other processes competed for the cores."""
    return load is not None and cores is not None and load > cores + OTHERS_LOAD


def _libraries() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _cpu() -> str:
    """Return the processor's name; on Linux from the kernel, elsewhere what Python knows."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu() -> tuple[str | None, str | None]:
    """Name and driver of the first GPU that NVIDIA's own tool lists."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None, None
    text = _output([tool, "--query-gpu=name,driver_version", "--format=csv,noheader"])
    name, _, driver = (text.splitlines() or [""])[0].partition(",")
    return name.strip() or None, driver.strip() or None


def _commit() -> str | None:
    """Return the commit of nestor's own checkout, with ``-dirty`` if tracked files were changed."""
    root = Path(__file__).resolve().parents[3]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    commit = _output([git, "-C", str(root), "rev-parse", "HEAD"]).strip()
    if not commit:
        return None
    code = ["src", "backends", "pyproject.toml", "constraints.txt"]
    changed = _output([git, "-C", str(root), "status", "--porcelain", "-uno", "--", *code])
    return f"{commit}-dirty" if changed.strip() else commit


def _output(command: list[str]) -> str:
    """Return what a command prints; nothing if it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_GIT_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""
