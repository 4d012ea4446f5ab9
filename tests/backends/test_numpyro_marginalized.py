"""NumPyro with coefficients integrated out: density, gradient, and the coefficients drawn afterwards."""

from dataclasses import replace

import gaussian_trees
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nestor import ModelSpec, Problem, SamplerConfig, Unsupported
from nestor.backend import SupportsLazyDraws
from nestor.engines.formulation import Formulation
from nestor_numpyro import NumPyroBackend
from nestor_reference import ReferenceBackend, conditional_dense, conditional_mean, log_marginal

jax = pytest.importorskip("jax")
pytest.importorskip("numpyro")

BASE = {"chains": 2, "warmup": 40, "draws": 30, "seed": 3, "max_tree_depth": 4}


def _problem(formula="y ~ x1 + z + (x1 || level0/level1)", **arguments):
    arguments = {"offset": "o", "weights": "w"} | arguments
    table = gaussian_trees.random_table(2, np.random.default_rng(5))
    return Problem(ModelSpec.from_formula(formula, **arguments), table)


CASES = {
    "two effects": {},
    "one effect, one level": {"formula": "y ~ 1 + z + (1 || level0)"},
    "three effects, scales per parent": {
        "formula": "y ~ x1 + (x1 + x2 || level0) + (1 + x2 || level0/level1)",
        "scale": "parent",
        "priors": {"sigma": 0.8},
    },
}


def _compile(problem, sampler="nuts", dtype="float64", backend=None):
    formulation = Formulation.marginalized(problem.spec.level_names)
    backend = backend or NumPyroBackend()
    return backend.compile(problem, formulation, sampler=sampler, device="cpu", dtype=dtype)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    problem = _problem(**CASES[request.param])
    return problem, _compile(problem)


@pytest.fixture(scope="module")
def model():
    return _compile(_problem())


def _scales(problem, seed=1):
    return gaussian_trees.random_scales(problem, np.random.default_rng(seed))


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(problem=gaussian_trees.gaussian_problems(), seed=st.integers(0, 1000))
def test_marginal_density_of_random_trees(problem, seed):
    from nestor_numpyro.marginal import scales_of
    from nestor_numpyro.messages import pass_up
    from nestor_numpyro.tree import build_tree, tree_arrays

    scales = _scales(problem, seed)
    tree, places = build_tree(problem)
    with jax.enable_x64(True):
        data = jax.tree.map(jax.numpy.asarray, tree_arrays(problem, places))
        at = jax.tree.map(jax.numpy.asarray, scales)
        found = float(pass_up(tree, data, *scales_of(problem, at)).log_marginal)
    expected = float(log_marginal(problem, scales))
    assert found == pytest.approx(expected, abs=1e-10 * max(1.0, abs(expected)))


def test_density_is_joint_less_conditional_at_any_coefficients(case):
    """log p(y, theta) = log p(y, beta, theta) - log p(beta | y, theta), the latter by dense matrices."""
    problem, model = case
    rows = Formulation.parse([], problem.spec.level_names)
    joint = ReferenceBackend().compile(problem, rows, sampler=None, device="cpu", dtype="float64")
    rng = np.random.default_rng(8)
    for seed in range(3):
        scales = _scales(problem, seed)
        dense = conditional_dense(problem, scales)
        random = np.concatenate([problem.variables[n].random.ravel() for n in dense.mean])
        covariance = dense.covariance[np.ix_(random, random)]
        mean = np.concatenate([v.ravel() for v in dense.mean.values()])
        away = np.linalg.cholesky(covariance) @ rng.normal(size=len(covariance))
        mean[random] += away
        ends = np.cumsum([v.size for v in dense.mean.values()])[:-1]
        parts = zip(dense.mean.items(), np.split(mean, ends), strict=True)
        point = scales | {n: part.reshape(v.shape) for (n, v), part in parts}
        _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
        conditional = -0.5 * (log_det + away @ np.linalg.solve(covariance, away))
        expected = joint.log_density(point) - conditional
        assert model.log_density(scales) == pytest.approx(expected, rel=1e-8)
        assert model.log_density(point) == model.log_density(scales)


def test_density_outside_the_support(model):
    scales = _scales(model.problem)
    assert model.log_density(scales | {"sigma": np.array(-1.0)}) == -np.inf


