"""What is compiled before sampling: everything."""

import pytest

from nestor import SamplerConfig
from nestor.backend import Preparable
from nestor.engines import registry
from nestor.engines.formulation import Formulation

CONFIG = SamplerConfig(chains=2, warmup=20, draws=10, seed=4)


@pytest.fixture
def build(small_problem):
    def build(name, sampler):
        formulation = Formulation.parse([], small_problem.spec.level_names)
        return registry.get(name).backend.compile(
            small_problem, formulation, sampler=sampler, device="cpu", dtype="float64"
        )

    return build


@pytest.fixture
def jax_compilations():
    """Seconds of each program that XLA compiles, as it compiles them."""
    monitoring = pytest.importorskip("jax").monitoring
    pytest.importorskip("numpyro")
    found = []

    def listen(event, seconds, **_):
        if event.endswith("backend_compile_duration"):
            found.append(seconds)

    monitoring.register_event_duration_secs_listener(listen)
    yield found
    monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("method", ["sequential", "parallel", "vectorized"])
def test_numpyro_compiles_nothing_once_it_is_prepared(build, jax_compilations, method):
    config = SamplerConfig(chains=3, warmup=20, draws=10, seed=4, chain_method=method)
    model = build("numpyro", "nuts")
    assert isinstance(model, Preparable)
    jax_compilations.clear()
    model.prepare(config)
    assert jax_compilations, "the listener hears of compilations"
    jax_compilations.clear()
    draws = model.sample(config)
    assert jax_compilations == []
    assert draws.timings.compile == 0.0
    density = model.target_density()
    jax_compilations.clear()
    density.value_and_gradient(density.start)
    assert jax_compilations == []


@pytest.fixture
def numba_compilations(monkeypatch):
    """Functions that numba compiles, or loads from its cache, as it does so."""
    dispatcher = pytest.importorskip("numba.core.dispatcher").Dispatcher
    found, compile_it = [], dispatcher.compile

    def compile_and_tell(self, signature):
        found.append(f"{self} {signature}")
        return compile_it(self, signature)

    monkeypatch.setattr(dispatcher, "compile", compile_and_tell)
    return found


def test_nutpie_compiles_nothing_once_it_is_built(build, numba_compilations):
    """So that it needs no preparing. PyMC's own NUTS reads its functions again: see test_caches.py."""
    pytest.importorskip("pymc")
    model = build("pymc", "nutpie")
    assert numba_compilations, "it hears of compilations"
    numba_compilations.clear()
    model.sample(CONFIG)
    density = model.target_density()
    density.value_and_gradient(density.start)
    assert numba_compilations == []


@pytest.mark.parametrize(
    ("name", "sampler"), [("reference", "exact"), ("pymc", "nutpie"), ("numpyro", "nuts")]
)
def test_what_the_data_took_to_the_device_is_known(build, name, sampler):
    for library in registry.get(name).backend.requires:
        pytest.importorskip(library)
    model = build(name, sampler)
    # The host's own memory is no device; JAX copies into arrays of its own there too.
    assert isinstance(model, Preparable) == (name == "numpyro")
    expected = model.upload_seconds if isinstance(model, Preparable) else 0.0
    assert (expected > 0.0) == (name == "numpyro")
    draws = model.sample(CONFIG)
    assert draws.timings.upload == expected
    assert draws.device_peak_bytes is None  # a CPU has no memory of its own
