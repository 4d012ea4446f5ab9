"""The numba backend's own parts: layout, logs by exponents, recovery, what it defers and refuses."""

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
from edges import CASES, EDGES
from many_digits import slopes_of_marginal, slopes_of_priors

from nestor.backend import SamplerConfig, SupportsLazyDraws
from nestor.engines.formulation import Formulation
from nestor.errors import SpecError
from nestor_numba import NumbaBackend
from nestor_numba.kernels.priors import WIDTH, table
from nestor_numba.layout import Slots
from nestor_reference import conditional_mean


def compiled(problem, sampler="nutpie"):
    return NumbaBackend().compile(
        problem,
        Formulation.marginalized(problem.spec.level_names),
        sampler=sampler,
        device="cpu",
        dtype="float64",
    )


@pytest.fixture(scope="module")
def model(small_problem):
    return compiled(small_problem)


@pytest.mark.parametrize("lanes", [4, 8])
@pytest.mark.parametrize(
    "children", [[1], [5], [200], [1] * 30, [3, 1, 40, 2, 2, 7], list(range(1, 60)), [500, 1, 1]]
)
def test_every_node_has_a_slot_of_its_own_in_the_lane_of_its_parent(children, lanes):
    parent = np.repeat(np.arange(len(children)), children)
    found = Slots.of(parent, len(children), lanes)
    assert len(set(found.slot.tolist())) == len(parent)
    assert found.size % lanes == 0
    # The last lanes are nobody's: families that do not exist look there.
    assert found.slot.max() < found.size - lanes
    for node, slot in enumerate(found.slot):
        group = int(np.searchsorted(found.first, slot, side="right")) - 1
        child, lane = divmod(int(slot) - int(found.first[group]), lanes)
        assert child < found.count[group]
        assert found.parent[group * lanes + lane] == parent[node]


def test_few_slots_are_empty_where_families_differ():
    children = np.random.default_rng(1).poisson(18, 131) + 1
    found = Slots.of(np.repeat(np.arange(131), children), 131, 8)
    assert found.size < 1.15 * children.sum()


def test_groups_say_whether_they_hold_parts_of_families():
    cut = Slots.of(np.zeros(500, np.int64), 1, 8)
    assert cut.cut.all()
    whole = Slots.of(np.arange(64), 64, 8)
    assert not whole.cut.any()


def check_gradient(walked, z):
    """Against central differences, whose errors are rounding over the step and its square."""
    value, gradient = walked.value_and_gradient(z)
    step = 1e-5
    numeric = [
        (walked.value_and_gradient(z + step * e)[0] - walked.value_and_gradient(z - step * e)[0])
        / (2 * step)
        for e in np.eye(walked.dimension)
    ]
    size = max(abs(value), np.abs(gradient).max())
    tolerance = 30 * size * (np.finfo(float).eps / step + step**2)
    assert np.isfinite(value)
    assert tolerance < 1e-5 * np.abs(gradient).max(), "it would find a wrong term"
    assert gradient == pytest.approx(numeric, abs=tolerance)


def test_a_sampler_starts_where_the_density_is_finite(model):
    walked = model.target_density()
    check_gradient(walked, walked.start + 0.1)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.how == "usual" and not c.simulated], ids=str
)
def test_gradients_are_those_of_the_density_on_every_kind_of_tree(case):
    walked = compiled(case.problem).target_density()
    check_gradient(walked, walked.start)


@pytest.mark.parametrize("edge", EDGES)
def test_gradients_are_exact_at_the_edges(edge):
    """To 1e-8 of the density's or the gradient's size; all scales here are walked on as logarithms.

    Beside outcomes 10^9 times larger than sigma a residual is rounded by a share of it. The slope by log
    sigma is a sum of N squared residuals over sigma, of about 1 each, that are rounded independently: by some
    2 sqrt(N) times half a share; allowed is twice that.
    """
    for case in (c for c in CASES if c.edge == edge and c.simulated):
        model = compiled(case.problem, sampler=None)
        scales = model.posterior.scales
        z = scales.unconstrain(scales.flat(case.scales))
        value, gradient = model.posterior.density(z)
        likelihood = slopes_of_marginal(case.problem, case.scales)
        prior = slopes_of_priors(case.problem, case.scales)
        exact = scales.flat({name: likelihood[name] + prior[name] + 1.0 for name in likelihood})
        size = max(1.0, abs(value), np.abs(exact).max())
        share = np.finfo(float).eps * np.abs(case.problem.y).max() / case.scales.get("sigma", 1.0)
        rounding = 2 * np.sqrt(case.problem.n_rows) * share
        assert gradient == pytest.approx(exact, abs=1e-8 * size + rounding), case


