"""What a worker may use: environment, cores, memory."""

import os
import sys

import pytest

from nestor import SamplerConfig, SpecError, Unsupported
from nestor.engines.contender import Contender
from nestor.runner import memory, process
from nestor.runner.engine import sample
from nestor.runner.limits import Limits, thread_environment

pytestmark = pytest.mark.usefixtures("fake_engines")
linux = pytest.mark.skipif(sys.platform != "linux", reason="affinity and /proc are Linux'")

CONFIG = SamplerConfig(chains=2, warmup=10, draws=20)


@pytest.fixture
def run(small_problem, tmp_path):
    def run(engine, limits, **options):
        contender = Contender.parse(engine, small_problem.spec.level_names)
        log = tmp_path / "engine.log"
        return sample(small_problem, contender, CONFIG, log, limits=limits, **options)[0]

    return run


@linux
def test_a_worker_and_its_children_stay_within_their_limits(run):
    cpu = max(os.sched_getaffinity(0))
    outcome = run("settled", Limits({"NESTOR_FAKE_VARIABLE": "set"}, (cpu,)))
    assert outcome.status == "ok"
    assert outcome.result["settings"] == {
        "cpus": [cpu],
        "cpus_of_a_child": f"[{cpu}]",
        "device": "cpu",
        "variable": "set",
        "first_to_go": "1000",  # the most that Linux has
    }


@linux
def test_without_limits_a_worker_may_use_what_its_parent_may(run):
    settings = run("settled", Limits()).result["settings"]
    assert settings["cpus"] == sorted(os.sched_getaffinity(0))
    assert settings["variable"] == "the device's"


@linux
def test_what_the_user_has_set_counts_more_than_what_a_device_asks_for(run, monkeypatch):
    monkeypatch.setenv("NESTOR_FAKE_VARIABLE", "the user's")
    assert run("settled", Limits()).result["settings"]["variable"] == "the user's"
    limits = Limits({"NESTOR_FAKE_VARIABLE": "the limits'"})
    assert run("settled", limits).result["settings"]["variable"] == "the limits'"


@linux
def test_cores_that_cannot_be_had_are_refused(run):
    beyond = max(os.sched_getaffinity(0)) + 1000
    with pytest.raises(Unsupported, match=rf"may not use the cores \[{beyond}\]"):
        run("settled", Limits(cpus=(0, beyond)))


def test_a_process_tree_that_grows_too_large_is_ended(run):
    """Its child alone holds 150 MB; Python with NumPy needs less than 100."""
    outcome = run("hungry", Limits(memory_bytes=200_000_000), timeout=120.0)
    assert outcome.status == "out_of_memory"
    assert outcome.peak_bytes > 200_000_000
    assert outcome.message.startswith("stopped at 2")
    assert " MB: its limit is 200 MB. Its log: " in outcome.message


def test_a_limit_that_is_not_reached_changes_nothing(run):
    assert run("exact", Limits(memory_bytes=8_000_000_000)).status == "ok"


def test_an_allocation_that_fails_is_out_of_memory(run):
    outcome = run("refused", Limits())
    assert outcome.status == "out_of_memory"
    assert outcome.message.startswith("out of memory: Unable to allocate")


@pytest.mark.parametrize(
    ("code", "peak", "status"),
    [
        (-9, 5_000_000_001, "out_of_memory"),
        (-9, 5_000_000_000, "failed"),
        (-11, 9_000_000_000, "failed"),
        (1, 9_000_000_000, "failed"),
    ],
)
def test_only_a_kill_at_more_than_half_of_the_memory_is_the_systems(
    code, peak, status, monkeypatch
):
    monkeypatch.setattr(process, "machine_bytes", lambda: 10_000_000_000)
    found, message = process.death(code, 3.0, peak)
    assert found == status
    assert ("probably out of memory" in message) == (status == "out_of_memory")


@pytest.mark.parametrize(
    ("limit", "found"), [("4096\n", 4096), ("max\n", 10_000), ("99999\n", 10_000), (None, 10_000)]
)
def test_a_containers_limit_counts_where_it_is_less(limit, found, tmp_path, monkeypatch):
    path = tmp_path / "memory.max"
    if limit is not None:
        path.write_text(limit)
    monkeypatch.setattr(memory, "_CONTAINER_LIMITS", (str(path),))
    monkeypatch.setattr(
        memory.psutil, "virtual_memory", lambda: type("Memory", (), {"total": 10_000})
    )
    assert memory.machine_bytes() == found


@pytest.mark.parametrize(
    "wrong", [{"cpus": ()}, {"cpus": (1, 1)}, {"cpus": (-1,)}, {"memory_bytes": 0}]
)
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(SpecError, match=next(iter(wrong))):
        Limits(**wrong)


def test_every_library_gets_as_many_threads():
    found = thread_environment(3)
    assert set(found.values()) == {"3"}
    assert {"OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC"} <= set(found)
    with pytest.raises(SpecError, match="at least 1, not 0"):
        thread_environment(0)
