"""The scorecard of an engine over the reference posteriors."""

import json

import pytest

from nestor import SamplerConfig, Verdict
from nestor.errors import SpecError
from nestor.references.verify import verify

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
