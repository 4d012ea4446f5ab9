"""Going on until there is a verdict: chains that rest, look by look."""

import os
from pathlib import Path

import numpy as np
import psutil
import pytest

import nestor
from nestor import SamplerConfig, Verdict
from nestor.agreement.criteria import Criteria
from nestor.errors import SpecError
from nestor.events import LookFinished
from nestor.session import compare

pytestmark = pytest.mark.usefixtures("fake_engines")

CONFIG = SamplerConfig(chains=4, warmup=10, draws=150)
PAIR = ["growing", "growing2"]


def go_on(problem, engines=PAIR, budget=1200, **options):
    return compare(
        problem, engines, config=CONFIG, criteria=Criteria(until_verdict=budget), **options
    )


def test_looks_double_up_to_the_budget():
    assert Criteria(until_verdict=1000).looks(150) == (150, 300, 600, 1000)
    assert Criteria(until_verdict=600).looks(150) == (150, 300, 600)
    assert Criteria().looks(150) == ()


def test_levels_of_all_looks_together_are_the_level_of_one():
    many = [Criteria(until_verdict=10).levels(look) for look in range(1, 40)]
    assert sum(level for level, _ in many) == pytest.approx(0.01)
    assert sum(level for _, level in many) == pytest.approx(0.05)
    assert Criteria().levels(1) == (0.01, 0.05)


def test_chains_go_on_from_where_they_stand_until_they_agree(small_problem, tmp_path):
    def children():
        return {p.pid for p in psutil.Process(os.getpid()).children(recursive=True)}

    events, pids, others = [], set(), children()  # other tests may have left a browser open

    def note(event):
        events.append(event)
        pids.update(children() - others)

    found = go_on(small_problem, out=tmp_path / "out", listener=note)
    assert pids
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert found.verdict is Verdict.AGREE
    looks = found.rows[0].looks
    assert len(looks) > 1
    assert looks == (150, 300, 600, 1200)[: len(looks)]
    pair = found.pairs[0]
    assert pair.looks == len(looks)
    assert pair.equivalence.level == pytest.approx(0.05 / 2 ** len(looks))
    assert [e.draws for e in events if isinstance(e, LookFinished)] == list(looks[:-1])
    # One process, one warmup: the first draws are those of a run that was looked at once.
    once = compare(small_problem, PAIR, config=CONFIG)
    first = once.rows[0].tree["posterior"]["beta"].values
    assert np.array_equal(found.rows[0].tree["posterior"]["beta"].values[:, :150], first)
    assert found.rows[0].timings["sampling_s"] == pytest.approx(0.04 * len(looks))
    assert found.to_dict()["engines"][0]["looks"] == list(looks)


def test_the_same_command_uses_everything_again(small_problem, tmp_path):
    first = go_on(small_problem, out=tmp_path / "out")
    again = go_on(small_problem, out=tmp_path / "out")
    assert [row.reused for row in again.rows] == [True, True]
    assert [row.looks for row in again.rows] == [row.looks for row in first.rows]
    assert again.pairs[0].to_dict() == first.pairs[0].to_dict()
    other = go_on(small_problem, out=tmp_path / "out", budget=1300)
    assert not any(row.reused for row in other.rows)


def test_chains_that_cannot_go_on_say_why(small_problem):
    found = go_on(small_problem, ["exact", "exact2"])
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.rows[0].looks == (150,)
    assert "does not offer it" in found.rows[0].cannot_extend
    assert "does not offer it" in " ".join(str(found).split())


def test_one_side_goes_on_where_the_other_cannot(small_problem):
    found = go_on(small_problem, ["exact", "growing"], budget=600)
    assert found.rows[0].looks == (150,)
    assert found.rows[1].looks[:2] == (150, 300)


def test_an_exhausted_budget_is_said(small_problem):
    found = go_on(small_problem, budget=200)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.rows[0].looks == (150, 200)
    assert "budget of 200 draws per chain" in " ".join(str(found).split())


@pytest.mark.parametrize(("mode", "status"), [("crash", "failed"), ("hang", "timeout")])
def test_a_failure_at_a_later_look_is_a_row(small_problem, monkeypatch, mode, status):
    monkeypatch.setenv("NESTOR_FAKE_SECOND_LOOK", mode)
    found = go_on(small_problem, ["exact", "growing"], timeout=20 if mode == "hang" else None)
    assert found.rows[0].tree is not None
    assert found.rows[1].status == status
    assert found.verdict is Verdict.INCONCLUSIVE


def test_an_interrupt_at_a_look_ends_everything_and_reuses_nothing(small_problem, tmp_path):
    def interrupt(event):
        if isinstance(event, LookFinished):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go_on(small_problem, out=tmp_path / "out", listener=interrupt)
    ours = psutil.Process(os.getpid()).children(recursive=True)
    assert not [p for p in ours if "nestor.runner.worker" in " ".join(p.cmdline())]
    assert (tmp_path / "out" / "comparison.json").exists()
    again = go_on(small_problem, out=tmp_path / "out")
    assert [row.reused for row in again.rows] == [False, False]
    assert again.verdict is Verdict.AGREE


@pytest.mark.parametrize("budget", [150, 100, 0])
def test_a_budget_is_more_than_the_first_look(small_problem, budget):
    with pytest.raises(SpecError, match="more than the 150 draws"):
        go_on(small_problem, budget=budget)


def test_the_joint_test_needs_eight_chains(small_problem):
    with pytest.raises(SpecError, match="at least 8"):
        nestor.compare(small_problem, PAIR, joint=True, progress=False)
