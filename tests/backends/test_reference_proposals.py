"""The parts of the reference's sampler: coordinates, mixtures, weights, and the independence chain."""

import numpy as np
import pytest
from scipy import stats

from nestor import ModelSpec, Problem
from nestor.errors import EngineFailed
from nestor_exact.independence import Fitness, proposals_per_draw, run_chain
from nestor_exact.mixture import Mixture, fit, join
from nestor_exact.modes import laplace_mixture
from nestor_exact.pareto import effective_share, pareto_k
from nestor_exact.scores import from_scores, to_scores
from nestor_exact.theta import Theta
from nestor_reference.messages import MessagePassing
from nestor_reference.rotations import insert, multiply, solve
from nestor_reference.siblings import merge, rounds

CHANCE = 1e-5


# --- tiny matrices ----------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1, 2, 3, 5])
def test_rotated_rows_and_tiny_solves_equal_lapacks(p):
    rng = np.random.default_rng(p)
    rows, b = rng.normal(size=(7, 2 * p, p)), rng.normal(size=(7, p))
    rows[:, 0] = 0.0

    def first(a):
        return np.moveaxis(a, 0, -1)

    R = np.zeros((p, p, 7))
    for i in range(2 * p):
        insert(R, first(rows[:, i]).copy())
    M = rows.swapaxes(1, 2) @ rows
    L = np.linalg.cholesky(M)
    assert np.allclose(R, first(L.swapaxes(1, 2)), rtol=1e-12, atol=1e-13)
    upper = np.linalg.solve(L.swapaxes(1, 2), b[..., None])[..., 0]
    assert solve(R, first(b)) == pytest.approx(first(upper), abs=1e-11)
    assert multiply(first(M), first(b)) == pytest.approx(
        first((M @ b[..., None])[..., 0]), abs=1e-12
    )


def test_a_factor_keeps_its_digits_where_its_square_has_none():
    """Rows (x, x) and (0, 1), x = 1e12: R is itself; of its square, 1e24 + 1, the one is lost."""
    R = np.zeros((2, 2))
    insert(R, np.array([1e12, 1e12]))
    insert(R, np.array([0.0, 1.0]))
    assert R.tolist() == [[1e12, 1e12], [0.0, 1.0]]


@pytest.mark.parametrize("counts", [[1, 1], [3], [1, 5, 2, 1, 8]])
def test_siblings_are_joined_in_pairs(counts):
    """Factors of sums of squares, whatever the numbers of children."""
    rng = np.random.default_rng(len(counts))
    n = sum(counts)
    A = np.triu(rng.normal(size=(n, 3, 3)))
    A[:, 2] = 0.0
    found = np.moveaxis(merge(np.moveaxis(A[:, :2], 0, -1).copy(), rounds(np.array(counts))), 2, 0)
    squares = np.add.reduceat(A.swapaxes(1, 2) @ A, np.cumsum(counts) - counts)
    assert found.swapaxes(1, 2) @ found == pytest.approx(squares, abs=1e-12)
    assert len(rounds(np.array(counts))) == int(np.ceil(np.log2(max(counts))))


# --- coordinates ------------------------------------------------------------------------------


def test_scores_are_half_cauchy_quantiles_at_normal_probabilities():
    theta = np.linspace(-5, 5, 41)
    u, _ = from_scores(theta)
    wanted = np.log(stats.halfcauchy.ppf(stats.norm.cdf(theta)))
    assert u == pytest.approx(wanted, abs=1e-9)  # of 1 - 1e-7 the quantile has nine digits


def test_scores_are_odd_smooth_and_inverted_far_into_the_tails():
    theta = np.concatenate([np.linspace(-30, 30, 2001), [-6.0, -5.997, 0.0, 1e-9]])
    u, slope = from_scores(theta)
    assert to_scores(u) == pytest.approx(theta, rel=1e-9, abs=1e-12)
    assert from_scores(-theta)[0] == pytest.approx(-u)
    step = 1e-5
    numeric = (from_scores(theta + step)[0] - from_scores(theta - step)[0]) / (2 * step)
    assert np.exp(slope) == pytest.approx(numeric, rel=1e-6)


