"""Exact engines are calibrated, wrong ones are found.

Seeds are fixed, so each test has one outcome; an exact engine's study is rejected with probability 0.01
(the family-wise level) for a seed chosen at random.
"""

import numpy as np
import pytest

from nestor.calibration.judge import Calibrated, judge
from nestor.calibration.study import Study
from nestor.calibration.tasks import FIT_BLOCK, Task
from nestor.posterior.quantities import ComparedQuantities


def _judge(job, records):
    names = ComparedQuantities(job.problem)
    good = [record.ranks for record in records if record.status == "ok"]
    failures = [record for record in records if record.status != "ok"]
    ranks = np.array(good, dtype=np.intp).reshape(len(good), len(names))
    return judge(ranks, failures, job.ranked_draws, names.labels, names.groups)


def test_an_exact_engine_is_calibrated(make_job, rank_all):
    job = make_job("conjugate")
    records = rank_all(job, 300)
    judged = _judge(job, records)
    assert [record.status for record in records] == ["ok"] * 300
    assert judged.verdict is Calibrated.CALIBRATED, judged.rejected
    # 300 ranks 0 .. 31 of each of the 6 scalars and of the log-likelihood take both ends.
    ranks = np.array([record.ranks for record in records])
    assert ranks.shape == (300, 7)
    assert (ranks.min(), ranks.max()) == (0, 31)


def test_a_posterior_too_narrow_by_a_fifth_is_found(make_job, rank_all):
    job = make_job("narrow")
    judged = _judge(job, rank_all(job, 300))
    assert judged.verdict is Calibrated.NOT_CALIBRATED
    # Draws too close to their mean fit the outcome too well, which the log-likelihood shows best.
    assert judged.rejected[0].label == "log_likelihood"
    others = {one.label: one.how for one in judged.rejected[1:]}
    assert others
    assert set(others.values()) == {"posterior too narrow"}


def test_a_shifted_population_is_found_and_named(make_job, rank_all):
    job = make_job("moved")
    judged = _judge(job, rank_all(job, 200))
    assert judged.verdict is Calibrated.NOT_CALIBRATED
    assert judged.rejected[0].label == "beta[Intercept]"
    assert judged.rejected[0].how == "draws too high"
    assert judged.detectable.shift < 0.5


def test_only_the_log_likelihood_finds_an_engine_that_ignores_the_data(make_job, rank_all):
    job = make_job("ignorant")
    judged = _judge(job, rank_all(job, 200))
    assert [one.label for one in judged.rejected] == ["log_likelihood"]
    assert judged.rejected[0].how == "draws too low"


@pytest.mark.parametrize(
    ("engine", "expected"),
    [("conjugate", Calibrated.CALIBRATED), ("narrow", Calibrated.NOT_CALIBRATED)],
)
def test_around_the_posterior(make_job, rank_all, tmp_path, monkeypatch, engine, expected):
    # With the same fault in the fit that gives the truth, a width of 0.5 looks like one of 0.63: of a
    # Normal posterior of variance V the truth has V/4, its distance from the posterior mean given both
    # data sets V/16 + V/4, and that posterior's draws V/8 instead of V/2.
    monkeypatch.setenv("NESTOR_FAKE_WIDTH", "0.5")
    job = make_job(engine, around="posterior", fits=tmp_path, seed=3)
    assert Study(job).run(Task("fit", 0)).status == "ok"
    judged = _judge(job, rank_all(job, FIT_BLOCK))
    assert judged.verdict is expected, judged.rejected


def test_around_the_posterior_the_truth_is_a_draw_given_the_data(
    make_job, tmp_path, groups_problem
):
    job = make_job("conjugate", around="posterior", fits=tmp_path)
    Study(job).run(Task("fit", 0))
    with np.load(tmp_path / "0000.npz") as arrays:
        nodes = arrays["beta_g"][..., 0]
    assert nodes.shape == (FIT_BLOCK, 4)
    w, y = groups_problem.weights, groups_problem.y
    means = np.bincount(groups_problem.leaf, w * y) / np.bincount(groups_problem.leaf, w)
    # Shrunk a little towards each other; Monte Carlo error of a mean of 250 is below 0.04.
    assert np.abs(nodes.mean(axis=0) - means).max() < 0.3
    assert np.abs(nodes.mean(axis=0) - means).max() > 0.0
    assert nodes.std(axis=0).max() < 0.8


def test_a_simulation_is_the_same_alone_and_among_others(make_job, rank_all):
    job = make_job("conjugate")
    among = rank_all(job, 4)[3]
    alone = Study(job).run(Task("simulation", 3))
    assert alone.ranks == among.ranks
    assert Study(make_job("conjugate", seed=2)).run(Task("simulation", 3)).ranks != among.ranks


def test_an_engine_that_must_be_compiled_for_each_outcome_gives_the_same(make_job):
    told = []
    record = Study(make_job("compiling"), told.append).run(Task("simulation", 0))
    other = Study(make_job("conjugate"), told.append).run(Task("simulation", 0))
    assert told == [False, True]
    assert len(record.ranks) == len(other.ranks) == 7


@pytest.mark.parametrize("engine", ["sticky", "extending", "refusing"])
def test_chains_that_mix_slowly_run_longer(make_job, monkeypatch, engine):
    monkeypatch.setenv("NESTOR_FAKE_STAY", "6")
    record = Study(make_job(engine)).run(Task("simulation", 0))
    assert record.status == "ok"
    # 62 effective draws take about 6 * 62 iterations of two chains.
    assert record.draws in (200, 400)
    assert record.ess >= 62


def test_chains_that_mix_too_slowly_are_no_ranks(make_job):
    record = Study(make_job("sticky")).run(Task("simulation", 0))
    assert (record.status, record.ranks, record.draws) == ("unconverged", (), 800)
    assert "31 near-independent draws take 62" in record.message
