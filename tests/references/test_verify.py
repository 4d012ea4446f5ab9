"""The scorecard of an engine over the reference posteriors."""

import io
import json

import pytest
from rich.console import Console

from nestor import SamplerConfig, Verdict
from nestor.errors import SpecError
from nestor.references.verify import verify
from nestor.views.terminal.scorecard import scorecard_view

CONFIG = SamplerConfig(chains=4, warmup=500, draws=1000)


def test_the_exact_engine_agrees_where_it_can_run_and_says_where_not():
    seen = []
    names = ["eight-schools", "student-t"]
    card = verify("reference:exact", names, config=CONFIG, on_score=seen.append)
    assert [score.problem for score in seen] == names
    assert [score.word for score in card.scores] == ["AGREE", "unsupported"]
    assert "gaussian" in card.scores[1].row.message.lower()
    assert card.verdict is Verdict.AGREE
    assert not card.engine_failed
    document = json.loads(card.to_json())
    assert [score["verdict"] for score in document["scores"]] == ["AGREE", "unsupported"]


@pytest.mark.usefixtures("fake_engines")
def test_an_engine_with_the_right_density_and_the_wrong_draws_disagrees():
    card = verify("exact", ["one-level"], config=CONFIG)
    assert card.verdict is Verdict.DISAGREE
    assert "differ" in card.scores[0].pair.reasons[0]


@pytest.mark.usefixtures("fake_engines")
def test_a_crash_is_a_failed_score():
    card = verify("crash", ["one-level"], config=CONFIG)
    assert card.engine_failed
    assert card.verdict is Verdict.INCONCLUSIVE


@pytest.mark.usefixtures("fake_engines")
def test_seconds_that_do_not_add_up_give_no_speed():
    card = verify("hasty", ["one-level"], config=CONFIG)
    document = json.loads(card.to_json())["scores"][0]["engine"]
    assert document["efficiency"]["ess_per_s_sampling"] is None
    assert document["efficiency"]["speed_void"].startswith("no ESS/s: it reports 0.0")
    assert document["timings"]["unaccounted_s"] > 0.4  # it sleeps for half a second
    stream = io.StringIO()
    Console(file=stream, width=160).print(scorecard_view(card))
    assert "one-level: no ESS/s" in stream.getvalue()


@pytest.mark.parametrize(
    ("engine", "names", "message"),
    [
        ("stan", None, "unknown engine"),
        ("numpyro", ["nine-schools"], "no reference problem"),
        ("numpyro", [], "at least one"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(engine, names, message):
    with pytest.raises(SpecError, match=message):
        verify(engine, names)
