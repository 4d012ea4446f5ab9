"""A problem whose posterior is known, and engines that draw from it exactly, wrongly or not at all."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nestor import ModelSpec, Problem
from nestor.agreement.arguments import read_contender
from nestor.backend import SamplerConfig
from nestor.calibration.run import one_at_a_time
from nestor.calibration.study import Study
from nestor.calibration.tasks import StudyJob, Task

ENGINES = Path(__file__).parent / "engines"
PRIORS = {"beta": "Normal(1, 2)", "tau": "HalfNormal(1.5)", "sigma": 0.8}


@pytest.fixture
def conjugate_engines(add_engines):
    """The engines of this folder are known."""
    add_engines(ENGINES)


@pytest.fixture(scope="session")
def groups_table():
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"g": np.repeat(list("abcd"), [3, 5, 4, 2]), "w": rng.uniform(0.5, 2, 14)})
    return table.assign(y=rng.normal(1.0, 1.0, 14))


@pytest.fixture(scope="session")
def groups_problem(groups_table):
    spec = ModelSpec.from_formula("y ~ 1 + (1 || g)", priors=PRIORS, weights="w")
    return Problem(spec, groups_table)


@pytest.fixture
def make_job(conjugate_engines, groups_problem):
    """Make a job for an engine."""

    def make_job(engine, *, around="prior", seed=1, draws=100, ranked_draws=31, **more):
        contender = one_at_a_time(read_contender(engine, groups_problem))
        config = SamplerConfig(2, 1, draws, seed, chain_method="sequential", cores=1)
        return StudyJob(groups_problem, contender, config, around, ranked_draws, **more)

    return make_job


@pytest.fixture
def rank_all():
    """Run simulations of a job in this process; return their records."""

    def rank_all(job, simulations):
        study = Study(job)
        return [study.run(Task("simulation", s)) for s in range(simulations)]

    return rank_all
