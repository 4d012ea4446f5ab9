"""What the samplers walk on, and its gradient."""

import numpy as np
import pytest

from nestor import SamplerConfig, Unsupported
from nestor.backend import Differentiable, TargetDensity
from nestor.engines import registry
from nestor.engines.formulation import Formulation

ENGINES = [("pymc", "nutpie"), ("pymc", "pymc"), ("numpyro", "nuts"), ("numba", "nutpie")]
EPS = np.finfo(np.float64).eps


def _build(problem, name, sampler, dtype="float64"):
    backend = registry.get(name).backend
    for library in backend.requires:
        pytest.importorskip(library)
    formulation = Formulation.parse(["noncentered"], problem.spec.level_names)
    return backend.compile(problem, formulation, sampler=sampler, device="cpu", dtype=dtype)


@pytest.fixture(scope="module", params=ENGINES, ids=":".join)
def model(request, small_problem):
    return _build(small_problem, *request.param)


@pytest.fixture(scope="module")
def density(model):
    assert isinstance(model, Differentiable)
    return model.target_density()


def test_it_keeps_the_contract(density):
    assert isinstance(density, TargetDensity)
    # Population 2; 2 scales and 3 or 6 nodes times 2 effects at each level; sigma.
    assert density.dimension == 2 + (2 + 2 * 3) + (2 + 2 * 6) + 1
    assert density.start.shape == (density.dimension,)
    value, gradient = density.value_and_gradient(density.start)
    assert type(value) is float
    assert (gradient.dtype, gradient.shape) == (np.float64, density.start.shape)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_the_gradient_is_the_values(density):
    """Central differences with step h err by about eps |f| / h + h^2 |f'''| / 6.

    The third derivatives are of the size of f itself: its parts are squares, logarithms and exponentials
    of scalars of order one. A factor of 10 is left for rounding within f.
    """
    z = 0.3 * np.random.default_rng(3).standard_normal(density.dimension)
    value, gradient = density.value_and_gradient(z)
    h = EPS ** (1 / 3)
    tolerance = 10 * (EPS * abs(value) / h + h**2 * abs(value))
    assert tolerance < 1e-6 * np.abs(gradient).max(), "it would find a wrong term"
    for i in range(density.dimension):
        step = np.zeros(density.dimension)
        step[i] = h
        up, down = (density.value_and_gradient(z + sign * step)[0] for sign in (1, -1))
        assert (up - down) / (2 * h) == pytest.approx(gradient[i], abs=tolerance)


def test_points_are_left_alone_and_gradients_are_new(density):
    z = density.start.copy()
    _, first = density.value_and_gradient(z)
    kept = first.copy()
    density.value_and_gradient(z + 0.1)
    np.testing.assert_array_equal(z, density.start)
    np.testing.assert_array_equal(first, kept)


def test_models_that_differ_in_their_outcome_have_densities_of_their_own(model, small_problem):
    other = model.with_outcome(small_problem.y + 1.0)
    one, two = model.target_density(), other.target_density()
    before = one.value_and_gradient(one.start)[0]
    assert two.value_and_gradient(one.start)[0] != before
    assert one.value_and_gradient(one.start)[0] == before


@pytest.mark.parametrize("name", ["pymc", "numpyro"])
def test_a_model_for_densities_only_walks_on_nothing(name, small_problem):
    with pytest.raises(Unsupported, match="densities only"):
        _build(small_problem, name, None).target_density()


def _nutpies_own(model):
    """Positions of nutpie's draws, and what it reports as their log density."""
    from nestor_nutpie.run import NutpieRun, rows

    config = SamplerConfig(chains=1, warmup=20, draws=10, seed=2)
    compiled = model.sampler.compiled
    run = NutpieRun(compiled, config, 10, 1, {}, None, "pymc:nutpie")
    (draws,), (stats,) = run.until(30)
    kept = slice(20, 30)
    names = compiled.shape_info[0]
    z = np.hstack([rows(draws, name, kept).reshape(10, -1) for name in names])
    return z, rows(stats, "logp", kept)


def _pymcs_own(model):
    """Positions of PyMC's draws, back from the natural scale, and their log density."""
    tree = model.sampler.run(draws=10, tune=20, chains=1, cores=1, random_seed=2)
    columns = []
    for value in model.sampler.model.value_vars:
        name = value.name.removesuffix("_log__")
        draws = np.asarray(tree["posterior"][name])[0].reshape(10, -1)
        columns.append(np.log(draws) if value.name.endswith("_log__") else draws)
    return np.hstack(columns), np.asarray(tree["sample_stats"]["lp"])[0]


@pytest.mark.parametrize(
    ("sampler", "own", "rtol"),
    [
        ("nutpie", _nutpies_own, 0.0),
        # There and back through the exponential costs a few roundings in each scale.
        ("pymc", _pymcs_own, 1e-12),
    ],
)
def test_it_is_what_pymcs_samplers_report(small_problem, sampler, own, rtol):
    model = _build(small_problem, "pymc", sampler)
    z, lp = own(model)
    density = model.target_density()
    found = [density.value_and_gradient(point)[0] for point in z]
    np.testing.assert_allclose(found, lp, rtol=rtol)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 1e-5)])
def test_it_is_what_numpyro_starts_from(small_problem, dtype, rtol):
    """NUTS keeps the potential energy and its gradient of where it stands."""
    from nestor_numpyro.chains import find_start
    from nestor_numpyro.programs import Plan

    model = _build(small_problem, "numpyro", "nuts", dtype)
    config = SamplerConfig(chains=1, warmup=2, draws=2, chain_method="sequential")
    model.prepare(config)
    with model.execution.scope():
        state, _ = find_start(model.programs[Plan.of(config)], model.data, 7, (0,))
    flat = {n: np.concatenate([np.ravel(site[k]) for k in sorted(site)])
            for n, site in (("z", state.z), ("gradient", state.z_grad))}  # fmt: skip
    value, gradient = model.target_density().value_and_gradient(flat["z"])
    assert value == pytest.approx(-float(state.potential_energy), rel=rtol)
    scale = np.abs(flat["gradient"]).max()
    np.testing.assert_allclose(gradient, -flat["gradient"], rtol=0, atol=rtol * scale)
