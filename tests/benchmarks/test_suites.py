"""The pytest-benchmark suites: who is timed, what is skipped and why, and what a record says.

They are run as a user runs them, in a process of their own, on engines that take no time; no time is judged.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nestor.engines import registry

ROOT = Path(__file__).parents[2]
ENGINES = ROOT / "tests" / "fixtures" / "engines"
QUICK = ("--benchmark-min-rounds=1", "--benchmark-max-time=0.001", "-p", "no:cacheprovider")


def run(*arguments, engines=None):
    """Run Python in the repository's root; JAX sees no GPU, whatever the machine has."""
    # Where pytest-benchmark sees a worker of the tests' own pytest, it does not time anything.
    environment = {name: v for name, v in os.environ.items() if not name.startswith("PYTEST_")}
    path = os.pathsep.join(filter(None, [str(engines or ""), os.environ.get("PYTHONPATH", "")]))
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def run_suite(suite, only, *arguments, **options):
    return run(
        "-m", "pytest", f"benchmarks/{suite}.py", "-k", only, "-rs", *QUICK, *arguments, **options
    )


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Two records of the same benchmarks, and what was printed when the second was set against the first."""
    folder = tmp_path_factory.mktemp("records")
    paths = [folder / "one.json", folder / "two.json"]
    only = "test_log_density and small and reference"
    storage = f"--benchmark-storage={folder}"
    for path, extra in zip(paths, ("--benchmark-autosave", "--benchmark-compare"), strict=True):
        done = run_suite(
            "test_density", only, "--device=cpu", f"--benchmark-json={path}", storage, extra
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return *paths, done.stdout + done.stderr


def test_a_record_says_who_was_timed_on_what(records):
    found = json.loads(records[0].read_text())["benchmarks"]
    described = {b["extra_info"]["contender"]: b["extra_info"] for b in found}
    # The reference has every formulation, and neither single precision nor a GPU.
    assert set(described) == {
        "reference@centered",
        "reference@noncentered",
        "reference@centered,statistics",
        "reference@noncentered,statistics",
        "reference@marginalized",
    }
    one = described["reference@centered"]
    assert (one["engine"], one["formulation"]) == ("reference", "centered")
    assert (one["dtype"], one["device"]) == ("float64", "cpu")
    # The small problem: 10 regions of 20 places, two effects; scalars are the nodes' and the population's
    # coefficients, two scales on each level, and sigma.
    assert (one["rows"], one["leaves"]) == (2_000, 200)
    assert one["scalars"] == 2 * (200 + 10 + 1) + 4 + 1
    assert one["ns_per_row"] > 0.0


def test_a_record_says_where_and_names_no_machine(records):
    record = json.loads(records[0].read_text())
    place = record["machine_info"]
    assert place["cores_usable"] == len(os.sched_getaffinity(0))
    assert {"nestor", "numpy", "scipy"} <= set(place["libraries"])
    assert "gpu" in place
    assert "node" not in place
    assert len(record["load_at_start"]) == 3


def test_a_record_is_compared_with_an_earlier_one_of_the_place(records):
    *_, printed = records
    assert "log_density[reference@centered-small] (0001_" in " ".join(printed.split())
    # The plug-in warns where machines differ: nothing that changes by itself may be among its facts.
    assert "machine_info is different" not in printed


def test_records_are_compared_by_the_plugins_own_command(records):
    paths = records[:2]
    done = run("-m", "pytest_benchmark", "compare", *paths, "--columns=median", "--name=short")
    assert done.returncode == 0, done.stderr
    for which in ("one", "two"):
        assert f"log_density[reference@centered-small] ({which})" in " ".join(done.stdout.split())


def test_without_a_gpu_its_benchmarks_are_skipped_with_the_backends_reason():
    done = run_suite("test_density", "test_log_density and small", "--device=gpu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" in done.stdout.splitlines()[-1]
    assert "passed" not in done.stdout.splitlines()[-1]
    assert "never: the oracle is plain NumPy" in done.stdout
    if registry.backends()["numpyro"].installed:
        assert "no GPU is visible to JAX" in done.stdout


def test_without_a_gpu_auto_is_the_cpu():
    done = run_suite("test_density", "test_log_density", "--device=auto", "--collect-only", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    tests = [line for line in done.stdout.splitlines() if "::" in line]
    assert any("reference@centered,float32" in line for line in tests)
    assert not any(",gpu" in line for line in tests)


def test_a_gradient_is_timed_in_the_precision_that_is_asked_for(tmp_path):
    pytest.importorskip("jax")
    pytest.importorskip("numpyro")
    record = tmp_path / "record.json"
    only = "test_value_and_gradient and small and numpyro and noncentered and float32 and not statistics"
    done = run_suite("test_density", only, "--device=cpu", f"--benchmark-json={record}")
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(record.read_text())["benchmarks"]
    info = found["extra_info"]
    assert info["contender"] == "numpyro:nuts@noncentered,float32,sequential"
    assert (info["dtype"], info["device"]) == ("float32", "cpu")
    # Every random scalar is one unconstrained number.
    assert info["dimension"] == info["scalars"]


def test_a_new_backend_is_timed_without_a_change(tmp_path):
    record = tmp_path / "record.json"
    only = "exact:iid and noncentered and not float32 and not statistics"
    done = run_suite(
        "test_short_sampling",
        only,
        "--device=cpu",
        f"--benchmark-json={record}",
        engines=ENGINES,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(record.read_text())["benchmarks"]
    info = found["extra_info"]
    assert info["contender"] == "exact:iid@noncentered,sequential"
    assert (info["chains"], info["warmup"], info["draws"]) == (2, 200, 200)
    # 400 independent draws: the worst of 427 bulk and tail sizes is smaller, and far above zero.
    assert 100 < info["ess_min"] < 400
    # Medians over three runs. In each the worst ESS lies between those bounds, so its rate between
    # 100 / s and 400 / s; a median keeps that order, whatever the seconds were.
    assert 100 < info["ess_per_s_sampling"] * info["sampling_s"] < 400
    # It has no gradient, although it reports steps.
    assert "gradients_per_s" not in info


def test_a_wrong_density_is_not_timed():
    done = run_suite(
        "test_density",
        "test_log_density and small and variance and noncentered and not float32",
        "--device=cpu",
        engines=ENGINES,
    )
    assert done.returncode == 1
    assert "1 failed" in done.stdout