def test_gradient_equals_finite_differences(case):
    _, model = case
    density = model.target_density()
    z, h = density.start, 1e-5
    _, gradient = density.value_and_gradient(z)
    for j, unit in enumerate(np.eye(len(z))):
        ahead, behind = (density.value_and_gradient(z + s * h * unit)[0] for s in (1, -1))
        # Of the central difference: rounding eps |value| / h and h^2 times the third derivative.
        assert gradient[j] == pytest.approx((ahead - behind) / (2 * h), rel=1e-6, abs=1e-6)


def test_no_program_of_the_sampler_scatters(case):
    """A scatter is what makes gathers and segment sums slow; sums over children need none."""
    import jax.numpy as jnp

    from nestor_numpyro.marginal import scales_of
    from nestor_numpyro.messages import pass_up

    problem, model = case
    tree = model.form.recovery.tree

    def density(scales, data):
        return pass_up(tree, data, *scales_of(problem, scales)).log_marginal

    with model.execution.scope():
        at = jax.tree.map(jnp.asarray, _scales(problem))
        text = jax.jit(jax.value_and_grad(density)).lower(at, model.data).as_text()
    assert "gather" in text or len(problem.levels) == 1
    assert "scatter" not in text


def _recovered(model, scales, noise):
    with model.execution.scope():
        at = jax.tree.map(jax.numpy.asarray, scales)
        return model.form.recovery.draw(model.data, at, noise)


def test_without_noise_the_coefficients_are_the_conditional_means(case):
    problem, model = case
    scales = _scales(problem)
    found = _recovered(model, scales, lambda _, shape: np.zeros(shape))
    expected = conditional_mean(problem, scales)
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-10)


def test_coefficients_move_with_their_noise_as_their_covariance_says(case):
    """They are linear in independent noise: the Jacobian times its transpose is their covariance."""
    problem, model = case
    scales = _scales(problem)
    shapes = {}

    def keep(number, shape):
        shapes[number] = shape
        return np.zeros(shape)

    order = list(_recovered(model, scales, keep))
    covariance = conditional_dense(problem, scales)

    def flat(noise):
        found = _recovered(model, scales, lambda number, _: noise[number])
        return jax.numpy.concatenate([found[name].ravel() for name in covariance.mean])

    assert set(order) == set(covariance.mean)
    with model.execution.scope():
        zeros = {number: jax.numpy.zeros(shape) for number, shape in shapes.items()}
        jacobian = jax.jacobian(flat)(zeros)
    J = np.concatenate([j.reshape(len(j), -1) for j in jacobian.values()], axis=1)
    scale = np.abs(covariance.covariance).max()
    np.testing.assert_allclose(J @ J.T, covariance.covariance, rtol=0, atol=1e-9 * scale)


def test_draws_given_one_set_of_scales_have_their_moments(model):
    """Noise of different nodes and draws is independent, and standard normal."""
    from nestor_numpyro.recovery import recovery_words

    problem, n = model.problem, 4000
    scales = _scales(problem)
    with model.execution.scope():
        repeated = {name: np.repeat(v[None], n, axis=0) for name, v in scales.items()}
        program = jax.jit(model.form.recovery.program(n))
        number = np.uint32(0)
        drawn = program(recovery_words(3), number, number, repeated, model.data)
    dense = conditional_dense(problem, scales)
    values = np.concatenate([np.asarray(drawn[m]).reshape(n, -1) for m in dense.mean], axis=1)
    mean = np.concatenate([v.ravel() for v in dense.mean.values()])
    inverse = np.linalg.pinv(np.linalg.cholesky(dense.covariance + 1e-12 * np.eye(len(mean))))
    white = (values - mean) @ inverse.T
    # Means and covariances of n standard normal vectors have errors of 1 / sqrt(n); 5 of them among
    # some thousand numbers.
    assert np.abs(white.mean(axis=0)).max() < 5 / np.sqrt(n)
    off = white.T @ white / n - np.eye(len(mean))
    assert np.abs(off).max() < 5 * np.sqrt(2 / n)
    # No number is used for two draws.
    assert len(np.unique(values[:, 0])) == n


@pytest.fixture(scope="module")
def drawn(model):
    return model.sample(SamplerConfig(**BASE, chain_method="sequential"))


def test_what_was_sampled_is_the_references_density(model, drawn):
    reference = _compile(model.problem, None, backend=ReferenceBackend())
    lp = drawn.stats["lp"] - drawn.stats["log_jacobian"]
    for at in np.ndindex(*lp.shape):
        expected = reference.log_density({n: v[at] for n, v in drawn.values.items()})
        assert lp[at] == pytest.approx(expected, rel=1e-9)
    assert set(drawn.values) == set(model.problem.variables)
    for name, variable in model.problem.variables.items():
        assert drawn.values[name].shape == (2, 30, *variable.shape)


