"""Every engine that is wrong on purpose is caught by the same step, whatever command runs it."""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from nestor import SamplerConfig, Verdict
from nestor.agreement.run import compare
from nestor.bench.plan import plan
from nestor.bench.run import run_bench
from nestor.bench.scenario import read_scenario
from nestor.engines import registry
from nestor.errors import NestorError, Unsupported
from nestor.references import problem
from nestor.references.verify import verify
from nestor.runner import arrays
from nestor.runner.contract import check_draws
from nestor.runner.job import Outcome

MUTANT_FOLDER = Path(__file__).parents[1] / "fixtures" / "mutants"
sys.path.insert(0, str(MUTANT_FOLDER))
from nestor_mutants import MUTANTS  # noqa: E402 - the folder of fixtures is no package

sys.path.pop(0)  # or they would be installed engines to all other tests

CONFIG = SamplerConfig(chains=4, warmup=100, draws=250, seed=5)
EVERY = pytest.mark.parametrize("expected", MUTANTS, ids=lambda e: e.mutant.name)
#: `compare` and `verify` share their pipeline: one mutant for each step will do.
ONE_PER_STEP = pytest.mark.parametrize(
    "expected", {e.step: e for e in MUTANTS}.values(), ids=lambda e: e.mutant.name
)
SCENARIO = """
name = "wrong"
seeds = [5]
warm_compile = false
[data]
table = "TABLE"
[model]
formula = "y ~ 1 + (1 | g)"
[tracks]
matched = { chains = 4, warmup = 100, draws = 250 }
[[grid]]
engines = [SAMPLED, "reference:exact"]
[[grid]]
engines = [MARGINALIZED]
formulations = ["marginalized"]
"""


def contender(mutant):
    return f"{mutant.name}@{'marginalized' if mutant.marginalizes else 'noncentered'}"


def run_here(job, folder, log, *, timeout=None, listener=None, limits=None):
    """What a worker does, in this process: thirty fresh interpreters would take a minute."""
    backend = registry.get(job.contender.backend).backend
    formulation, place = job.contender.formulation, {"device": "cpu", "dtype": "float64"}
    sampler = None if job.config is None else job.contender.sampler
    found = {"versions": dict(backend.versions()), "settings": {}, "timings": {"total_s": 1.0}}
    try:
        model = backend.compile(job.problem, formulation, sampler=sampler, **place)
        if job.points:
            found["log_densities"] = [repr(model.log_density(point)) for point in job.points]
        if job.config is None:
            return Outcome("ok", "", found)
        # Exact draws have no trajectories, for which the track's settings are.
        nothing = dict.fromkeys(("target_accept", "max_tree_depth", "metric"))
        draws = model.sample(replace(job.config, **nothing))
        draws = check_draws(job.problem, draws, job.config.chains, job.config.draws)
    except Unsupported as error:
        return Outcome("unsupported", str(error))
    except NestorError as error:
        return Outcome("failed", str(error))
    found |= {"settings": dict(draws.settings), "timings": {"compile_s": 0.0, "total_s": 1.0}}
    arrays.write(draws, folder / "draws.npz")
    return Outcome("ok", "", found, folder / "draws.npz", 1_000_000, 1.0)


@pytest.fixture(scope="module")
def mutants():
    """All mutants are known engines, and run in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(MUTANT_FOLDER))
        registry.backends.cache_clear()
        patch.setattr("nestor.runner.engine.run", run_here)
        yield
    registry.backends.cache_clear()


@pytest.fixture(scope="module")
def benched(mutants, school, tmp_path_factory):
    """Rows of the table of a benchmark of all mutants, by engine."""
    folder = tmp_path_factory.mktemp("bench")
    pd.DataFrame({"y": school.y, "g": school.leaf}).to_csv(folder / "school.csv", index=False)
    names = {True: [], False: []}
    for expected in MUTANTS:
        names[expected.mutant.marginalizes].append(f'"{expected.mutant.name}"')
    text = SCENARIO.replace("SAMPLED", ", ".join(names[False]))
    text = text.replace("MARGINALIZED", ", ".join(names[True]))
    text = text.replace("TABLE", str(folder / "school.csv"))
    table = run_bench(plan(read_scenario(text, "wrong")), text, folder / "out").table
    return {row.engine.partition(":")[0]: row for row in table.itertuples()}


@EVERY
def test_bench(benched, expected):
    row = benched[expected.mutant.name]
    assert expected.said in row.message
    assert row.status == {"contract": "failed", "gates": "gates_failed"}.get(
        expected.step, "density_failed"
    )
    if row.status == "density_failed":
        assert row.verdict == "DISAGREE"
    else:
        assert row.verdict != "AGREE"
        assert row.censored


def test_bench_has_no_objection_to_the_engine_without_a_fault(benched):
    assert benched["reference"].status == "ok"


@EVERY
@pytest.mark.usefixtures("mutants")
def test_verify(expected):
    (score,) = verify(contender(expected.mutant), ["one-level"], config=CONFIG).scores
    held(score.row, score.pair, expected)


@ONE_PER_STEP
@pytest.mark.usefixtures("mutants")
def test_compare(school, expected):
    found = compare(school, [contender(expected.mutant), "reference:exact"], config=CONFIG)
    held(found.rows[0], found.pairs[0], expected)


@pytest.fixture(scope="module")
def school():
    return problem("one-level")


def held(row, pair, expected):
    """The row says what is wrong with the engine, and the verdict follows from it."""
    assert expected.said in row.message
    right = {"contract": "failed", "gates": "gates_failed"}
    assert row.status == right.get(expected.step, "density_failed")
    wrong = row.status == "density_failed"
    assert pair.verdict is (Verdict.DISAGREE if wrong else Verdict.INCONCLUSIVE)
    if not wrong:
        assert pair.detectable_shift is None
