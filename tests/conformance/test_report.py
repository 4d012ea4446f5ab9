"""The report as data; expected failures are strict; bad input is a SpecError."""

from __future__ import annotations

import json

import pytest
from broken import IgnoresTheSeed, backend

from nestor.conformance import run_conformance
from nestor.errors import SpecError

SEEDS = "api.another_seed_gives_other_draws[metropolis]"


def seeds_only(engine, **options):
    return run_conformance(engine, only="seed", **options)


def test_an_expected_failure_is_no_failure():
    report = seeds_only(backend(IgnoresTheSeed), expected_failures={SEEDS: "seeds come later"})
    assert report.ok
    assert report.counts() == {"passed": 1, "expected failure": 1}
    (row,) = (r for r in report.results if r.id == SEEDS)
    assert row.reason.startswith("seeds come later (beta of chain 0 with seed 11")


def test_the_backend_itself_may_declare_them():
    engine = backend(IgnoresTheSeed, expected_failures={SEEDS: "seeds come later"})
    assert seeds_only(engine).counts() == {"passed": 1, "expected failure": 1}


def test_one_that_passes_is_a_failure():
    report = seeds_only(backend(), expected_failures={SEEDS: "seeds come later"})
    assert not report.ok
    assert [r.id for r in report.bad] == [SEEDS]
    assert report.bad[0].outcome == "unexpected pass"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"expected_failures": {"api.no_such_check": "why"}}, "names no check"),
        ({"expected_failures": {SEEDS: " "}}, "needs a reason"),
        ({"tiers": ("apis",)}, "unknown tiers"),
        ({"tiers": ()}, "no tier"),
        ({"sampler": "nuts"}, "no sampler 'nuts'"),
        ({"only": "no such text"}, "no check"),
    ],
)
def test_bad_input(options, match):
    with pytest.raises(SpecError, match=match):
        run_conformance(backend(), **options)


def test_an_unknown_backend():
    with pytest.raises(SpecError, match="unknown engine 'nestorr'"):
        run_conformance("nestorr")


def test_an_expected_failure_may_name_a_check_of_a_tier_that_is_not_run():
    name = "density.equals_the_reference[depth 1, gaussian, centered]"
    report = seeds_only(backend(), expected_failures={name: "why"})
    assert report.ok


def test_the_report_is_data():
    heard = []
    report = run_conformance(
        backend(IgnoresTheSeed), tiers=("api",), only="metropolis", listener=heard.append
    )
    frame = report.to_frame()
    assert list(frame) == ["tier", "check", "case", "outcome", "reason", "seconds", "traceback"]
    assert len(frame) == len(report.results)
    document = json.loads(report.to_json())
    assert document["ok"] is False
    assert document["run"] == report.n_run == len(frame) - report.counts()["skipped"]
    assert document["counts"]["api"]["failed"] == 1
    assert [row["id"] for row in document["results"]] == [r.id for r in report.results]
    assert [e.check for e in heard if e.result is None] == [r.id for r in report.results]
    assert [e.result for e in heard if e.result is not None] == list(report.results)
    assert {e.total for e in heard} == {len(frame)}


def test_every_id_is_unique():
    report = run_conformance(backend(), tiers=("api", "density"), quick=True)
    ids = [r.id for r in report.results]
    assert len(set(ids)) == len(ids)
