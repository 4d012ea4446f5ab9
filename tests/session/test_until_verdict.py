"""Going on until there is a verdict: chains that rest, look by look."""

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from nestor import SamplerConfig, Verdict
from nestor.agreement.criteria import Criteria
from nestor.agreement.engine_result import TIMINGS, EngineResult
from nestor.agreement.events import LookFinished
from nestor.agreement.run import ComparisonRun, compare
from nestor.agreement.verdict import PairResult
from nestor.engines.contender import Contender
from nestor.errors import SpecError

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


def test_engines_that_cannot_go_on_are_started_anew(small_problem, tmp_path):
    events = []
    found = go_on(small_problem, ["exact", "exact2"], out=tmp_path / "out", listener=events.append)
    assert found.verdict is Verdict.AGREE
    looks = [event for event in events if isinstance(event, LookFinished)]
    assert looks
    assert all(event.going_on == () for event in looks)
    for row in found.rows:
        assert row.looks[0] == 150
        assert row.restarts == len(row.looks) - 1 == len(looks)
        assert [dict(event.anew)[row.name] for event in looks] == list(row.looks[1:])
        assert "does not offer it" in row.cannot_extend
    # The draws of a run that asks for so many at once.
    draws = found.rows[0].looks[-1]
    once = compare(small_problem, ["exact", "exact2"], config=replace(CONFIG, draws=draws))
    assert np.array_equal(*(c.rows[0].tree["posterior"]["beta"].values for c in (found, once)))
    assert found.to_dict()["engines"][0]["restarts"] == found.rows[0].restarts
    again = go_on(small_problem, ["exact", "exact2"], out=tmp_path / "out")
    assert [(row.reused, row.looks) for row in again.rows] == [
        (True, row.looks) for row in found.rows
    ]


def test_draws_of_an_earlier_run_are_drawn_anew(small_problem, tmp_path):
    first = go_on(small_problem, PAIR, out=tmp_path / "out")
    found = go_on(small_problem, [*PAIR, "exact"], out=tmp_path / "out", budget=1200)
    assert found.verdict is Verdict.AGREE
    row = found.rows[0]
    assert (row.looks[: len(first.rows[0].looks)], row.restarts) == (first.rows[0].looks, 1)
    assert not row.reused


class Decisions(ComparisonRun):
    """What a comparison decides after a look, from rows as they are given, without running anything."""

    def __init__(self, problem, rows, budget, timeout=None):
        self.events, self.taken = [], []
        criteria = Criteria(until_verdict=budget)
        super().__init__(problem, CONFIG, criteria, None, timeout, self.events.append, keep=False)
        self.rows = {row.name: row for row in rows}

    def _start(self, contender, draws=None):
        self.taken.append((contender.backend, draws))

    def _take(self, contender, before=(), restarts=0):
        self.taken.append((contender.backend, "take"))


def decide(problem, a, b, *, budget=1200, missing=100, timeout=None, draw_factor=None):
    """What is decided of a pair of rows that lack `missing` draws each, and the rows after it."""
    run = Decisions(problem, [a, b], budget, timeout)
    pair = PairResult(
        a.name,
        b.name,
        Verdict.INCONCLUSIVE,
        ("why",),
        missing_draws=(missing, missing),
        draw_factor=draw_factor,
    )
    went = run.go_on([pair])
    (event,) = run.events or [None]
    assert went == (event is not None)
    return event, run


def row(problem, engine, look=150, *, total, sampling=None, **more):
    contender = Contender.parse_sampler(engine, problem.spec.level_names).resolve_formulation(
        problem
    )
    timings = dict.fromkeys(TIMINGS) | {"total_s": total, "sampling_s": sampling}
    unknown = dict.fromkeys(EngineResult.__dataclass_fields__)
    known = {"contender": contender, "status": "ok", "looks": (look,), "timings": timings}
    return EngineResult(**unknown | {"restarts": 0} | known | more)


def test_a_cheap_engine_is_started_anew_while_the_other_goes_on(small_problem):
    # A fresh run of 300 draws: 2 + 1; the other's 1,050 draws to its budget: 1,050 / 150 * 5 = 35 s.
    stuck = row(small_problem, "exact", total=2.0, sampling=1.0, cannot_extend="never")
    other = row(small_problem, "growing", total=9.0, sampling=5.0)
    event, run = decide(small_problem, stuck, other)
    assert (event.going_on, event.anew) == ((other.name,), ((stuck.name, 300),))
    assert run.taken == [("exact", 300), ("exact", "take"), ("growing", "take")]
    # As many draws as are missing: the first look with 150 + 500 of them.
    event, _ = decide(small_problem, stuck, other, missing=500)
    assert event.anew == ((stuck.name, 1200),)


