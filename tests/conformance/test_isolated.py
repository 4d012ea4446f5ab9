"""Engines that die or hang cost their checks, not the report."""

from __future__ import annotations

import pytest

from nestor.conformance import run_conformance, run_isolated
from nestor.errors import SpecError

pytestmark = pytest.mark.usefixtures("fake_engines")


def test_it_finds_what_the_kit_finds_in_this_process():
    heard = []
    here = run_conformance("exact", tiers=("api",))
    there = run_isolated("exact", tiers=("api",), listener=heard.append)
    assert [(r.id, r.outcome) for r in there.results] == [(r.id, r.outcome) for r in here.results]
    assert [e.result for e in heard if e.result is not None] == list(there.results)
    assert [e.number for e in heard] == sorted(e.number for e in heard)


def test_a_killed_process_is_an_error_of_the_check_that_ran_and_the_rest_goes_on():
    report = run_isolated("killed", tiers=("api",), only="seed")
    assert [r.outcome for r in report.results] == ["error", "error"]
    assert all("killed by signal 9" in r.reason for r in report.results)


def test_a_process_that_ends_as_if_all_were_well_has_not_run_its_checks():
    report = run_isolated("quits", tiers=("api",), only="seed")
    assert [r.outcome for r in report.results] == ["error", "error"]
    assert all("ended with exit code 0" in r.reason for r in report.results)


def test_a_hang_ends_with_the_tiers_time():
    report = run_isolated("hang", tiers=("api",), only="seed", timeout=8.0)
    assert [r.outcome for r in report.results] == ["out of time", "out of time"]
    assert (report.ok, report.bad, report.n_run) == (False, (), 0)
    assert report.results[0].reason == "the tier's 8 s are over"
    assert report.results[1].reason == "not run: the tier's 8 s are over"


def test_what_dies_may_be_an_expected_failure():
    names = ["the_same_seed_gives_the_same_draws", "another_seed_gives_other_draws"]
    expected = {f"api.{name}[iid]": "it dies" for name in names}
    report = run_isolated("killed", tiers=("api",), only="seed", expected_failures=expected)
    assert report.counts() == {"expected failure": 2}
    assert report.ok


def test_what_an_engine_prints_is_no_result():
    report = run_isolated("noisy", tiers=("api",), only="prints")
    (row,) = report.results
    assert row.outcome == "failed"
    assert "rubbish" in row.reason


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
def test_a_timeout_must_be_positive(timeout):
    with pytest.raises(SpecError, match="greater than 0"):
        run_isolated("exact", timeout=timeout)
