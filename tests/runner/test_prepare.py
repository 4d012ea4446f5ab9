"""Preparing an engine, and the seconds that belong to it."""

import json

import pytest

from nestor import SamplerConfig
from nestor.backend import Preparable, Timings
from nestor.engines.contender import Contender
from nestor.runner.engine import _added, prepare, sample
from nestor.runner.worker import _timings

pytestmark = pytest.mark.usefixtures("fake_engines")

CONFIG = SamplerConfig(chains=2, warmup=10, draws=20)


@pytest.fixture
def contender(small_problem):
    def contender(text):
        return Contender.parse(text, small_problem.spec.level_names)

    return contender


def test_preparing_compiles_and_draws_nothing(small_problem, contender, tmp_path):
    events = []
    log = tmp_path / "log"
    outcome = prepare(small_problem, contender("prepared"), CONFIG, log, listener=events.append)
    assert (outcome.status, outcome.arrays) == ("ok", None)
    assert [event["phase"] for event in events] == ["import", "compile"]
    assert log.read_text() == "prepared for 20 draws\n"
    timings = outcome.result["timings"]
    assert timings["upload_s"] == 0.0
    assert 0.0 < timings["compile_s"] < timings["total_s"]
    assert timings["warmup_s"] is timings["sampling_s"] is None
    assert "settings" not in outcome.result
    assert outcome.result["versions"] == {"fake": "1"}


def test_an_engine_that_needs_no_preparing_is_compiled(small_problem, contender, tmp_path):
    outcome = prepare(small_problem, contender("exact"), CONFIG, tmp_path / "log")
    assert outcome.status == "ok"
    assert outcome.result["timings"]["compile_s"] > 0.0
    assert outcome.result["timings"]["upload_s"] == 0.0  # a CPU's data stay where they are


def test_an_engine_is_prepared_before_it_samples(small_problem, contender, tmp_path):
    log = tmp_path / "log"
    outcome, tree = sample(small_problem, contender("prepared"), CONFIG, log)
    assert log.read_text() == "prepared for 20 draws\nsampled\n"
    assert outcome.result["device_peak_bytes"] == 123_456
    assert tree.attrs["device_peak_bytes"] == 123_456
    assert json.loads(tree.attrs["timings"])["upload_s"] == 0.0


def test_what_an_engine_does_not_know_of_its_device_is_absent(small_problem, contender, tmp_path):
    outcome, tree = sample(small_problem, contender("exact"), CONFIG, tmp_path / "log")
    assert outcome.result["device_peak_bytes"] is None
    assert "device_peak_bytes" not in tree.attrs


def test_upload_is_no_part_of_compiling():
    """10 s in the backend's compile, 2 of which brought data to the device; 3 more in sample."""
    found = _timings(Timings(upload=2.0, compile=3.0, sampling=1.0), 1.0, 10.0, 15.0)
    assert list(found)[:3] == ["import_s", "upload_s", "compile_s"]
    assert (found["upload_s"], found["compile_s"], found["total_s"]) == (2.0, 11.0, 15.0)
    assert _timings(Timings(), 1.0, 10.0, 15.0)["compile_s"] == 10.0


def test_warmup_and_sampling_are_known_together_where_each_is_or_their_sum():
    def together(**seconds):
        return _timings(Timings(**seconds), 1.0, 10.0, 15.0)["warmup_and_sampling_s"]

    assert together(warmup=1.0, sampling=2.0) == 3.0
    assert together(warmup_and_sampling=4.0) == 4.0
    assert together(sampling=2.0) is together() is None


def test_seconds_known_together_are_added_up_over_looks():
    """The first look cannot tell warmup from sampling, the second has no warmup."""
    first = _timings(Timings(warmup_and_sampling=2.0), 0.0, 0.0, 3.0)
    second = _timings(Timings(warmup=0.0, sampling=1.0), 0.0, 0.0, 1.0)
    found = _added([{"timings": first}, {"timings": second}])
    assert (found["warmup_s"], found["sampling_s"]) == (None, None)
    assert found["warmup_and_sampling_s"] == 3.0


def test_upload_belongs_to_the_first_look():
    looks = [
        {"timings": _timings(Timings(upload=u, sampling=1.0), 0.0, u, 1.0)} for u in (2.0, 0.0)
    ]
    assert _added(looks)["upload_s"] == 2.0
    assert _added(looks)["sampling_s"] == 2.0


def test_the_optional_parts_are_told_by_their_names():
    class Both:
        upload_seconds = 0.0

        def prepare(self, config):
            pass

    assert isinstance(Both(), Preparable)
    assert not isinstance(object(), Preparable)