def test_chains_side_by_side_are_the_same_ones(model, drawn):
    other = model.sample(SamplerConfig(**BASE, chain_method="parallel"))
    for name, values in drawn.values.items():
        np.testing.assert_array_equal(other.values[name], values)
    assert not np.array_equal(drawn.values["beta"][0], drawn.values["beta"][1])


def test_chunks_change_nothing(model, drawn, monkeypatch):
    from nestor_numpyro import programs, recovery

    monkeypatch.setattr(recovery, "CHUNK_BYTES", 40_000)
    config = SamplerConfig(**BASE, chain_method="sequential")
    (plan,) = model.programs
    was = model.programs[plan]
    one = {n: drawn.values[n][0, 0] for n in was.variables}
    with model.execution.scope():
        scales = {n: jax.ShapeDtypeStruct(v.shape, v.dtype) for n, v in one.items()}
        recover, chunk = programs.compile_recovery(
            model.form.recovery, scales, model.data, plan.draws
        )
    assert 1 < chunk < 30 == was.chunk
    monkeypatch.setitem(model.programs, plan, replace(was, recover=recover, chunk=chunk))
    other = model.sample(config)
    for name, values in drawn.values.items():
        np.testing.assert_allclose(other.values[name], values, rtol=1e-10, atol=1e-10)


def test_coefficients_may_be_left_for_later(model, drawn):
    assert isinstance(model, SupportsLazyDraws)
    assert drawn.deferred is None
    config = SamplerConfig(**BASE, chain_method="sequential")
    draws = model.with_lazy_draws().sample(config)
    coefficients = {
        v.name for v in model.problem.variables.values() if v.role in ("population", "node")
    }
    assert set(draws.values) == set(drawn.values) - coefficients
    assert draws.deferred.shapes == {n: drawn.values[n].shape for n in coefficients}
    for _ in range(2):
        # Whatever JAX's switches are where the blocks are made.
        with jax.enable_x64(False):
            blocks = list(draws.deferred.blocks())
            assert jax.numpy.ones(1).dtype == np.float32
        for chain, first, values in blocks:
            assert set(values) == coefficients
            for name, block in values.items():
                expected = drawn.values[name][chain, first : first + len(block)]
                np.testing.assert_array_equal(block, expected)


def test_the_last_chunk_is_filled_up_and_cut(model, drawn):
    config = SamplerConfig(**BASE, chain_method="sequential")
    deferred = model.with_lazy_draws().sample(config).deferred
    scales = {name: values[:, 7:] for name, values in deferred.scales.items()}
    part = replace(deferred, scales=scales, first=7)
    assert deferred.chunk > part.shapes["beta"][1]
    for name, values in part.load().items():
        np.testing.assert_allclose(values, drawn.values[name][:, 7:], rtol=1e-10, atol=1e-10)


def test_what_an_earlier_look_left_is_its_own(model):
    config = SamplerConfig(**BASE, chain_method="sequential")
    whole = [part.values for part in model.sample_until(config, [30, 50, 65])]
    # More draws than the buffers hold: their rows are others' by the time that these are made.
    parts = list(model.with_lazy_draws().sample_until(config, [30, 50, 65]))
    for values, part in zip(whole, parts, strict=True):
        for name, made in part.deferred.load().items():
            np.testing.assert_array_equal(made, values[name])


def test_memory_on_the_device_is_read_after_the_coefficients_are_made(model, monkeypatch):
    peaks = iter([10, 20])
    monkeypatch.setattr(type(model.execution), "peak_bytes", lambda _: next(peaks))
    draws = model.sample(SamplerConfig(**BASE, chain_method="sequential"))
    assert draws.device_peak_bytes == 20


def test_a_later_look_has_noise_of_its_own(model, drawn):
    """Draw 32 is made from the key of draw 32, wherever the buffers hold it."""
    from nestor_numpyro.recovery import _normal, recovery_words

    config = SamplerConfig(**BASE, chain_method="sequential")
    first, more = model.sample_until(config, [30, 35])
    np.testing.assert_array_equal(first.values["beta_level1"], drawn.values["beta_level1"])
    with model.execution.scope():
        key = jax.random.wrap_key_data(recovery_words(BASE["seed"]), impl="threefry2x32")
        key = jax.random.fold_in(jax.random.fold_in(key, 1), 32)
        at = {v: more.values[v][1, 2] for v in model.form.variables}
        expected = _recovered(model, at, _normal(key))
    for name, values in expected.items():
        np.testing.assert_allclose(more.values[name][1, 2], values, rtol=1e-9, atol=1e-9)


