"""Chains that stop for a look and go on: one chain set, whatever the looks, and nothing left behind."""

import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, Problem
from nestor.backend import Resumable, SamplerConfig
from nestor.engines import registry
from nestor.engines.formulation import Formulation
from nestor.errors import SpecError, Unsupported

ENGINES = {
    "pymc:nutpie": pytest.importorskip("nutpie"),
    "numpyro:nuts": pytest.importorskip("numpyro"),
}
CONFIG = SamplerConfig(chains=3, warmup=80, draws=100, seed=11)
LOOKS = (100, 200, 450)


def _compile(engine, problem, *, densities=False):
    name, _, sampler = engine.partition(":")
    return registry.get(name).backend.compile(
        problem,
        Formulation.parse((), problem.spec.level_names),
        sampler=None if densities else sampler,
        device="cpu",
        dtype="float64",
    )


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"g": rng.choice(list("abcd"), 40)})
    table = table.assign(y=rng.normal(size=40))
    return Problem(ModelSpec.from_formula("y ~ 1 + (1 || g)"), table)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def model(engine, problem):
    return _compile(engine, problem)


@pytest.fixture(scope="module")
def run(model):
    reports = []
    return list(model.sample_until(CONFIG, LOOKS, reports.append)), reports


@pytest.fixture(scope="module")
def found(run):
    return run[0]


def _same(one, two):
    assert one.keys() == two.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name])


def test_a_look_returns_the_draws_since_the_one_before(model, found, problem):
    assert isinstance(model, Resumable)
    for draws, new in zip(found, (100, 100, 250), strict=True):
        for name, variable in problem.variables.items():
            assert draws.values[name].shape == (3, new, *variable.shape)
        assert all(array.shape == (3, new) for array in draws.stats.values())
    together = np.concatenate([d.values["beta"] for d in found], axis=1)
    assert together.shape == (3, 450, 1)
    assert (np.diff(together, axis=1) != 0.0).mean() > 0.5


def test_the_first_look_is_what_sample_returns(model, found):
    once = model.sample(CONFIG)
    _same(once.values, found[0].values)
    _same(once.stats, found[0].stats)


def test_all_looks_together_are_one_long_run(model, found):
    once = model.sample(replace(CONFIG, draws=450))
    for name, array in once.values.items():
        np.testing.assert_array_equal(array, np.concatenate([d.values[name] for d in found], 1))
    for name, array in once.stats.items():
        np.testing.assert_array_equal(array, np.concatenate([d.stats[name] for d in found], 1))


@pytest.mark.parametrize("looks", [(100, 130, 200, 210, 450), (100, 450)])
def test_draws_do_not_depend_on_the_looks(model, found, looks):
    again = list(model.sample_until(CONFIG, looks))
    assert [d.values["beta"].shape[1] for d in again] == list(np.diff((0, *looks)))
    for name in found[0].values:
        one, two = (np.concatenate([d.values[name] for d in run], 1) for run in (found, again))
        np.testing.assert_array_equal(one, two)


def test_later_looks_have_sampling_seconds_only(found):
    for draws in found[1:]:
        timings = draws.timings
        assert timings.compile == 0.0
        assert timings.warmup == 0.0
        assert timings.warmup_per_chain == (0.0, 0.0, 0.0)
        assert timings.sampling >= 0.0
        assert all(seconds >= 0.0 for seconds in timings.sampling_per_chain)
    assert found[0].settings == found[1].settings


def test_the_time_of_looking_is_not_counted(model):
    begin = time.perf_counter()
    pause, seconds = 0.3, []
    for draws in model.sample_until(CONFIG, LOOKS):
        timings = draws.timings
        known = (timings.compile, timings.warmup, timings.sampling, timings.postprocess)
        seconds.append(sum(s for s in known if s is not None))
        time.sleep(pause)
    # What was slept is in the whole and in no stretch, however slow the machine.
    assert sum(seconds) <= time.perf_counter() - begin - 3 * pause


def test_progress_counts_up_to_the_next_look(run):
    _, reports = run
    for chain in range(3):
        mine = [r for r in reports if r.chain == chain and r.phase in ("warmup", "sampling")]
        done = [r.done for r in mine]
        assert done == sorted(done)
        assert list(dict.fromkeys(r.total for r in mine)) == [80 + look for look in LOOKS]
        for look in LOOKS:
            assert max(r.done for r in mine if r.total == 80 + look) == 80 + look


#: Draws of a run that would take minutes.
FOREVER = 20_000_000