@pytest.mark.parametrize(
    "prior",
    ["HalfNormal(2)", "Uniform(0, 3)", "Uniform(1, 3)", "HalfStudentT(3, 1)", "LogNormal(5, 1)"],
)
def test_theta_goes_to_scales_and_back_with_the_right_jacobian(small_table, prior):
    spec = ModelSpec.from_formula("y ~ x + (x || g/h)", priors={"tau": prior, "sigma": prior})
    problem = Problem(spec, small_table)
    theta = Theta(problem, MessagePassing(problem))
    point = np.random.default_rng(1).normal(size=(20, len(theta)))
    x, slopes = theta.constrain(point)
    assert theta.unconstrain(x) == pytest.approx(point, abs=1e-9)
    step = 1e-6
    numeric = (theta.constrain(point + step)[0] - theta.constrain(point - step)[0]) / (2 * step)
    assert np.exp(slopes) == pytest.approx(numeric, rel=1e-6)
    moved = theta.centred(point[0])
    assert moved.constrain(np.zeros((1, len(theta))))[0] == pytest.approx(x[:1], rel=1e-12)
    log_prior, _ = theta.log_prior(point)
    wanted = sum(p.scipy().logpdf(x[:, j]) for j, p in enumerate(theta.priors))
    assert log_prior == pytest.approx(wanted)


def test_far_out_the_log_posterior_is_minus_infinity_never_nan(small_problem):
    theta = Theta(small_problem, MessagePassing(small_problem))
    d = len(theta)
    far = np.concatenate(
        [s * 60.0 * np.eye(d) for s in (1, -1)] + [np.full((2, d), -1e3), np.zeros((1, d))]
    )
    found = theta.log_posterior(far)
    assert not np.isnan(found).any()
    assert np.isfinite(found[-1])
    assert np.all(found[-3:-1] == -np.inf)


# --- mixtures ---------------------------------------------------------------------------------


def mixture():
    factors = np.array([[[1.0, 0.0], [0.5, 0.7]], [[0.3, 0.0], [-0.2, 2.0]]])
    means = np.array([[0.0, 0.0], [3.0, -2.0]])
    return Mixture(np.array([0.3, 0.7]), means, factors, np.array([5.0, 9.0]))


def test_the_mixtures_density_is_scipys():
    found = mixture()
    x = np.random.default_rng(0).normal(scale=3, size=(50, 2))
    wanted = sum(
        w * stats.multivariate_t(m, f @ f.T, df=nu).pdf(x)
        for w, m, f, nu in zip(found.weights, found.means, found.factors, found.dof, strict=True)
    )
    assert found.logpdf(x) == pytest.approx(np.log(wanted), rel=1e-12)


def test_draws_of_a_mixture_follow_its_density():
    """Means of e(x) / q(x) over draws from q, for a normal density e, are 1."""
    found = mixture()
    n = 20_000
    x = found.rvs(np.random.default_rng(1), n)
    for mean in ([0.0, 0.0], [3.0, -2.0], [1.0, 1.0]):
        other = stats.multivariate_normal(mean, 0.25 * np.eye(2))
        ratio = np.exp(other.logpdf(x) - found.logpdf(x))
        z = (ratio.mean() - 1) / (ratio.std() / np.sqrt(n))
        assert abs(z) < stats.norm.isf(CHANCE / 6)


def test_joined_mixtures_keep_their_shares():
    one, x = mixture(), np.zeros((1, 2))
    far = Mixture(one.weights, one.means + 5, one.factors, one.dof)
    wanted = np.log(0.25 * np.exp(one.logpdf(x)) + 0.75 * np.exp(far.logpdf(x)))
    assert join([(1.0, one), (3.0, far)]).logpdf(x) == pytest.approx(wanted)


def test_a_fit_finds_two_clusters_from_weighted_points():
    rng = np.random.default_rng(2)
    x = rng.uniform(-8, 8, size=(20_000, 1))
    density = 0.3 * stats.norm.pdf(x[:, 0], -4, 0.5) + 0.7 * stats.norm.pdf(x[:, 0], 3, 1.0)
    found = fit(x, density / density.sum(), 4, 30.0, rng)
    log_weights = np.log(density) - found.logpdf(x)
    assert found.weights[found.means[:, 0] < 0].sum() == pytest.approx(0.3, abs=0.03)
    near = density > 1e-3
    assert np.abs(log_weights[near] - np.median(log_weights[near])).max() < 1.0


# --- weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
def test_pareto_k_is_arvizs(scale):
    from arviz_stats.base import array_stats

    log_weights = scale * np.random.default_rng(3).standard_normal(4000) ** 2
    # ArviZ takes minus the log weights, as log likelihoods.
    _, wanted = array_stats.psislw(-log_weights)
    assert pareto_k(log_weights) == pytest.approx(float(wanted), abs=1e-10)


