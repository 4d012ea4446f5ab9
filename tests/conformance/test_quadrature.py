"""Exact answers against other ways to the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nestor import ModelSpec, Problem
from nestor.conformance import targets
from nestor.conformance.answers import Answer, compare_with_answers, power
from nestor.conformance.check import ConformanceFailure
from nestor.conformance.problems import table
from nestor.conformance.quadrature import integrate
from nestor.stats.diagnostics import summaries

DATA = table([[3]], [5, 3, 6], seed=8)


def test_gaussian_with_known_sigma():
    """Given tau all is Gaussian: matrices for the coefficients, a fine sum over tau."""
    priors = {"sigma": 1.4, "beta": "Normal(0.5, 2)", "tau": "LogNormal(0, 0.4)"}
    problem = Problem(ModelSpec.from_formula("y ~ 1 + (1 || k1)", priors=priors), DATA)
    tau = np.geomspace(0.05, 20.0, 4001)
    H = np.eye(3)[problem.leaf]
    log_weight, means, squares = [], [], []
    for t in tau:
        prior = np.full((4, 4), 4.0) + np.diag([0.0, *[t**2] * 3])
        design = np.column_stack([np.zeros(len(problem.y)), H])
        marginal = design @ prior @ design.T + 1.4**2 * np.eye(len(problem.y))
        gain = np.linalg.solve(marginal, design @ prior).T
        mean = 0.5 + gain @ (problem.y - 0.5)
        variance = np.diag(prior - gain @ design @ prior)
        log_weight.append(
            stats.lognorm.logpdf(t, 0.4)
            + np.log(t)
            + stats.multivariate_normal.logpdf(problem.y, np.full(len(problem.y), 0.5), marginal)
        )
        means.append([mean[0], t, *mean[1:]])
        squares.append([variance[0] + mean[0] ** 2, t * t, *(variance + mean**2)[1:]])
    weight = np.exp(np.array(log_weight) - max(log_weight))
    weight /= weight.sum()
    mean = weight @ np.array(means)
    sd = np.sqrt(weight @ np.array(squares) - mean**2)
    found = integrate(problem)
    assert [a.label for a in found] == list(problem.scalars.labels)
    np.testing.assert_allclose([a.mean for a in found], mean, rtol=1e-5)
    np.testing.assert_allclose([a.sd for a in found], sd, rtol=1e-5)


def test_student_t_by_importance_sampling():
    """Draws from the prior, weighted by the likelihood; within five Monte Carlo errors."""
    priors = {
        "beta": "Normal(0.5, 1)",
        "tau": "LogNormal(-1, 0.3)",
        "sigma": "LogNormal(0.3, 0.3)",
        "nu": "Gamma(3, 0.5)",
    }
    spec = ModelSpec.from_formula("y ~ 1 + (1 || k1)", family="student_t", priors=priors)
    problem = Problem(spec, DATA)
    rng, n = np.random.default_rng(2), 400_000
    beta = rng.normal(0.5, 1.0, n)
    tau, sigma = rng.lognormal(-1.0, 0.3, n), rng.lognormal(0.3, 0.3, n)
    nu = rng.gamma(3.0, 2.0, n)
    groups = beta[:, None] + tau[:, None] * rng.standard_normal((n, 3))
    log_weight = sum(
        stats.t.logpdf(y, nu, groups[:, g], sigma)
        for y, g in zip(problem.y, problem.leaf, strict=True)
    )
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    draws = dict(zip(problem.scalars.labels, (beta, tau, *groups.T), strict=False))
    draws |= {"sigma": sigma, "nu": nu}
    for answer in integrate(problem):
        x = draws[answer.label]
        mean = weight @ x
        error = np.sqrt(np.sum(weight**2 * (x - mean) ** 2))
        assert abs(mean - answer.mean) < 5 * error, answer
        for at, p in zip(answer.thresholds, answer.probabilities, strict=True):
            below = (x <= at).astype(float)
            error = np.sqrt(np.sum(weight**2 * (below - p) ** 2))
            assert abs(weight @ below - p) < 5 * error, answer


@pytest.mark.parametrize("name", ["gaussian, by quadrature", "prior of sigma, next to no data"])
def test_finer_grids_change_nothing(name):
    (target,) = (t for t in targets.TARGETS if t.name == name)
    for coarse, fine in zip(
        integrate(target.problem()), integrate(target.problem(), 1.5), strict=True
    ):
        # The Monte Carlo error of what is compared with them is some 0.02 sd.
        assert abs(coarse.mean - fine.mean) < 1e-4 * fine.sd
        assert coarse.sd == pytest.approx(fine.sd, rel=1e-4)


def _answers(n, mean=0.0, sd=1.0):
    probabilities = (0.05, 0.25, 0.5, 0.75, 0.95)
    thresholds = tuple(stats.norm.ppf(probabilities, mean, sd))
    return [Answer(f"v{j}", mean, sd, thresholds, probabilities) for j in range(n)]


def test_false_alarms_are_as_rare_as_they_say():
    """300 runs of 4 x 250 exact draws of 5 scalars at the level 0.05: Binomial(300, 0.05) is below 34
    with probability 1 - 1e-5; Holm's correction makes it smaller still."""
    rng = np.random.default_rng(4)
    failed = 0
    for _ in range(300):
        try:
            compare_with_answers(rng.standard_normal((4, 250, 5)), _answers(5), 0.05)
        except ConformanceFailure:
            failed += 1
    assert failed < 34


@pytest.mark.parametrize(
    ("answers", "what"),
    [(_answers(2, mean=0.15), "mean of v"), (_answers(2, sd=1.15), "sd of v")],
)
def test_differences_are_found(answers, what):
    draws = np.random.default_rng(5).standard_normal((4, 1000, 2))
    with pytest.raises(ConformanceFailure, match=what):
        compare_with_answers(draws, answers, 1e-4)


def test_a_shape_with_the_right_mean_and_sd_is_found():
    draws = np.random.default_rng(6).standard_t(3, (4, 4000, 1)) / np.sqrt(3)
    with pytest.raises(ConformanceFailure, match="P\\(v0"):
        compare_with_answers(draws, _answers(1), 1e-4)


def test_power_to_find_too_wide_a_prior_is_what_is_said():
    """Independent draws of each scalar from its marginal of the wrong posterior, as quantiles of a
    log-normal with its mean and sd; 60 runs, of which at least the said share, less five sds, must fail."""
    (target,) = (t for t in targets.TARGETS if "nu" in t.priors)
    rng, level = np.random.default_rng(7), 1e-6
    for address, wrong in target.wider().items():
        means, sds = np.array([(a.mean, a.sd) for a in wrong]).T
        log_sd = np.sqrt(np.log1p((sds / np.abs(means)) ** 2))
        names = [a.label.partition("[")[0].partition("_")[0] for a in wrong]
        (j,) = [i for i, name in enumerate(names) if name == address]
        answers = [target.answers()[j]]
        failed, said = 0, 0.0
        for _ in range(60):
            z = rng.standard_normal((4, 100, 1))
            draws = means[j] * np.exp(log_sd[j] * z - log_sd[j] ** 2 / 2)
            said += power(answers, [wrong[j]], summaries(draws), level) / 60
            try:
                compare_with_answers(draws, answers, level)
            except ConformanceFailure:
                failed += 1
        assert failed / 60 > said - 5 * np.sqrt(max(said * (1 - said), 0.01) / 60), address
        assert said > 0.9
