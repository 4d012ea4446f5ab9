"""What every benchmark record says about the place, and nothing that identifies the machine."""

import os
from importlib.metadata import version

LIBRARIES = ("nestor", "numpy", "pandas", "pymc", "nutpie", "numpyro", "jax", "arviz-stats")


def pytest_benchmark_update_machine_info(machine_info):
    """Leave out the host's name; add usable cores, load at the start and library versions."""
    for name in ("node", "release", "python_build"):
        machine_info.pop(name, None)
    machine_info["cores_usable"] = len(os.sched_getaffinity(0))
    machine_info["load_at_start"] = os.getloadavg()
    machine_info["libraries"] = {name: version(name) for name in LIBRARIES}
