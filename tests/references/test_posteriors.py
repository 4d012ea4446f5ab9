"""The reference posteriors that come with nestor: complete, of their problems, and fit to be references."""

import json
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from nestor.agreement import Verdict, judge
from nestor.engines import registry
from nestor.errors import DataError, SpecError
from nestor.posterior.quantities import ComparedQuantities
from nestor.references import NAMES, REQUIREMENTS, describe, load, problem
from nestor.references.build import _lag1, _unmet, engines_for
from nestor.references.posterior import from_dict


@pytest.mark.parametrize("name", NAMES)
def test_every_problem_has_its_posterior_from_two_implementations_that_meet_the_requirements(name):
    posterior = load(name)
    posterior.check(problem(name))
    assert len(posterior.sources) == REQUIREMENTS["sources"]
    for source in posterior.sources:
        assert _unmet(dict(source)) == []
    engines = [source["engine"].partition("@")[0].partition(":")[0] for source in posterior.sources]
    implementations = {registry.get(name).backend.implementation for name in engines}
    assert len(implementations) == 2
    assert posterior.agreement["verdict"] == "AGREE"
    assert posterior.agreement["smallest_margin"] <= REQUIREMENTS["margin"]
    assert np.isfinite(posterior.estimate).all()
    # 20,000 nearly independent draws: errors of means are about sd / 141.
    ratio = posterior.mcse[0] / posterior.estimate[1]
    assert (ratio > 0.004).all()
    assert (ratio < 0.012).all()
    assert describe(name).endswith(".")


def test_no_file_is_left_over():
    folder = files("nestor.references") / "posteriors"
    stems = {
        path.name.removesuffix(".json") for path in folder.iterdir() if path.name.endswith(".json")
    }
    assert stems == set(NAMES)


def test_eight_schools_has_the_published_numbers_and_a_known_posterior():
    of = problem("eight-schools")
    order = np.argsort(of.index.levels[0].paths.astype(str))
    assert of.y[order].tolist() == [28, 8, -3, 7, -1, 1, 18, 12]
    assert np.allclose(1 / np.sqrt(of.weights[order]), [15, 10, 16, 11, 9, 11, 10, 18])
    posterior = load("eight-schools")
    mean = dict(zip(posterior.labels, posterior.estimate[0], strict=True))
    # posteriordb, eight_schools-eight_schools_noncentered: mu 4.4 and tau 3.6 (to a few hundredths).
    assert mean["beta[Intercept]"] == pytest.approx(4.41, abs=0.1)
    assert mean["tau_school[Intercept]"] == pytest.approx(3.6, abs=0.12)


def test_a_document_is_read_back_as_it_was_written():
    posterior = load(NAMES[0])
    again = from_dict(json.loads(json.dumps(posterior.to_dict())))
    assert again.labels == posterior.labels
    assert np.array_equal(again.estimate, posterior.estimate)
    assert np.array_equal(again.mcse, posterior.mcse)


def test_a_posterior_of_another_problem_is_refused():
    with pytest.raises(DataError, match="belongs to another problem"):
        load("one-level").check(problem("few-rows"))
    with pytest.raises(DataError, match="no reference posterior"):
        load("no-level")
    with pytest.raises(SpecError, match="there are eight-schools"):
        problem("no-level")


def test_a_posterior_agrees_with_itself_shifted_by_little_and_not_by_much():
    posterior = load("one-level")
    run, n = posterior.side(), len(posterior.labels)
    sd = posterior.estimate[1]

    def moved(by):
        estimate = run.summaries.estimate.copy()
        estimate[[0, 2, 3, 4]] += by * sd
        return replace(run, name="moved", summaries=replace(run.summaries, estimate=estimate))

    assert judge(run, moved(0.05)).verdict is Verdict.AGREE
    assert judge(run, moved(0.5)).verdict is Verdict.DISAGREE
    assert ComparedQuantities(problem("one-level")).labels == posterior.labels
    assert n == 12


def test_requirements_are_checked_one_by_one():
    good = {
        "draws": 10_000,
        "rhat_max": 1.001,
        "lag1_max": 0.01,
        "ebfmi_min": None,
        "divergences": 0,
        "gates_passed": True,
    }
    assert _unmet(good) == []
    bad = {"draws": 9_999, "rhat_max": 1.02, "lag1_max": 0.06, "ebfmi_min": 0.1, "divergences": 1}
    for key, value in (*bad.items(), ("gates_passed", False)):
        assert len(_unmet(good | {key: value})) == 1


def test_lag_one_of_a_known_chain():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((10, 1000, 2))
    for t in range(1, 1000):
        x[:, t, 1] = 0.5 * x[:, t - 1, 1] + np.sqrt(0.75) * x[:, t, 1]
    # Standard errors of 10,000 draws: 0.010 and 0.009.
    assert _lag1(x) == pytest.approx([0.0, 0.5], abs=0.05)


def test_every_family_has_two_engines():
    for name in NAMES:
        assert len(set(engines_for(problem(name).spec.family))) == 2