def test_weights_that_are_all_one_have_no_tail():
    assert pareto_k(np.zeros(1000)) == -np.inf
    assert effective_share(np.zeros(1000)) == pytest.approx(1.0)
    assert effective_share(np.array([0.0, -np.inf, -np.inf, -np.inf])) == pytest.approx(0.25)


def test_weights_close_to_their_mean_are_no_tail_whatever_their_shape():
    """Seven times the mean among 200 of 8,000 and growing: k is large, the proposal nearly perfect."""
    log_weights = np.zeros(8000)
    log_weights[:300] = np.linspace(0.0, 1.0, 300) ** 8 * 1.9
    found = Fitness.of(log_weights)
    assert found.pareto_k > 0.7
    assert found.largest_weight == pytest.approx(np.exp(1.9), rel=0.02)
    with pytest.raises(EngineFailed, match="times their mean"):
        Fitness.of(log_weights * 2)


def test_weights_with_a_heavy_tail_or_none_are_refused():
    x = np.random.default_rng(4).normal(size=5000)
    with pytest.raises(EngineFailed, match="Pareto k"):
        Fitness.of(stats.cauchy.logpdf(x) - stats.norm.logpdf(x))
    with pytest.raises(EngineFailed, match="no proposal has positive"):
        Fitness.of(np.full(100, -np.inf))


# --- the independence chain -------------------------------------------------------------------


def test_a_perfect_proposal_needs_one_proposal_per_draw():
    assert proposals_per_draw(np.full(1000, 3.3)) == 1


def test_proposals_per_draw_of_two_weights_by_hand():
    """A tenth of the points has nine times the weight of the others, so half of the posterior.

    There lambda = 0.1 + 0.9 / 9 = 0.2, elsewhere 1, and 0.5 * 0.8^s <= 0.01 from s = 18 on.
    """
    log_weights = np.log(np.where(np.arange(1000) < 100, 9.0, 1.0))
    assert proposals_per_draw(log_weights) == 18


def test_a_hopeless_proposal_is_refused():
    with pytest.raises(EngineFailed, match="more than 100 proposals per draw"):
        proposals_per_draw(np.where(np.arange(5000) == 0, 8.0, 0.0))


def test_the_chains_draws_come_from_the_target():
    """Proposals from a t distribution about the wrong place, target normal; s as it is chosen."""
    rng = np.random.default_rng(6)
    proposal, target = stats.t(4, loc=0.7, scale=1.5), stats.norm(0, 1)
    pilot = proposal.rvs(5000, random_state=rng)
    s = proposals_per_draw(target.logpdf(pilot) - proposal.logpdf(pilot))
    draws, lead = 8000, 100
    x = proposal.rvs(lead + s * draws, random_state=rng)
    chain = run_chain(target.logpdf(x) - proposal.logpdf(x), s, lead, rng)
    kept = x[chain.kept]
    assert kept.shape == chain.acceptance.shape == (draws,)
    assert stats.kstest(kept[::2], target.cdf).pvalue > CHANCE  # every other: independent to 1e-4
    assert abs(np.corrcoef(kept[1:], kept[:-1])[0, 1]) < 0.01 + 4.42 / np.sqrt(draws)
    assert (
        stats.kstest(pilot, target.cdf).pvalue < 1e-6
    )  # the test has the power to see the proposal


def test_a_chain_starts_with_some_posterior_density():
    with pytest.raises(EngineFailed, match="no proposal has positive"):
        run_chain(np.full(30, -np.inf), 2, 10, np.random.default_rng(0))


# --- modes ------------------------------------------------------------------------------------


def test_the_laplace_mixture_stands_at_a_mode(small_problem):
    passing = MessagePassing(small_problem)
    theta, first = laplace_mixture(Theta(small_problem, passing), np.random.default_rng(0))
    best = first.means[np.argmax(theta.log_posterior(first.means))]
    steps = 1e-3 * np.eye(len(theta))
    around = theta.log_posterior(np.concatenate([best + steps, best - steps]))
    slopes = (around[: len(theta)] - around[len(theta) :]) / 2e-3
    assert np.abs(slopes).max() < 0.01
    x = first.rvs(np.random.default_rng(1), 2000)
    assert effective_share(theta.log_posterior(x) - first.logpdf(x)) > 0.1
