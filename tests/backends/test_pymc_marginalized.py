"""The PyMC backend's samplers on scales alone, and coefficients drawn exactly afterwards."""

from functools import cache

import numpy as np
import pytest
from gaussian_trees import gaussian_problems, random_scales
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nestor.backend import SamplerConfig, SupportsLazyDraws
from nestor.engines.formulation import Formulation
from nestor_reference import conditional_dense, conditional_mean, log_marginal

pytest.importorskip("pymc")
pytest.importorskip("nutpie")

from pymc_problems import (
    QUICK,
    compiled,
    flat,
    log_prior,
    reference_model,
    two_levels,
    wide_problem,
)

from nestor_pymc.data import LeafRows
from nestor_pymc.model import build_model
from nestor_pymc.recovery import ConditionalDraws, ConditionalSampler, DrawNoise
from nestor_pymc.variables import Variables

SEEDS = st.integers(0, 2**32)
SAMPLERS = ("nutpie", "pymc")
#: Of a wrong alarm, over all comparisons of a test.
CHANCE = 1e-5


@cache
def _sampling(sampler, words="marginalized"):
    return compiled(two_levels(), words.split(), sampler)


CONFIG = SamplerConfig(chains=2, warmup=100, draws=60, seed=3, chain_method="sequential")


@cache
def _run(sampler, words="marginalized"):
    return _sampling(sampler, words).sample(CONFIG)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_only_scales_are_sampled(sampler):
    density = _sampling(sampler).target_density()
    n_parents = two_levels().levels[0].n
    assert density.dimension == 2 + n_parents + 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_gradient_is_the_values(sampler):
    """Central differences of step h err by eps |f| / h + h^2 |f'''| / 6, f''' here at most of f's size."""
    density = _sampling(sampler).target_density()
    z = 0.3 * np.random.default_rng(3).standard_normal(density.dimension)
    value, gradient = density.value_and_gradient(z)
    h = np.finfo(float).eps ** (1 / 3)
    tolerance = 20 * (np.finfo(float).eps * abs(value) / h + h**2 * abs(value))
    assert tolerance < 1e-6 * np.abs(gradient).max(), "it would find a wrong term"
    for i, step in enumerate(h * np.eye(len(z))):
        up, down = (density.value_and_gradient(z + sign * step)[0] for sign in (1, -1))
        assert (up - down) / (2 * h) == pytest.approx(gradient[i], abs=tolerance)


@pytest.mark.parametrize("scale", ["level", "parent"])
def test_the_gradient_of_four_effects_and_covariates(scale):
    """PyTensor's gradient of the graph, in Python; the bound is that of the test above."""
    import pytensor
    from pytensor.compile.mode import Mode

    problem = wide_problem(scale)
    formulation = Formulation.marginalized(problem.spec.level_names)
    model, _ = build_model(Variables(problem, formulation), transformed=True)
    value = model.logp()
    gradient = pytensor.grad(value, model.value_vars)
    outputs = [value, *(g.ravel() for g in gradient)]
    function = pytensor.function(
        model.value_vars, outputs, mode=Mode(linker="py", optimizer=None), on_unused_input="ignore"
    )
    rng = np.random.default_rng(3)
    point = [np.array(0.3 * rng.standard_normal(v.type.shape)) for v in model.value_vars]
    value, *parts = function(*point)
    found = np.concatenate(parts)
    h = np.finfo(float).eps ** (1 / 3)
    tolerance = 20 * (np.finfo(float).eps * abs(value) / h + h**2 * abs(value))
    assert tolerance < 1e-6 * np.abs(found).max(), "it would find a wrong term"
    position = 0
    for array in point:
        for i in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                array[i] += sign * h
                ends.append(function(*point)[0])
                array[i] -= sign * h
            assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(found[position], abs=tolerance)
            position += 1