def test_a_dear_engine_is_started_anew_when_the_other_has_used_its_budget(small_problem):
    # A fresh run: 60 + 1 s, against 35.
    stuck = row(small_problem, "exact", total=60.0, sampling=1.0, cannot_extend="never")
    other = row(small_problem, "growing", total=9.0, sampling=5.0)
    event, run = decide(small_problem, stuck, other)
    assert (event.going_on, event.anew) == ((other.name,), ())
    assert run.taken == [("growing", "take")]
    used = row(small_problem, "growing", 1200, total=44.0, sampling=40.0)
    event, run = decide(small_problem, stuck, used)
    assert (event.going_on, event.anew) == ((), ((stuck.name, 300),))
    assert run.taken == [("exact", 300), ("exact", "take")]


def test_a_partner_that_cannot_decide_the_pair_alone_is_not_waited_for(small_problem):
    # Equal sides of 150 draws, of which the one goes on to 1,200: the variance shrinks to
    # (150 / 1,200 + 1) / 2 = 0.5625 of what it was, which is enough for a factor of 1.7 and not of 1.8.
    equal = SimpleNamespace(ess=np.full((5, 3), 600.0))
    stuck = row(
        small_problem, "exact", total=60.0, sampling=1.0, cannot_extend="never", summaries=equal
    )
    other = row(small_problem, "growing", total=9.0, sampling=5.0, summaries=equal)
    for factor, anew in ((1.7, False), (1.8, True)):
        event, _ = decide(small_problem, stuck, other, draw_factor=factor)
        assert event.going_on == (other.name,)
        assert bool(event.anew) == anew


def test_seconds_that_are_not_told_apart_are_shared_by_all_iterations(small_problem):
    # 150 draws and 10 of warmup in 16 s: 105 s to the budget. A fresh run of 300 takes 16 + 15 s.
    other = row(small_problem, "growing", total=16.0)
    for seconds, anew in ((85.0, True), (95.0, False)):
        stuck = row(small_problem, "exact", total=seconds, cannot_extend="never")
        # Its own 150 more draws take 150 / 160 of its time: 165 and 184 s; so compare with a known pace.
        known = row(small_problem, "exact", total=seconds, sampling=15.0, cannot_extend="never")
        event, _ = decide(small_problem, known, other)
        assert bool(event.anew) == anew
        event, _ = decide(small_problem, stuck, other)
        assert not event.anew


def test_at_the_end_of_both_budgets_nobody_goes_on(small_problem):
    used = [row(small_problem, e, 1200, total=9.0, sampling=5.0) for e in PAIR]
    assert decide(small_problem, *used)[0] is None


def test_a_fresh_run_that_would_take_longer_than_the_timeout_is_not_begun(small_problem):
    pair = [
        row(small_problem, e, total=50.0, sampling=40.0, cannot_extend="never: independent.")
        for e in ("exact", "exact2")
    ]
    event, run = decide(small_problem, *pair, timeout=60)
    assert event is None
    why = run.rows[pair[0].name].cannot_extend
    assert why == (
        "never: independent; and a fresh run of 300 draws would take about 90 s, longer than the timeout"
    )
    assert decide(small_problem, *pair, timeout=100)[0] is not None


def test_the_words_say_what_cannot_go_on_and_not_that_a_budget_is_used_up(small_problem):
    found = go_on(small_problem, ["exact", "exact2"], budget=200)
    assert found.verdict is Verdict.INCONCLUSIVE
    text = " ".join(str(found).split())
    assert "does not offer it; it was started anew once, at last with 200 draws." in text
    assert "The budget of 200 draws per chain is used up." in text
    rows = (found.rows[0], replace(found.rows[1], looks=(150,), restarts=0))
    text = " ".join(str(replace(found, rows=rows)).split())
    assert f"{rows[0].name} used up the budget of 200 draws per chain." in text
    assert "is used up" not in text


def test_more_draws_are_not_drawn_for_a_pair_that_they_cannot_decide(small_problem):
    events = []
    found = go_on(small_problem, ["crash", "growing"], listener=events.append)
    assert found.rows[1].looks == (150,)
    assert not [event for event in events if isinstance(event, LookFinished)]
    assert "budget" not in str(found)


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


@pytest.mark.parametrize(
    ("budget", "said"),
    [(150, "more than the 150 draws"), (100, "more than the 150 draws"), (0, "at least 1, not 0")],
)
def test_a_budget_is_more_than_the_first_look(small_problem, budget, said):
    with pytest.raises(SpecError, match=said):
        go_on(small_problem, budget=budget)