@pytest.mark.parametrize(
    "prior",
    [
        "HalfNormal(2)",
        "HalfStudentT(3, 2)",
        "HalfCauchy(2)",
        "Exponential(0.7)",
        "Gamma(2, 0.5)",
        "InverseGamma(3, 2)",
        "LogNormal(0.3, 0.8)",
        "Uniform(0.1, 4)",
    ],
)
def test_coefficients_of_priors_give_their_densities(prior):
    from nestor.model.priors import Prior

    parsed = Prior.parse(prior)
    (row,) = table([parsed])
    assert len(row) == WIDTH
    x = np.array([0.2, 1.0, 3.1])
    u = np.log(x)
    found = row[0] + row[1] * u + row[2] * u**2 + row[3] * x + row[4] * x**2 + row[5] / x
    found += row[6] * np.log1p(row[7] * x**2)
    assert found == pytest.approx(parsed.scipy().logpdf(x), rel=1e-13)


def test_the_same_seed_gives_the_same_draws_in_memory_and_deferred(model):
    config = SamplerConfig(chains=2, warmup=50, draws=60, seed=3)
    whole = model.sample(config)
    assert isinstance(model, SupportsLazyDraws)
    later = model.with_lazy_draws().sample(config)
    assert later.deferred is not None
    assert set(later.values) | set(later.deferred.shapes) == set(whole.values)
    made = later.deferred.load()
    for name, array in made.items():
        assert later.deferred.shapes[name] == array.shape
        assert np.array_equal(array, whole.values[name])


def test_another_outcome_is_deferred_too(model):
    config = SamplerConfig(chains=1, warmup=20, draws=5, seed=3)
    other = model.with_lazy_draws().with_outcome(model.problem.y[::-1])
    assert other.sample(config).deferred is not None


@pytest.mark.parametrize(
    ("how", "cores"),
    [
        ({}, 4),
        ({"cores": 2}, 2),
        ({"cores": 9}, 4),
        ({"chain_method": "sequential"}, 1),
        ({"chain_method": "sequential", "cores": 3}, 1),
    ],
)
def test_coefficients_are_drawn_on_the_cores_that_the_run_may_use(model, monkeypatch, how, cores):
    """On a machine of four cores, one draw at a time."""
    monkeypatch.setattr("nestor_numba.recovery.usable_cores", lambda: range(4))
    monkeypatch.setattr("nestor_numba.recovery._NOISE", 1)
    recover, threads, all_at_once = type(model.posterior).recover, [], threading.Barrier(cores)

    def watched(self, z, noise, values):
        recover(self, z, noise, values)
        threads.append(threading.current_thread())
        if len(threads) <= cores:
            all_at_once.wait(timeout=20.0)

    monkeypatch.setattr(type(model.posterior), "recover", watched)
    config = SamplerConfig(chains=2, warmup=20, draws=5, seed=3, **how)
    deferred = model.with_lazy_draws().sample(config).deferred
    made = deferred.load()
    assert len(threads) == 10
    assert len(set(threads)) == cores
    assert (threading.current_thread() in threads) == (cores == 1)
    for name, array in replace(deferred, cores=3).load().items():
        assert np.array_equal(array, made[name])


def test_looks_draw_the_coefficients_of_one_run(model):
    config = SamplerConfig(chains=2, warmup=50, draws=30, seed=4)
    parts = list(model.sample_until(config, (30, 70)))
    whole = model.sample(SamplerConfig(chains=2, warmup=50, draws=70, seed=4))
    for name, array in whole.values.items():
        joined = np.concatenate([part.values[name] for part in parts], axis=1)
        assert np.array_equal(joined, array)


def test_coefficients_are_exact_draws_given_the_scales(small_problem, model):
    """Standardized by the spread of many draws at the same scales, their means are off by chance."""
    posterior = model.posterior
    point = {
        v.name: np.full(v.shape, 0.7)
        for v in small_problem.variables.values()
        if v.role in ("scale", "family")
    }
    n = 4000
    z = np.tile(posterior.scales.unconstrain(posterior.scales.flat(point)), (1, n, 1))
    from nestor_numba.recovery import ConditionalDraws

    found = ConditionalDraws(posterior, z, 0, 1, cores=2).load()
    means = conditional_mean(small_problem, point)
    scores = []
    for name, exact in means.items():
        draws = found[name][0]
        random = small_problem.variables[name].random
        sd = draws.std(axis=0)[random]
        scores.append((draws.mean(axis=0) - exact)[random] / sd * math.sqrt(n))
    worst = np.abs(np.concatenate(scores)).max()
    # Bonferroni over the coefficients, at a false alarm in 10,000.
    from scipy.stats import norm

    assert worst < norm.isf(0.5e-4 / len(np.concatenate(scores)))


def test_looks_must_increase(model):
    with pytest.raises(SpecError, match="increase"):
        next(model.sample_until(SamplerConfig(chains=1, draws=5, warmup=5), (5, 5)))