@pytest.mark.parametrize("words", ["marginalized", "statistics"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_lp_less_the_log_jacobian_is_the_density_of_the_draw(sampler, words):
    run, problem = _run(sampler, words), two_levels()
    for chain, draw in ((0, 0), (0, 59), (1, 30)):
        point = {name: array[chain, draw] for name, array in run.values.items()}
        if words == "marginalized":
            expected = float(log_marginal(problem, point)) + log_prior(problem, point)
        else:
            expected = reference_model(problem).log_density(point)
        found = run.stats["lp"][chain, draw] - run.stats["log_jacobian"][chain, draw]
        assert found == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_draws_have_every_variable_and_inherited_entries(sampler):
    run, problem = _run(sampler), two_levels()
    assert {n: v.shape for n, v in run.values.items()} == {
        n: (2, 60, *v.shape) for n, v in problem.variables.items()
    }
    parent = problem.levels[1].parent
    below, above = run.values["beta_level1"], run.values["beta_level0"]
    np.testing.assert_array_equal(below[..., 1], above[..., parent, 1])
    assert not np.any(below[..., 0] == above[..., parent, 0])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_seed_decides_the_coefficients_too(sampler):
    again = _sampling(sampler).sample(CONFIG)
    for name, array in _run(sampler).values.items():
        np.testing.assert_array_equal(again.values[name], array)
        assert not np.any(array[0] == array[1])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_coefficients_may_be_left_for_later(sampler):
    model, whole = _sampling(sampler), _run(sampler)
    assert isinstance(model, SupportsLazyDraws)
    assert whole.deferred is None
    draws = model.with_lazy_draws().sample(CONFIG)
    coefficients = {"beta", "beta_level0", "beta_level1"}
    assert set(draws.values) == set(whole.values) - coefficients
    assert draws.deferred.shapes == {n: whole.values[n].shape for n in coefficients}
    for chain, first, values in draws.deferred.blocks():
        assert set(values) == coefficients
        for name, block in values.items():
            expected = whole.values[name][chain, first : first + len(block)]
            np.testing.assert_array_equal(block, expected)


def test_what_an_earlier_look_left_is_its_own():
    config = SamplerConfig(chains=2, warmup=100, draws=20, seed=3)
    parts = list(_sampling("nutpie").with_lazy_draws().sample_until(config, (20, 60)))
    made = [part.deferred.load() for part in reversed(parts)]
    joined = np.concatenate([m["beta_level1"] for m in reversed(made)], axis=1)
    np.testing.assert_allclose(joined, _run("nutpie").values["beta_level1"], rtol=1e-12)


def test_sampled_coefficients_are_never_left_for_later():
    draws = _sampling("nutpie", "statistics").with_lazy_draws().sample(CONFIG)
    assert draws.deferred is None
    assert set(draws.values) == set(two_levels().variables)


def test_another_outcome_is_deferred_too():
    model = _sampling("nutpie").with_lazy_draws().with_outcome(two_levels().y[::-1])
    assert model.sample(CONFIG).deferred is not None


def test_looks_go_on_with_the_stream():
    config = SamplerConfig(chains=2, warmup=100, draws=20, seed=3)
    parts = list(_sampling("nutpie").sample_until(config, (20, 35, 60)))
    for name, array in _run("nutpie").values.items():
        joined = np.concatenate([part.values[name] for part in parts], axis=1)
        np.testing.assert_array_equal(joined, array)


@pytest.mark.parametrize("words", ["marginalized", "statistics"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_another_outcome_takes_the_same_functions(sampler, words, monkeypatch):
    import nutpie
    from pymc.model.core import ValueGradFunction

    model, problem = _sampling(sampler, words), two_levels()
    before = _run(sampler, words)
    y = 3.0 - 2.0 * problem.y

    def refuse(*_, **__):
        raise AssertionError("compiled again")

    monkeypatch.setattr(nutpie, "compile_pymc_model", refuse)
    monkeypatch.setattr(ValueGradFunction, "__init__", refuse)
    run = model.with_outcome(y).sample(CONFIG)
    point = {name: array[0, 5] for name, array in run.values.items()}
    other = problem.with_outcome(y)
    if words == "marginalized":
        expected = float(log_marginal(other, point)) + log_prior(other, point)
    else:
        expected = reference_model(other).log_density(point)
    found = run.stats["lp"][0, 5] - run.stats["log_jacobian"][0, 5]
    assert found == pytest.approx(expected, rel=1e-8)
    again = model.sample(CONFIG)
    for name, array in before.values.items():
        np.testing.assert_array_equal(again.values[name], array)


# ---------------------------------------------------------------------------------------------------
# ConditionalSampler: exact whatever the scales


@QUICK
@given(problem=gaussian_problems(), seed=SEEDS)
def test_coefficients_have_the_conditional_mean_and_covariance(problem, seed):
    _check_moments(problem, random_scales(problem, np.random.default_rng(seed)))


@pytest.mark.parametrize("scale", ["level", "parent"])
def test_so_have_four_effects(scale):
    problem = wide_problem(scale)
    _check_moments(problem, random_scales(problem, np.random.default_rng(1)))


def _check_moments(problem, scales):
    """The way down is linear in its noise: unit vectors of noise give the covariance's square root."""
    recovery = ConditionalSampler(problem, LeafRows.of(problem))
    n = recovery.noise
    many = {name: np.repeat(a[None], n + 1, axis=0) for name, a in scales.items()}
    found = flat(problem, recovery.given(many, np.eye(n + 1, n, -1)), (n + 1,))
    dense = conditional_dense(problem, scales)
    sd = np.sqrt(np.diag(dense.covariance)) + 1e-6
    mean = flat(problem, conditional_mean(problem, scales), ())
    assert np.all(np.abs(found[0] - mean) <= 1e-8 * (np.abs(mean) + sd))
    root = found[1:] - found[0]
    assert np.all(np.abs(root.T @ root - dense.covariance) <= 1e-7 * np.outer(sd, sd))


def test_draws_have_these_moments_and_siblings_noise_is_independent():
    problem = two_levels("+ z")
    scales = random_scales(problem, np.random.default_rng(7), spread=0.3)
    n = 20_000
    many = {name: np.broadcast_to(a, (1, n, *a.shape)) for name, a in scales.items()}
    drawn = ConditionalDraws(ConditionalSampler(problem, LeafRows.of(problem)), many, 0, 11).load()
    draws = flat(problem, drawn, (1, n))[0]
    dense = conditional_dense(problem, scales)
    mean = flat(problem, dense.mean, ())
    sd = np.sqrt(np.diag(dense.covariance))
    random = sd > 0
    z = (draws[:, random] - mean[random]) / sd[random]
    correlation = (dense.covariance / np.outer(sd, sd + (sd == 0)))[np.ix_(random, random)]
    # The variance of a product of standard normal numbers of correlation r is 1 + r^2 (Isserlis).
    apart = (z.T @ z / n - correlation) / np.sqrt((1 + correlation**2) / n)
    bound = stats.norm.isf(CHANCE / 2 / (len(correlation) * (len(correlation) + 1)))
    assert np.abs(z.mean(axis=0)).max() * np.sqrt(n) < bound
    assert np.abs(apart).max() < bound


@pytest.fixture
def nine_draws():
    problem = two_levels("+ z")
    return problem, random_scales(problem, np.random.default_rng(8), 2, 9)


def test_draws_do_not_depend_on_blocks(nine_draws, monkeypatch):
    problem, scales = nine_draws
    rows = LeafRows.of(problem)
    whole = ConditionalDraws(ConditionalSampler(problem, rows), scales, 0, 5)
    assert len(list(whole.blocks())) == 2
    monkeypatch.setattr("nestor_pymc.recovery._CHUNK_BYTES", 1)
    parts = ConditionalDraws(ConditionalSampler(problem, rows), scales, 0, 5)
    assert len(list(parts.blocks())) == 18
    again = parts.load()
    for name, array in whole.load().items():
        # Sums in another order of an array of another shape: some rounding errors.
        np.testing.assert_allclose(again[name], array, rtol=1e-12)
        assert not np.any(array[0] == array[1])


def test_blocks_are_the_same_each_time_and_each_draw_has_its_number(nine_draws):
    problem, scales = nine_draws
    recovery = ConditionalSampler(problem, LeafRows.of(problem))
    whole = ConditionalDraws(recovery, scales, 3, 5)
    found = whole.load()
    later = ConditionalDraws(recovery, {name: a[:, 4:] for name, a in scales.items()}, 7, 5).load()
    other = ConditionalDraws(recovery, scales, 4, 5).load()
    for name, array in whole.load().items():
        np.testing.assert_array_equal(array, found[name])
        np.testing.assert_allclose(later[name], array[:, 4:], rtol=1e-12)
        assert not np.any(other[name] == array)


def test_noise_of_a_draw_is_its_own_in_any_order():
    noise = DrawNoise(3, 1)
    whole = noise(range(6), 5)
    assert len(np.unique(whole)) == 30
    np.testing.assert_array_equal(noise(range(4, 6), 3), whole[4:, :3])
    np.testing.assert_array_equal(noise(range(2), 5), whole[:2])
    for seed, chain in ((4, 1), (3, 0)):
        assert not np.any(np.isin(DrawNoise(seed, chain)(range(6), 5), whole))