def test_a_run_that_was_really_stopped_goes_on_where_it_stood(model, found):
    with closing(model.sample_until(CONFIG, (100, 300, FOREVER))) as looks:
        first, second = next(looks), next(looks)
    for name in first.values:
        joined = np.concatenate([d.values[name] for d in found], axis=1)
        np.testing.assert_array_equal(first.values[name], joined[:, :100])
        np.testing.assert_array_equal(second.values[name], joined[:, 100:300])


def _threads():
    """Threads of this process, also those of which Python does not know."""
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads Linux's list of threads")
def test_closing_ends_the_chains(model):
    with closing(model.sample_until(CONFIG, (100, 200))) as looks:
        next(looks)
    before, known = _threads(), threading.active_count()
    with closing(model.sample_until(CONFIG, (100, FOREVER))) as looks:
        next(looks)
    assert threading.active_count() == known
    deadline = time.monotonic() + 20.0
    while _threads() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert _threads() <= before


def test_no_thread_of_numpyros_runs_while_the_caller_looks(problem):
    with closing(_compile("numpyro:nuts", problem).sample_until(CONFIG, (100, 200))) as looks:
        next(looks)
        assert not [t for t in threading.enumerate() if t.name.startswith("nestor-chain")]


def test_nutpies_chains_rest_while_the_caller_looks(problem):
    from nestor_nutpie.run import NutpieRun

    compiled = _compile("pymc:nutpie", problem).sampler.compiled
    run = NutpieRun(compiled, CONFIG, FOREVER, 3, {}, None, "pymc:nutpie")
    try:
        run.until(180)
        # The pause reaches a chain after its draw, and our record of it is some 10 ms old.
        time.sleep(0.2)
        before = [chain.done for chain in run.monitor.chains]
        assert min(before) >= 180
        time.sleep(0.2)
        assert [chain.done for chain in run.monitor.chains] == before
        run.until(max(before) + 1)
        assert min(chain.done for chain in run.monitor.chains) > max(before)
    finally:
        run.close()


def test_what_the_callback_raises_ends_the_chains(model):
    def stop(report):
        if report.total == 80 + 400_000:
            raise ZeroDivisionError

    looks = model.sample_until(CONFIG, (100, 400_000), stop)
    next(looks)
    with pytest.raises(ZeroDivisionError):
        next(looks)
    assert next(looks, None) is None


@pytest.mark.parametrize("looks", [(), (200, 300), (100, 100), (100, 300, 200)])
def test_looks_must_begin_with_the_draws_and_increase(model, looks):
    with pytest.raises(SpecError, match=r"must increase from config\.draws = 100"):
        next(model.sample_until(CONFIG, looks))


def test_other_chain_methods(engine, model, found):
    sequential = replace(CONFIG, chain_method="sequential")
    if engine == "pymc:nutpie":
        with pytest.raises(Unsupported, match="1 of 3 may"):
            next(model.sample_until(sequential, LOOKS))
        with pytest.raises(Unsupported, match="2 of 3 may"):
            next(model.sample_until(replace(CONFIG, cores=2), LOOKS))
        return
    for one, two in zip(model.sample_until(sequential, LOOKS), found, strict=True):
        _same(one.values, two.values)
    vectorized = replace(CONFIG, chain_method="vectorized")
    parts = list(model.sample_until(vectorized, LOOKS))
    # Lanes are compiled for their buffers: one long run has other programs, which may round otherwise.
    _same(model.sample(vectorized).values, parts[0].values)
    assert [p.values["beta"].shape for p in parts] == [(3, n, 1) for n in (100, 100, 250)]
    again = model.sample_until(vectorized, (100, 150, 450))
    joined = np.concatenate([p.values["beta"] for p in again], axis=1)
    np.testing.assert_array_equal(joined, np.concatenate([p.values["beta"] for p in parts], 1))


def test_pymcs_own_nuts_refuses_with_its_reason(problem):
    reason = registry.get("pymc").backend.capabilities().reason(["pymc", "extend"])
    model = _compile("pymc:pymc", problem)
    with pytest.raises(Unsupported) as error:
        next(model.sample_until(CONFIG, LOOKS))
    assert reason in str(error.value)


def test_a_model_for_densities_only_has_no_looks(engine, problem):
    with pytest.raises(Unsupported, match="densities only"):
        next(_compile(engine, problem, densities=True).sample_until(CONFIG, LOOKS))


def test_wall_seconds_that_cannot_be_split_are_stated_whole():
    from nestor.engines.support import split_wall

    found = split_wall(1.5, [], [], compile_s=0.0, postprocess=0.0)
    assert (found.warmup, found.sampling, found.warmup_and_sampling) == (None, None, 1.5)
    split = split_wall(3.0, [1.0], [3.0], compile_s=0.0, postprocess=0.0)
    assert (split.warmup, split.sampling, split.warmup_and_sampling) == (0.75, 2.25, 3.0)
