"""The engines that come with nestor can be calibrated: compiled once, and ranked however their chains run."""

import numpy as np
import pytest

from nestor.backend import SamplerConfig
from nestor.calibration.run import one_at_a_time
from nestor.calibration.study import Study
from nestor.calibration.tasks import StudyJob, Task
from nestor.engines.contender import Contender

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("library", "engine"),
    [
        ("numpyro", "numpyro@noncentered"),
        ("pymc", "pymc:nutpie@noncentered"),
        ("pymc", "pymc:pymc@noncentered"),
    ],
)
def test_an_engine_s_simulations_have_ranks(groups_problem, library, engine):
    pytest.importorskip(library)
    contender = one_at_a_time(Contender.parse_sampler(engine, ["g"]))
    config = SamplerConfig(2, 300, 100, 1, chain_method="sequential", cores=1)
    told = []
    study = Study(StudyJob(groups_problem, contender, config, "prior", 31), told.append)
    records = [study.run(Task("simulation", s)) for s in range(3)]
    assert told == [True]
    assert "ok" in {record.status for record in records}
    for record in records:
        # Chains go on, or run again for longer, until there are 62 effective draws or 800 of each.
        assert record.status == ("ok" if record.ess >= 62 else "unconverged"), record
        assert record.draws in (100, 200, 400, 800)
        assert len(record.ranks) == (7 if record.status == "ok" else 0)
    assert np.ptp([record.ranks for record in records if record.ranks]) > 0
