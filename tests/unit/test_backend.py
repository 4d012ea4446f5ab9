"""The values that pass between the core and a backend."""

import json
import math

import numpy as np
import pytest

from nestor import SamplerConfig, SpecError
from nestor.backend import Backend, CompiledModel, Timings
from nestor.engines import registry
from nestor.engines.formulation import Formulation


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *[({name: 0}, f"{name} must be a whole number of at least 1, not 0")
          for name in ("chains", "warmup", "draws", "max_tree_depth", "cores")],
        ({"seed": -1}, "seed must be a whole number of at least 0, not -1"),
        ({"chains": 2.0}, r"chains must be a whole number of at least 1, not 2\.0"),
        ({"chains": True}, "not True"),
        ({"draws": "9"}, "not '9'"),
        ({"draws": None}, "not None"),
        ({"seed": np.float64(3)}, "seed must be a whole number"),
        ({"target_accept": 0.0}, "target_accept must lie between 0 and 1"),
        ({"target_accept": 1.0}, "target_accept must lie between 0 and 1"),
        ({"target_accept": math.nan}, "target_accept must lie between 0 and 1, not nan"),
        ({"chains": 10**6 + 1}, "chains must be at most 1,000,000, not 1000001"),
        ({"metric": "dense"}, "metric must be diagonal_draws, not 'dense'"),
        ({"chain_method": "threads"}, "must be sequential, parallel or vectorized, not 'threads'"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        SamplerConfig(**changes)


def test_the_least_settings_are_accepted():
    config = SamplerConfig(chains=1, warmup=1, draws=1, seed=0, max_tree_depth=1, cores=1)
    assert config.target_accept is None


def test_unknown_phases_stay_unknown_in_the_record():
    found = json.loads(json.dumps(Timings(compile=1.5, sampling_per_chain=(1.0, 2.0)).to_dict()))
    assert found["compile"] == 1.5
    assert found["warmup"] is None
    assert found["sampling_per_chain"] == [1.0, 2.0]


def test_the_reference_keeps_the_contract(small_problem):
    backend = registry.get("reference").backend
    assert isinstance(backend, Backend)
    formulation = Formulation.parse([], small_problem.spec.level_names)
    model = backend.compile(small_problem, formulation, sampler=None, device="cpu", dtype="float64")
    assert isinstance(model, CompiledModel)
    assert not isinstance(object(), Backend | CompiledModel)


def test_whole_numbers_of_numpy_become_plain():
    """They come from arrays of seeds, and JSON documents hold no NumPy."""
    config = SamplerConfig(seed=np.int64(3), chains=np.int32(2))
    assert (type(config.seed), type(config.chains)) == (int, int)
    assert config == SamplerConfig(seed=3, chains=2)