def test_vectorized_chains_in_single_precision(model):
    config = SamplerConfig(**BASE | {"draws": 6}, chain_method="vectorized")
    draws = _compile(model.problem, dtype="float32").sample(config)
    reference = _compile(model.problem, None, backend=ReferenceBackend())
    lp = draws.stats["lp"] - draws.stats["log_jacobian"]
    for at in np.ndindex(*lp.shape):
        expected = reference.log_density({n: v[at] for n, v in draws.values.items()})
        # 2^-24 of the sum of some hundred terms' absolute values.
        assert lp[at] == pytest.approx(expected, rel=2e-5)
    assert {v.dtype for v in draws.values.values()} == {np.dtype(np.float64)}
    first, second = draws.values["beta_level1"]
    assert not np.isclose(first, second).all(axis=0).any()


def test_another_outcome_of_the_same_programs(model, drawn):
    y = model.problem.y[::-1]
    other = model.with_outcome(y)
    assert other.programs is model.programs
    scales = _scales(model.problem)
    expected = _compile(model.problem.with_outcome(y), None).log_density(scales)
    assert other.log_density(scales) == pytest.approx(expected, rel=1e-12)
    back = other.with_outcome(model.problem.y).sample(
        SamplerConfig(**BASE, chain_method="sequential")
    )
    np.testing.assert_array_equal(back.values["beta_level1"], drawn.values["beta_level1"])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"family": "student_t"}, "is student_t"),
        ({"priors": {"beta": "Cauchy(0, 1)"}}, "Normal priors of population coefficients only"),
    ],
)
def test_what_cannot_be_marginalized_is_refused(arguments, reason):
    with pytest.raises(Unsupported, match=reason):
        _compile(_problem(**arguments))


class TestStatistics:
    """Sampled coefficients, rows replaced by statistics."""

    @staticmethod
    def _model(problem, words):
        formulation = Formulation.parse(words, problem.spec.level_names)
        return NumPyroBackend().compile(
            problem, formulation, sampler="nuts", device="cpu", dtype="float64"
        )

    @staticmethod
    def _point(problem, seed=2):
        rng = np.random.default_rng(seed)
        return {
            v.name: np.exp(0.5 * rng.normal(size=v.shape))
            if v.role in ("scale", "family")
            else rng.normal(size=v.shape)
            for v in problem.variables.values()
        }

    def test_density_and_draws_are_those_of_rows(self):
        problem = _problem()
        words = ["level0=centered"]
        rows, model = self._model(problem, words), self._model(problem, [*words, "statistics"])
        for seed in range(3):
            point = self._point(problem, seed)
            assert model.log_density(point) == pytest.approx(rows.log_density(point), rel=1e-11)
        draws = model.sample(SamplerConfig(**BASE | {"draws": 3}, chain_method="sequential"))
        lp = draws.stats["lp"] - draws.stats["log_jacobian"]
        for at in np.ndindex(*lp.shape):
            expected = rows.log_density({n: v[at] for n, v in draws.values.items()})
            assert lp[at] == pytest.approx(expected, rel=1e-9)

    def test_identical_rows_of_another_family_are_merged(self):
        table = gaussian_trees.random_table(2, np.random.default_rng(5)).round(0)
        table = pd.concat([table, table, table.iloc[:7]]).assign(w=1.5)
        spec = ModelSpec.from_formula(
            "y ~ x1 + z + (x1 || level0/level1)", family="student_t", weights="w"
        )
        problem = Problem(spec, table)
        rows, model = self._model(problem, []), self._model(problem, ["statistics"])
        assert len(model.data.y) < problem.n_rows / 2 + 1
        point = self._point(problem)
        assert model.log_density(point) == pytest.approx(rows.log_density(point), rel=1e-11)
        # Fewer rows are the same: other shapes, other programs.
        y = np.arange(problem.n_rows) % 3.0
        other = model.with_outcome(y)
        assert other.data.y.shape != model.data.y.shape
        expected = rows.with_outcome(y).log_density(point)
        assert other.log_density(point) == pytest.approx(expected, rel=1e-11)

    def test_nothing_to_merge_is_refused(self):
        with pytest.raises(Unsupported, match="no two rows are the same"):
            self._model(_problem(family="student_t"), ["statistics"])
