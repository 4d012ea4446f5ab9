"""The reference's sampler: against quadrature, its own densities, its seeds, and what it refuses."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from gaussian_trees import random_table
from many_digits import log_prior_of_scales as sum_of_scale_priors
from scipy import stats

from nestor import ModelSpec, Problem, SamplerConfig
from nestor.agreement.sampled_density import check_sampled_density
from nestor.data import datasets
from nestor.data.demo import FORMULA
from nestor.engines import registry
from nestor.engines.contender import Contender
from nestor.engines.formulation import Formulation
from nestor.errors import EngineFailed, Unsupported
from nestor.runner.datatree import to_datatree
from nestor.stats.diagnostics import gates, summaries
from nestor_reference import LARGEST_DIMENSION, conditional_mean, log_marginal

CHANCE = 1e-5


def compiled(problem, sampler="exact", formulation=None):
    formulation = formulation or Formulation.parse([], problem.spec.level_names)
    backend = registry.get("reference").backend
    return backend.compile(problem, formulation, sampler=sampler, device="cpu", dtype="float64")


def draw(problem, **config):
    return compiled(problem).sample(SamplerConfig(**config))


def means_table(groups, seed, spread):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), rng.integers(2, 6, groups))
    y = 3 + spread * rng.normal(size=groups)[g] + rng.normal(size=len(g))
    return pd.DataFrame({"g": [f"n{i}" for i in g], "y": y})


TWO_SCALES = {
    "groups that differ": (means_table(8, 1, 2.0), {}),
    "few groups, tau near zero": (means_table(3, 2, 0.0), {}),
    "bounded scales": (
        means_table(4, 3, 1.0),
        {"tau": "Uniform(0, 1.5)", "sigma": "Uniform(0.5, 4)"},
    ),
    "heavy tails": (
        means_table(3, 4, 0.5),
        {"tau": "HalfCauchy(1)", "sigma": "InverseGamma(2, 3)"},
    ),
}


class Grid:
    """The posterior of (tau, sigma) by the midpoint rule over quantiles of their priors, spaced for tails.

    The grid's coordinate t has x = quantile(expit(t)), so every prior's whole support is covered without
    any of the sampler's own transforms.
    """

    def __init__(self, problem, n=400):
        t, self.step = np.linspace(-14.0, 14.0, n, retstep=True)
        self.t = t
        priors = (problem.priors.tau["g"]["Intercept"], problem.priors.family["sigma"])
        self.priors = dict(zip(("log tau", "log sigma"), priors, strict=True))
        axes = [prior.scipy().ppf(stats.logistic.cdf(t)) for prior in priors]
        self.tau, self.sigma = (m.ravel() for m in np.meshgrid(*axes, indexing="ij"))
        self.scales = {"tau_g": self.tau[:, None], "sigma": self.sigma}
        density = stats.logistic.logpdf(t)  # of the priors along t
        prior = (density[:, None] + density[None, :]).ravel()
        log_posterior = log_marginal(problem, self.scales) + prior
        weights = np.exp(log_posterior - log_posterior.max())
        self.weights = weights / weights.sum()
        square = self.weights.reshape(n, n)
        self.marginal = {"log tau": square.sum(axis=1), "log sigma": square.sum(axis=0)}

    def mean(self, values):
        return float(self.weights @ values)

    def below(self, name, probability):
        """The edge of a cell near a quantile, and the probability below it."""
        total = np.cumsum(self.marginal[name])
        i = int(np.argmin(np.abs(total - probability)))
        edge = stats.logistic.cdf(self.t[i] + self.step / 2)
        return float(np.log(self.priors[name].scipy().ppf(edge))), float(total[i])


@pytest.mark.parametrize("name", TWO_SCALES)
def test_draws_agree_with_quadrature(name):
    table, priors = TWO_SCALES[name]
    problem = Problem(ModelSpec.from_formula("y ~ 1 + (1 || g)", priors=priors), table)
    draws = draw(problem, chains=4, warmup=400, draws=1500, seed=11)
    grid = Grid(problem)
    means = conditional_mean(problem, grid.scales)
    wanted = {
        "log tau": np.log(grid.tau),
        "log sigma": np.log(grid.sigma),
        "beta": means["beta"][:, 0],
        "first group": means["beta_g"][:, 0, 0],
    }
    found = {
        "log tau": np.log(draws.values["tau_g"][..., 0]),
        "log sigma": np.log(draws.values["sigma"]),
        "beta": draws.values["beta"][..., 0],
        "first group": draws.values["beta_g"][..., 0, 0],
    }
    z = []
    for key, values in found.items():
        ess = summaries(values[..., None]).ess_bulk[0]
        z.append((values.mean() - grid.mean(wanted[key])) / (values.std() / np.sqrt(ess)))
    for key in ("log tau", "log sigma"):
        for probability in (0.05, 0.25, 0.5, 0.95):
            value, exact = grid.below(key, probability)
            sd = np.sqrt(exact * (1 - exact) / (0.9 * found[key].size))
            z.append((np.mean(found[key] <= value) - exact) / sd)
        squares = (found[key] - grid.mean(wanted[key])) ** 2
        wanted_variance = grid.mean((wanted[key] - grid.mean(wanted[key])) ** 2)
        z.append((squares.mean() - wanted_variance) / (squares.std() / np.sqrt(0.9 * squares.size)))
    assert np.abs(z).max() < stats.norm.isf(CHANCE / 2 / len(z)), z


def deep_problem(**more):
    rng = np.random.default_rng(8)
    formula = "y ~ x1 + z + (1 + x1 + x2 || level0) + (1 || level0/level1)"
    spec = ModelSpec.from_formula(formula, offset="o", weights="w", **more)
    return Problem(spec, random_table(2, rng))


@cache
def problem_and_draws(name):
    """Draws of one problem of each kind, once for all tests that look at them."""
    problem = {
        "deep": lambda: deep_problem(
            priors={"tau": "Uniform(0, 5)", "tau_level0": "HalfCauchy(1)"}
        ),
        "scale per parent": lambda: deep_problem(scale="parent", priors={"sigma": 0.7}),
        "demo": lambda: Problem(ModelSpec.from_formula(FORMULA), datasets.income(seed=1)),
    }[name]()
    return problem, draw(problem, chains=2, warmup=300, draws=300, seed=3)


@pytest.mark.parametrize("name", ["deep", "scale per parent", "demo"])
def test_what_was_sampled_is_the_joint_density(name):
    """lp is made of the marginal and the conditional density; less log_jacobian it is the joint density."""
    problem, draws = problem_and_draws(name)
    model = compiled(problem, sampler=None)
    for chain, i in [(0, 0), (0, 150), (1, 3), (1, 299)]:
        joint = model.log_density({n: a[chain, i] for n, a in draws.values.items()})
        sampled = draws.stats["lp"][chain, i] - draws.stats["log_jacobian"][chain, i]
        assert sampled == pytest.approx(joint, rel=1e-10, abs=1e-9)


def test_coefficients_integrated_out_it_is_the_marginal_density_and_the_draws_are_the_same():
    problem, joint = problem_and_draws("deep")
    marginalized = Formulation.marginalized(problem.spec.level_names)
    model = compiled(problem, formulation=marginalized)
    draws = model.sample(SamplerConfig(chains=2, warmup=300, draws=300, seed=3))
    assert all(np.array_equal(a, joint.values[n]) for n, a in draws.values.items())
    scales = [v.name for v in problem.variables.values() if v.role in ("scale", "family")]
    for at in [(0, 0), (1, 299)]:
        found = draws.stats["lp"][at] - draws.stats["log_jacobian"][at]
        point = {name: draws.values[name][at] for name in scales}
        prior = sum_of_scale_priors(problem, point)
        assert found == pytest.approx(prior + float(log_marginal(problem, point)), rel=1e-12)
        assert found == pytest.approx(model.log_density(point), rel=1e-12)


@pytest.mark.parametrize("name", ["deep", "scale per parent", "demo"])
def test_draws_are_whole_and_nearly_independent(name):
    problem, draws = problem_and_draws(name)
    assert list(draws.values) == list(problem.variables)
    for variable in problem.variables.values():
        assert draws.values[variable.name].shape == (2, 300, *variable.shape)
    filled = problem.with_inherited(draws.values)
    assert all(np.array_equal(filled[n], draws.values[n]) for n in filled)
    flat = problem.scalars.flatten(draws.values)
    centred = flat - flat.mean(axis=1, keepdims=True)
    lag_one = np.mean(centred[:, 1:] * centred[:, :-1], axis=(0, 1)) / centred.var(axis=(0, 1))
    # Of independent draws its standard error is 1 / sqrt(n); 0.02 allows for the chain's own.
    bound = 0.02 + stats.norm.isf(CHANCE / 2 / len(lag_one)) / np.sqrt(600)
    assert np.abs(lag_one).max() < bound


def test_settings_and_statistics_say_what_was_done():
    problem, draws = problem_and_draws("demo")
    said = draws.settings
    assert (said["sampler"], said["proposal_dimension"]) == ("exact", 7)
    assert 1 <= said["proposals_per_draw"] <= 100
    assert 0.2 < said["acceptance_rate"] <= 1
    assert 0.1 < said["effective_share_of_weights"] <= 1
    assert said["pareto_k"] <= 0.7 or said["largest_weight"] <= 20
    assert said["adaptation_evaluations"] <= 300 * 50
    assert said["chain_method"] == "parallel"
    stats_ = draws.stats
    assert {a.shape for a in stats_.values()} == {(2, 300)}
    assert not stats_["diverging"].any()
    assert stats_["acceptance_rate"].mean() == pytest.approx(said["acceptance_rate"])
    assert np.all(stats_["n_steps"] == said["proposals_per_draw"])
    timings = draws.timings
    assert min(timings.warmup, timings.sampling, timings.postprocess) > 0
    tree = to_datatree(problem, draws, {"settings": said})
    assert tree["posterior"]["beta_county"].shape == (2, 300, 2, 194)


def test_a_run_passes_the_gates(small_problem):
    draws = draw(small_problem, chains=4, warmup=300, draws=500, seed=2)
    scalars = small_problem.scalars
    found = gates(
        scalars.flatten(draws.values),
        scalars.labels,
        scalars.is_node,
        energy=draws.stats.get("energy"),
        diverging=draws.stats["diverging"],
    )
    assert found.passed, found.failures
    assert found.ess_bulk_min > 1500


def same(one, other):
    pairs = [(one.values[n], other.values[n]) for n in one.values]
    return [np.array_equal(a, b) for a, b in [*pairs, (one.stats["lp"], other.stats["lp"])]]


def test_the_seed_decides_everything_and_the_chain_method_nothing(small_problem):
    how = {"chains": 2, "warmup": 40, "draws": 30}
    first = draw(small_problem, seed=1, **how)
    assert all(same(first, draw(small_problem, seed=1, **how)))
    assert all(same(first, draw(small_problem, seed=1, chain_method="sequential", **how)))
    assert not any(same(first, draw(small_problem, seed=2, **how)))
    assert not np.any(first.values["sigma"][0] == first.values["sigma"][1])


def test_a_chain_does_not_depend_on_how_many_there_are(small_problem):
    few = draw(small_problem, seed=1, chains=1, warmup=40, draws=30)
    more = draw(small_problem, seed=1, chains=3, warmup=40, draws=30, cores=1)
    assert np.array_equal(few.values["beta"][0], more.values["beta"][0])
    assert more.settings["cores"] == 1


def test_a_warmup_of_one_leaves_the_proposal_at_the_mode(small_problem):
    draws = draw(small_problem, chains=1, warmup=1, draws=1)
    assert draws.settings["adaptation_rounds"] == 0
    assert draws.values["beta"].shape == (1, 1, 2)


@pytest.mark.parametrize("method", ["sequential", "parallel"])
def test_a_callback_that_fails_ends_the_run(small_problem, method):
    def interrupt(event):
        if event.phase == "sampling":
            raise KeyboardInterrupt

    config = SamplerConfig(chains=2, warmup=10, draws=30, chain_method=method)
    with pytest.raises(KeyboardInterrupt):
        compiled(small_problem).sample(config, interrupt)


def test_the_reference_alone_names_the_sampler():
    found = Contender.parse_sampler("reference", ["g"])
    assert (found.engine, found.chain_method) == ("reference:exact", "parallel")
    with pytest.raises(Unsupported, match="cannot run vectorized: never"):
        Contender.parse("reference@vectorized", ["g"])


@pytest.mark.parametrize(
    ("family", "priors", "message"),
    [
        ("student_t", {}, "cannot run student_t sampling"),
        ("gaussian", {"beta[Intercept]": "Cauchy(0, 1)"}, r"beta\[Intercept\] is Cauchy"),
    ],
)
def test_what_is_not_gaussian_has_densities_and_no_sampler(small_table, family, priors, message):
    problem = Problem(
        ModelSpec.from_formula("y ~ x + (x || g/h)", family=family, priors=priors), small_table
    )
    with pytest.raises(Unsupported, match=message):
        compiled(problem)
    compiled(problem, sampler=None)


def test_too_many_scales_are_refused():
    table = pd.DataFrame(
        {"g": [f"n{i // 4}" for i in range(160)], "h": [str(i % 2) for i in range(160)]}
    )
    table["y"] = np.random.default_rng(0).normal(size=160)
    spec = ModelSpec.from_formula("y ~ 1 + (1 || g/h)", scale="parent")
    with pytest.raises(Unsupported, match=f"up to {LARGEST_DIMENSION} scales.* has 42"):
        compiled(Problem(spec, table))


@pytest.mark.parametrize("sigma", [None, "1e-5"])
def test_a_sigma_that_may_vanish_costs_no_digits(sigma):
    """With one row in each group nothing keeps the residuals from zero."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"g": np.arange(40).astype(str), "x": rng.normal(size=40)})
    table["y"] = table.x + rng.normal(size=40)
    priors = {} if sigma is None else {"sigma": sigma}
    problem = Problem(ModelSpec.from_formula("y ~ x + (1 || g)", priors=priors), table)
    draws = draw(problem, chains=2, warmup=100, draws=200)
    if sigma is None:
        assert draws.values["sigma"].min() < 1e-2 * problem.y.std()
    density = compiled(problem, sampler=None).log_density
    check = check_sampled_density(problem, "exact", "float64", draws.values, draws.stats, density)
    assert check.same


def test_a_posterior_that_no_proposal_fits_fails_and_says_what_to_do(small_problem, monkeypatch):
    """Proposals far too narrow: nearly all of the posterior is left to a few of them."""
    from nestor_exact import sampling as exact
    from nestor_exact.mixture import Mixture

    def narrow(theta, rng):
        d = len(theta)
        return theta, Mixture(
            np.ones(1), np.zeros((1, d)), 0.05 * np.eye(d)[None], np.array([30.0])
        )

    monkeypatch.setattr(exact, "laplace_mixture", narrow)
    with pytest.raises(EngineFailed, match=r"Pareto k .* above 0\.7.*use a sampler"):
        draw(small_problem, warmup=1)
